"""Operations: previewed, applied once for each id, and at once on the page."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from http import HTTPStatus

from questream.domain import ClusterState, Correction, Operation, format_cluster_id
from questream.operations import By, Decisions
from questream.operations.intents import ImportPlan, commit_import
from questream.operations.requests import Propose
from questream.server.catalogues import Catalogues
from questream.server.problems import Refused
from questream.store.protocol import ProposedOperation, Store
from questream.tools.clusters import lineage
from questream.tools.decisions import decide, preview

logger = logging.getLogger(__name__)

_MOST_IDS = 10_000
# A request for operations in a namespace.
Ask = Callable[[Decisions], Propose]


@dataclass(frozen=True, slots=True)
class Outcome:
    """The clusters of an operation before and after it; of a merge the survivor comes first.

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
        self._done: OrderedDict[tuple[str, str], tuple[str | None, Outcome]] = OrderedDict()

    def outlook(self, namespace: str, proposed: ProposedOperation) -> Outcome:
        """The outcome of an operation that only `preview` proposed. Raises what the store raises."""
        before = tuple(self._store.states(namespace, list(proposed.before)))
        if proposed.merge is not None:
            survivor, loser = before
            return Outcome(before, _ruled(_merged(survivor, loser), proposed), _drops(survivor, loser))
        state, part = before[0], proposed.part
        if part is not None:
            state = replace(before[1], merged_into=None, size=part.size, members=part.remains.members)
        return Outcome(before, _ruled(state, proposed), corrections=proposed.corrections)

    def apply(self, namespace: str, by: By, ask: Ask) -> Outcome:
        """As `rule`, with the clusters before and after it; an id that is said again answers what it did, also where
        the store has let its operation go by now.
        """
        decisions = Decisions(self._store, namespace, by)
        propose = ask(decisions)
        with self._guard:
            known = self._done.get((namespace, by.id)) if by.id else None
            if known is not None:
                if known[0] != propose.asked:
                    raise id_was_given()
                return self._recalled(namespace, known[1])
            before = tuple(self._store.states(namespace, list(preview(decisions, namespace, propose).before)))
            done = decide(decisions, namespace, propose)
            outcome = self._outcome(namespace, before, done)
            if by.id:
                self._done[namespace, by.id] = propose.asked, _without_texts(outcome)
                if len(self._done) > _MOST_IDS:
                    self._done.popitem(last=False)
        changed = dict.fromkeys(one.cluster_id for one in (*outcome.before, outcome.after))
        self._show(done.kind, namespace, list(changed), by)
        return outcome

    def preview(self, namespace: str, by: By, ask: Ask) -> ProposedOperation:
        """The changes that an operation on clusters would make; nothing is changed. Raises what `rule` raises."""
        decisions = Decisions(self._store, namespace, by)
        return preview(decisions, namespace, ask(decisions))

    def rule(self, namespace: str, by: By, ask: Ask) -> Operation:
        """Commit a decision on clusters, unless its id has been committed; the store keeps who decided it and why.

        Raises Refused where the id is that of another operation, NoSuchCluster, OperationRefused, Contended, and what
        the store raises.
        """
        with self._guard:
            if by.id and (namespace, by.id) in self._done:
                raise id_was_given()
            decisions = Decisions(self._store, namespace, by)
            done = decide(decisions, namespace, ask(decisions))
        self._show(done.kind, namespace, list(done.after), by)
        return done

    def import_intents(self, namespace: str, by: By, plan: ImportPlan) -> list[Operation]:
        """Commit an import, as `commit_import`; the clusters that it opens are shown at once."""
        with self._guard:
            done = commit_import(self._store, namespace, by, plan)
        for one in done:
            self._show(one.kind, namespace, list(one.after), by)
        return done

    def _show(self, what: str, namespace: str, cluster_ids: list[int], by: By) -> None:
        """Show clusters that were changed at once, and log who changed them."""
        for state in self._store.states(namespace, cluster_ids):
            self._catalogues.follow(state)
        logger.info(
            "an operation was applied",
            extra={
                "operation": what,
                "namespace": namespace,
                "cluster_ids": [format_cluster_id(cluster_id) for cluster_id in cluster_ids],
                "actor": by.actor,
                "reason": by.reason,
            },
        )

    def _outcome(self, namespace: str, before: tuple[ClusterState, ...], done: Operation) -> Outcome:
        first, *_ = done.after
        after = lineage(self._store, namespace, done.parted or first)[-1]
        if done.survivor is None:
            return Outcome(before, after, number=done.number, corrections=done.corrections)
        # Of an id that was said before another process began, their state then is not known any more.
        known = {one.cluster_id: one for one in (*self._store.states(namespace, list(done.after)), *before)}
        survivor, loser = (known[cluster_id] for cluster_id in done.after)
        return Outcome((survivor, loser), after, _drops(survivor, loser), done.number)

    def _recalled(self, namespace: str, done: Outcome) -> Outcome:
        """An outcome that was kept, with the texts that the store still has of its clusters."""
        cluster_ids = dict.fromkeys(state.cluster_id for state in (*done.before, done.after))
        texts = {state.cluster_id: state.representative for state in self._store.states(namespace, list(cluster_ids))}

        def with_text(state: ClusterState) -> ClusterState:
            return replace(state, representative=texts.get(state.cluster_id))

        return replace(done, before=tuple(map(with_text, done.before)), after=with_text(done.after))


def _without_texts(outcome: Outcome) -> Outcome:
    """An outcome that may be kept: texts may be erased later, and vectors are large."""

    def bare(state: ClusterState) -> ClusterState:
        ruling = state.ruling.without_texts()
        return replace(state, vector_sum=None, representative=None, own_representative=None, ruling=ruling)

    return replace(outcome, before=tuple(map(bare, outcome.before)), after=bare(outcome.after))


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
