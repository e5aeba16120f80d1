"""What operators change: previewed, applied once for each id, and at once on the page."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http import HTTPStatus

from questream.domain import ClusterState, Correction, Dismissible, format_cluster_id
from questream.domain import Operation as CommittedOperation
from questream.operations import By, Decisions
from questream.operations.binding import KnownQuestion
from questream.operations.intents import ImportPlan, commit_import
from questream.operations.marks import MarkKind
from questream.operations.requests import Propose
from questream.server.catalogues import Catalogues
from questream.server.problems import Refused
from questream.store.protocol import ProposedOperation, Store
from questream.tools.clusters import lineage
from questream.tools.decisions import decide, preview

logger = logging.getLogger(__name__)

_MOST_IDS = 10_000


@dataclass(frozen=True, slots=True)
class Naming:
    """A cluster gets a label, a route or both; None leaves one as it is, "" removes it."""

    cluster_id: int
    label: str | None = None
    route: str | None = None


@dataclass(frozen=True, slots=True)
class Merging:
    """Two clusters become one; `drops_names` says that label and route of the one that goes may be lost.

    `keep` is the one of the two whose label and route stay.
    """

    cluster_id: int
    other_id: int
    drops_names: bool = False
    keep: int | None = None


@dataclass(frozen=True, slots=True)
class Separating:
    """Two clusters are different, for ever."""

    cluster_id: int
    other_id: int


@dataclass(frozen=True, slots=True)
class Unmerging:
    """A cluster that was merged away stands by itself again, with those that `joined` since and are nearer to it."""

    cluster_id: int
    joined: tuple[KnownQuestion, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True)
class Marking:
    """A whole cluster is marked, for example as resolved."""

    cluster_id: int
    kind: MarkKind


@dataclass(frozen=True, slots=True)
class Forgetting:
    """A cluster loses its texts."""

    cluster_id: int


@dataclass(frozen=True, slots=True)
class Representing:
    """A question stands for a cluster; `of` is the one that it was put in, where it is known by its id."""

    cluster_id: int
    text: str
    place: tuple[str, int, int] | None = None
    of: int | None = None


@dataclass(frozen=True, slots=True)
class Dismissing:
    """A suggestion about a cluster is made no more."""

    cluster_id: int
    suggestion: Dismissible


Operation = Dismissing | Representing | Naming | Merging | Marking | Separating | Unmerging | Forgetting


@dataclass(frozen=True, slots=True)
class Outcome:
    """How the clusters of an operation stood, and how they stand after it; of a merge the survivor comes first.

    `drops`: a merge loses label or route of the one that goes. `number` is that of a committed operation,
    `corrections` are the questions that it moves.
    """

    before: tuple[ClusterState, ...]
    after: ClusterState
    drops: bool = False
    number: int | None = None
    corrections: tuple[Correction, ...] = ()


class Operating:
    """Previews and applies operations, one at a time. An id that comes again is answered with what it did.

    The store knows the ids of those that it keeps; this process remembers the newest ten thousand.
    """

    def __init__(self, store: Store, catalogues: Catalogues) -> None:
        self._store = store
        self._catalogues = catalogues
        self._guard = threading.Lock()
        self._done: OrderedDict[tuple[str, str], tuple[Operation, Outcome]] = OrderedDict()

    def preview(self, namespace: str, operation: Operation) -> Outcome:
        """What an operation would do; nothing is changed. Raises what `apply` raises, but for names that differ."""
        proposed = self.proposed(namespace, operation)
        before = tuple(self._store.states(namespace, list(proposed.before)))
        if proposed.merge is not None:
            survivor, loser = before
            return Outcome(before, _ruled(_merged(survivor, loser), proposed), _drops(survivor, loser))
        state, part = before[0], proposed.part
        if part is not None:
            state = replace(before[1], merged_into=None, size=part.size, members=part.remains.members)
        return Outcome(before, _ruled(state, proposed), corrections=proposed.corrections)

    def proposed(self, namespace: str, operation: Operation) -> ProposedOperation:
        """What an operation would commit; a merge as one that may drop names. Raises what `preview` raises."""
        if isinstance(operation, Merging):
            operation = replace(operation, drops_names=True)
        decisions = Decisions(self._store, namespace, By(""))
        return preview(decisions, namespace, _ruling(decisions, operation))

    def apply(
        self,
        namespace: str,
        operation: Operation,
        actor: str,
        id: str = "",
        reason: str = "",
        require: Callable[[], None] = lambda: None,
    ) -> Outcome:
        """Do it, unless this id has done it; the log has actor and reason.

        `require` raises where what it is about is not as somebody saw it.

        Raises Refused where the id did something else; NoSuchCluster; NamingsDiffer; Contended; and what `require` and
        the store raise.
        """
        with self._guard:
            done = self._done.get((namespace, id)) if id else None
            if done is not None:
                if done[0] != operation:
                    raise id_was_given()
                return done[1]
            outcome = self._apply(namespace, operation, By(actor, reason, id), require)
            if id:
                self._done[namespace, id] = operation, outcome
                if len(self._done) > _MOST_IDS:
                    self._done.popitem(last=False)
        changed = dict.fromkeys(one.cluster_id for one in (*outcome.before, outcome.after))
        what = operation.kind if isinstance(operation, Marking) else type(operation).__name__.lower()
        self._show(what, namespace, list(changed), actor, reason)
        return outcome

    def preview_ruling(self, namespace: str, by: By, ask: Callable[[Decisions], Propose]) -> ProposedOperation:
        """What a decision on clusters would change; nothing is changed. Raises what `rule` raises."""
        decisions = Decisions(self._store, namespace, by)
        return preview(decisions, namespace, ask(decisions))

    def rule(self, namespace: str, by: By, ask: Callable[[Decisions], Propose]) -> CommittedOperation:
        """Commit a decision on clusters, unless its id has been committed; the store keeps who decided it and why.

        Raises Refused where the id is that of another operation, NoSuchCluster, OperationRefused, Contended, and what
        the store raises.
        """
        with self._guard:
            if by.id and (namespace, by.id) in self._done:
                raise id_was_given()
            decisions = Decisions(self._store, namespace, by)
            done = decide(decisions, namespace, ask(decisions))
        self._show(done.kind, namespace, list(done.after), by.actor, by.reason)
        return done

    def import_intents(self, namespace: str, by: By, plan: ImportPlan) -> list[CommittedOperation]:
        """Commit an import, as `commit_import`; the clusters that it opens are shown at once."""
        with self._guard:
            done = commit_import(self._store, namespace, by, plan)
        for one in done:
            self._show(one.kind, namespace, list(one.after), by.actor, by.reason)
        return done

    def _show(self, what: str, namespace: str, cluster_ids: list[int], actor: str, reason: str) -> None:
        """Show clusters that were changed at once, and log who changed them."""
        for state in self._store.states(namespace, cluster_ids):
            self._catalogues.follow(state)
        logger.info(
            "an operation was applied",
            extra={
                "operation": what,
                "namespace": namespace,
                "cluster_ids": [format_cluster_id(cluster_id) for cluster_id in cluster_ids],
                "actor": actor,
                "reason": reason,
            },
        )

    def _apply(self, namespace: str, operation: Operation, by: By, require: Callable[[], None]) -> Outcome:
        decisions = Decisions(self._store, namespace, by)
        proposed = _ruling(decisions, operation).provided(require)
        before = tuple(self._store.states(namespace, list(preview(decisions, namespace, proposed).before)))
        done = decide(decisions, namespace, proposed)
        after = self._live(namespace, operation.cluster_id)
        if not isinstance(operation, Merging):
            return Outcome(before, after, number=done.number, corrections=done.corrections)
        # Of an id that was said before another process began, how they stood is not known any more.
        stood = {one.cluster_id: one for one in (*self._store.states(namespace, list(done.after)), *before)}
        survivor, loser = (stood[cluster_id] for cluster_id in done.after)
        return Outcome((survivor, loser), after, _drops(survivor, loser), done.number)

    def _live(self, namespace: str, cluster_id: int) -> ClusterState:
        return lineage(self._store, namespace, cluster_id)[-1]


def _ruling(decisions: Decisions, operation: Operation) -> Propose:
    match operation:
        case Naming():
            return decisions.label(operation.cluster_id, operation.label, operation.route)
        case Merging():
            return decisions.merge(
                operation.cluster_id, operation.other_id, lambda *_: operation.drops_names, keep=operation.keep
            )
        case Representing():
            return decisions.represent(operation.cluster_id, operation.text, operation.place, operation.of)
        case Dismissing():
            return decisions.dismiss(operation.cluster_id, operation.suggestion)
        case Marking():
            return decisions.mark(operation.kind, operation.cluster_id)
        case Separating():
            return decisions.separate(operation.cluster_id, operation.other_id)
        case Unmerging():
            return decisions.unmerge(operation.cluster_id, operation.joined)
        case Forgetting():
            return decisions.forget(operation.cluster_id)


def id_was_given() -> Refused:
    """The refusal of an id that is another operation's."""
    return Refused(HTTPStatus.CONFLICT, "this id was given to another operation", "give it another one")


def _drops(survivor: ClusterState, loser: ClusterState) -> bool:
    kept, lost = (survivor.label, survivor.route), (loser.label, loser.route)
    return any(lost) and any(kept) and lost != kept


def _merged(survivor: ClusterState, loser: ClusterState) -> ClusterState:
    return replace(
        survivor,
        size=survivor.size + loser.size,
        members=survivor.members + loser.members,
        created_at=min(survivor.created_at, loser.created_at),
        last_seen_at=max(survivor.last_seen_at, loser.last_seen_at),
    )


def _ruled(state: ClusterState, proposed: ProposedOperation) -> ClusterState:
    """A cluster with the ruling that an operation would leave it."""
    ruling = proposed.after[state.cluster_id]
    shown = state.representative if ruling.represented_by is None else ruling.represented_by.text
    return replace(state, ruling=ruling, representative=None if proposed.forgets is not None else shown)
