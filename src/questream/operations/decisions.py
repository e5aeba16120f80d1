"""Operations on clusters: each function commits one operation, or shows its changes with `preview`.

Ids that were merged away are aliases of what they were merged into. All raise KeyError with an id that is not there,
RecoveryNeeded where a worker has to look first whether the store has lost anything, OperationRefused where people's
decisions forbid it, and Contended where the clusters kept changing.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

from questream.domain import (
    DISMISSIBLE,
    LABEL_OR_ROUTE_CHARACTERS,
    NAMES_OF_RULES,
    REPRESENTATIVE_CHARACTERS,
    ChosenQuestion,
    ClusterState,
    Dismissible,
    NamespaceRules,
    Operation,
    OperationKind,
    RulesChange,
    Ruling,
    format_cluster_id,
)
from questream.errors import Contended, OperationRefused
from questream.marks import MARKS, MarkKind
from questream.operations.binding import Change, KnownQuestion, moved_to, new_names, turned_away
from questream.operations.communities import Communities, MayDropNaming, OnLevels, keep_both
from questream.operations.correcting import Latest, corrected, latest, moved, undone_corrections
from questream.operations.levels import keeping, kept_again, named, undone_levels
from questream.operations.live import live_cluster
from questream.operations.merging import MayDrop, OperatorsMerge, keep_namings
from questream.operations.requests import Propose, fingerprint, request
from questream.operations.splitting import cluster_of, opened_by, part_of
from questream.operations.undoing import require_in_force, undoing
from questream.operations.unmerging import unmerging
from questream.store.protocol import OPERATIONS_KEPT, OpenedCluster, ProposedOperation, Store

_ATTEMPTS = 20
_MOST_CLUSTERS = 1000
_MOST_ALIASES = 10_000
_MOST_SEPARATIONS = 1000
# The changes of a request in the present clusters.
Look = Callable[[], ProposedOperation]
_LONGEST = {"actor": 200, "reason": 2000, "id": 200}


@dataclass(frozen=True, slots=True)
class By:
    """The actor of an operation and the reason; an `id` of the caller's own makes it safe to request it twice.

    Raises OperationRefused where one of them is too long.
    """

    actor: str
    reason: str = ""
    id: str = ""

    def __post_init__(self) -> None:
        for name, most in _LONGEST.items():
            if len(getattr(self, name)) > most:
                raise OperationRefused(f"the {name} of an operation has {most:,} characters at most")


class Decisions:
    """The operations on the clusters of one namespace, by one person."""

    def __init__(self, store: Store, namespace: str, by: By) -> None:
        self._store = store
        self._namespace = namespace
        self._by = by
        # The survivor of each cluster, as one look has found it first: if it changes meanwhile, the store refuses.
        self._found: dict[int, ClusterState] = {}

    @request
    def label(self, cluster_id: int, label: str | None, route: str | None) -> Look:
        """Name a cluster and set its route; None leaves one as it is, an empty text removes it.

        It raises OperationRefused where one of them has more than 256 characters, as those that follow.
        """
        id_ = self._new_id()
        return lambda: self._proposal(id_, "label", {cluster_id: _naming(label, route)})

    @request
    def label_all(self, namings: Mapping[int, tuple[str | None, str | None]]) -> Look:
        """As `label`, of many clusters by one operation; those that are named so already are no part of it.

        It raises OperationRefused where two that are one cluster by now are named differently, and where more than
        1,000 would change.
        """
        id_ = self._new_id()

        def propose() -> ProposedOperation:
            given: dict[int, tuple[str | None, str | None]] = {}
            before: dict[int, Ruling] = {}
            after: dict[int, Ruling] = {}
            for cluster_id, naming in namings.items():
                state = self._live_state(cluster_id)
                if given.setdefault(state.cluster_id, naming) != naming:
                    raise OperationRefused(
                        f"{format_cluster_id(cluster_id)} and another are {format_cluster_id(state.cluster_id)} by now,"
                        " and are named differently",
                        "leave one of them out",
                    )
                new = _naming(*naming)(state.ruling)
                if new != state.ruling:
                    before[state.cluster_id], after[state.cluster_id] = state.ruling, new
            if len(after) > _MOST_CLUSTERS:
                raise OperationRefused(
                    f"{len(after):,} clusters would change, {_MOST_CLUSTERS:,} at most do by one operation",
                    "name them in parts",
                )
            return ProposedOperation(id_, "label", self._by.actor, self._by.reason, before, after)

        return propose

    @request
    def label_level(self, name: str, label: str | None, route: str | None) -> Look:
        """As `label`, of an intent (i5) or a topic (t2): what is within it has both, as far as it has none itself.

        It raises ValueError for another name, OperationRefused where there is no such intent or topic any more.
        """
        id_ = self._new_id()
        _require_short(label, route)

        def propose() -> ProposedOperation:
            levels = named(self._store.levels(self._namespace), name, label, route)
            return replace(self._proposal(id_, "label", {}), levels=levels)

        return propose

    def mark(self, kind: MarkKind, cluster_id: int) -> Propose:
        """Mark a whole cluster; `MARKS` has the change of each kind."""
        id_ = self._new_id()

        def propose() -> ProposedOperation:
            size = self._live_state(cluster_id).size
            return self._proposal(id_, kind, {cluster_id: lambda ruling: MARKS[kind].change(ruling, size)})

        return Propose(fingerprint(kind, {"cluster_id": cluster_id}), propose)

    @request
    def move_nodes(self, names: Sequence[str], target: str) -> Look:
        """Clusters (c17) belong to an intent (i5), or intents to a topic (t2): to one of their own where it is `own`.

        This and what follows raise as `Communities` does.
        """
        return self._on_levels("move", lambda communities: communities.moved(names, target))

    @request
    def merge_levels(
        self, one: str, other: str, may_drop: MayDropNaming = keep_both, *, keep: str | None = None
    ) -> Look:
        """Two intents, or two topics, are one, and what is in both stays there."""
        return self._on_levels("merge", lambda communities: communities.merged(one, other, may_drop, keep))

    @request
    def separate_levels(self, one: str, other: str) -> Look:
        """Two intents, or two topics, are different: they are never one, nor do their clusters change sides."""
        return self._on_levels("separate", lambda communities: communities.separated(one, other))

    @request
    def pin_level(self, name: str) -> Look:
        """Keep the nodes of an intent or a topic in it; near ones may join it."""
        return self._on_levels("pin", lambda communities: communities.pinned(name))

    @request
    def unpin_level(self, name: str) -> Look:
        """Let the nodes of an intent or a topic be found elsewhere again."""
        return self._on_levels("unpin", lambda communities: communities.unpinned(name))

    @request
    def dismiss(self, cluster_id: int, suggestion: Dismissible) -> Look:
        """A suggestion about a cluster is not wanted: it is made no more."""
        id_ = self._new_id()

        def dismissed(ruling: Ruling) -> Ruling:
            wanted = {*ruling.dismissed, suggestion}
            return replace(ruling, dismissed=tuple(one for one in DISMISSIBLE if one in wanted))

        return lambda: self._proposal(id_, "dismiss", {cluster_id: dismissed})

    @request
    def represent(
        self, cluster_id: int, text: str, place: tuple[str, int, int] | None = None, of: int | None = None
    ) -> Look:
        """This question represents the cluster, in place of the one that opened it, and what the cluster becomes.

        `place` is its position in Kafka, `of` the cluster that it was decided to be in. Raises OperationRefused
        where that is another one by now, or where the text is empty.
        """
        if not text.strip():
            raise OperationRefused("the text that shall represent the cluster is empty", "give one that has words")
        id_, (name,) = self._new_id(), new_names(1)
        chosen = ChosenQuestion(name, text[:REPRESENTATIVE_CHARACTERS], place)

        def propose() -> ProposedOperation:
            if of is not None and (owner := self._live(of)) != self._live(cluster_id):
                raise OperationRefused(
                    f"the question is in {format_cluster_id(owner)}", "name a question of the cluster, or give --text"
                )
            return self._proposal(id_, "represent", {cluster_id: lambda ruling: replace(ruling, represented_by=chosen)})

        return propose

    @request
    def forget(self, cluster_id: int) -> Look:
        """Erase the texts of a cluster and of all that it absorbed, for ever; it decides on as before.

        Label, route and reasons stay: they are words of those who decided. Raises OperationRefused where it has
        absorbed more than 10,000.
        """
        id_ = self._new_id()

        def erased(ruling: Ruling) -> Ruling:
            return replace(ruling.without_texts(), represented_by=None)

        def propose() -> ProposedOperation:
            whole = self._live(cluster_id)
            forgets = self._store.forgetting(self._namespace, whole)
            if len(forgets.aliases) > _MOST_ALIASES:
                raise OperationRefused(
                    f"{format_cluster_id(whole)} has absorbed {len(forgets.aliases):,} clusters,"
                    f" of {_MOST_ALIASES:,} at most texts are erased",
                    "wait until clusters.alias_retention_seconds has let some go",
                )
            return replace(self._proposal(id_, "forget", {whole: erased}), forgets=forgets)

        return propose

    @request
    def separate(self, one: int, other: int) -> Look:
        """The two are different: they never merge, nor does what they become."""
        if one == other:
            raise OperationRefused("the two are one cluster")
        name = uuid.uuid4().hex[:12]

        def bearing(end: str) -> Callable[[Ruling], Ruling]:
            def change(ruling: Ruling) -> Ruling:
                if len(ruling.separations) >= _MOST_SEPARATIONS:
                    raise OperationRefused(
                        f"a cluster is separated {_MOST_SEPARATIONS:,} times at most", "undo one that is not needed"
                    )
                return replace(ruling, separations=(*ruling.separations, name + end))

            return change

        id_ = self._new_id()
        return lambda: self._proposal(id_, "separate", {one: bearing("+"), other: bearing("-")})

    @request
    def reject(self, questions: Sequence[KnownQuestion]) -> Look:
        """The questions do not belong to the clusters that they are in, nor does what is nearer to them than to these.

        They go to the next best cluster, as what comes later and is near them; those that none takes open one.
        """
        id_, names = self._new_id(), new_names(len(questions))

        def propose() -> ProposedOperation:
            known = self._corrected()
            now = corrected(questions, known)
            live = self._live_of(now)
            proposed = self._proposal(id_, "reject", turned_away(now, names, live))
            target = {one: self._next_best(one, live[one.cluster_id]) for one in now}
            alone: dict[int, list[tuple[str, KnownQuestion]]] = {}
            for name, one in zip(names, now, strict=True):
                if target[one] is None and one.opens is not None and one.place is not None:
                    alone.setdefault(one.opens, []).append((f"{name}o", one))
            if alone:
                leaves = [
                    cluster_of([one for _, one in group], [name for name, _ in group]) for group in alone.values()
                ]
                proposed = self._opening(proposed, leaves)
                for opened, group in zip(proposed.opens, alone.values(), strict=True):
                    target |= dict.fromkeys((one for _, one in group), opened)
            return replace(proposed, corrections=moved(now, known, live, target.__getitem__))

        return propose

    @request
    def split(self, cluster_id: int, questions: Sequence[KnownQuestion]) -> Look:
        """The questions are another part of a cluster: it is opened as a cluster of its own, and never merges back.

        Raises OperationRefused where one of them is in another cluster, or none is given.
        """
        id_, separation = self._new_id(), uuid.uuid4().hex[:12]
        part = part_of(questions, new_names(len(questions)), separation)

        def propose() -> ProposedOperation:
            known, whole = self._corrected(), self._live(cluster_id)
            now = corrected(questions, known)
            live = self._live_of(now)
            if any(owner != whole for owner in live.values()):
                raise OperationRefused(
                    f"not all of the questions are in {format_cluster_id(whole)}", "name those of the cluster alone"
                )
            proposed = self._opening(self._proposal(id_, "split", {whole: part.leave}), [(part.ruling, part.opened)])
            (opened,) = proposed.opens
            return replace(proposed, corrections=moved(now, known, live, lambda _: opened))

        return propose

    @request
    def move(self, questions: Sequence[KnownQuestion], target: int) -> Look:
        """The questions belong to the target: what is near them goes there, not to the clusters that they are in."""
        id_, names = self._new_id(), new_names(len(questions))

        def propose() -> ProposedOperation:
            known = self._corrected()
            now = corrected(questions, known)
            live, owner = self._live_of(now), self._live(target)
            proposed = self._proposal(id_, "move", moved_to(owner, now, names, live))
            return replace(proposed, corrections=moved(now, known, live, lambda _: owner))

        return propose

    @request
    def merge(self, one: int, other: int, may_drop: MayDrop = keep_namings, *, keep: int | None = None) -> Look:
        """The two are one, by the rules of `OperatorsMerge`.

        Raises ValueError if they are one cluster already, NamingsDiffer if a label or a route would be dropped and
        neither `may_drop` nor `keep` says so.
        """
        id_ = self._new_id()
        merge = OperatorsMerge(self._store, self._namespace, one, other, may_drop, keep)

        def propose() -> ProposedOperation:
            merged, before, after = merge.proposed()
            return ProposedOperation(id_, "merge", self._by.actor, self._by.reason, before, after, merge=merged)

        return propose

    @request
    def rules(self, values: Mapping[str, float | int | str | None]) -> Look:
        """Set rules of the namespace, by name; None leaves one to the settings of the workers again.

        All workers decide by them from one point of the log on. Raises OperationRefused for a name that is none.
        """
        if unknown := sorted(values.keys() - set(NAMES_OF_RULES)):
            raise OperationRefused(f"{unknown[0]} is no rule of a namespace", f"these are: {', '.join(NAMES_OF_RULES)}")
        id_ = self._new_id()

        def propose() -> ProposedOperation:
            before = self._store.rules(self._namespace)
            after = NamespaceRules.of({**before.values(), **values})
            return replace(self._proposal(id_, "rules", {}), rules=RulesChange(before, after))

        return propose

    @request
    def open_intents(self, leaves: Sequence[tuple[Ruling, OpenedCluster]], changes: Mapping[int, Change]) -> Look:
        """Open clusters that people know before any question comes, each with its ruling; change those of others."""
        id_ = self._new_id()
        return lambda: self._opening(self._proposal(id_, "intents", changes), leaves)

    @request
    def undo(self, number: int, joined: Sequence[KnownQuestion] = ()) -> Look:
        """Undo an operation whose result is still in force; a merge as `unmerge` does.

        Clusters that it opened and that no question joined are retired; others stay, without what it decided of them.
        """

        id_ = self._new_id()

        def propose() -> ProposedOperation:
            undone = self._store.operation(self._namespace, number)
            if undone is None:
                raise OperationRefused(
                    f"there is no operation {number} among the last {OPERATIONS_KEPT:,}",
                    "`questream clusters history` shows them",
                )
            if undone.undone_by is not None:
                raise OperationRefused(f"operation {number} was undone by operation {undone.undone_by}")
            if undone.kind == "delete":
                raise OperationRefused(f"operation {number} deleted the namespace, which nothing brings back")
            if undone.kind == "forget":
                raise OperationRefused(
                    f"operation {number} erased texts, which nothing brings back",
                    "`questream clusters represent` chooses a text that represents the cluster",
                )
            again = self._merged_again(id_, undone, joined)
            if again is not None:
                return replace(again, undoes=number)
            changes = {
                cluster_id: undoing(undone, undone.before[cluster_id], undone.after[cluster_id])
                for cluster_id in (undone.after if undone.levels is None else self._there(undone.after))
            }
            rules = undone.rules and _undone_rules(undone, undone.rules, self._store.rules(self._namespace))
            corrections = undone_corrections(undone, self._corrected(), self._live) if undone.corrections else ()
            proposed = self._proposal(id_, "undo", changes)
            proposed = replace(proposed, undoes=number, rules=rules, corrections=corrections)
            proposed = replace(proposed, retires=self._unasked(undone, proposed))
            if undone.levels is None:
                return proposed
            stored = self._store.levels(self._namespace)
            levels = undone_levels(stored, undone.levels, partial(require_in_force, undone))
            return replace(proposed, levels=keeping(levels, proposed.after))

        return propose

    @request
    def unmerge(self, cluster_id: int, joined: Sequence[KnownQuestion] = ()) -> Look:
        """A cluster that was merged away, by whom ever, is live again, as `operations/unmerging.py` says.

        Of the questions that `joined` what it had become, those that are nearer to it go with it.
        """
        id_ = self._new_id()

        def propose() -> ProposedOperation:
            kept = self._store.operations(self._namespace, OPERATIONS_KEPT)
            merged = next((one for one in kept if one.survivor and cluster_id in one.after and not one.undone_by), None)
            undoes = merged.number if merged is not None and merged.survivor != cluster_id else None
            return replace(self._unmerging(id_, "unmerge", cluster_id, joined), undoes=undoes)

        return propose

    def _merged_again(self, id_: str, undone: Operation, joined: Sequence[KnownQuestion]) -> ProposedOperation | None:
        """The undo of a merge, or of an undo of one; None for that of another operation."""
        if undone.survivor is not None:
            return self._unmerging(id_, "undo", next(one for one in undone.after if one != undone.survivor), joined)
        if undone.parted is None:
            return None
        one, other = undone.after
        ends = {end for ruling in undone.after.values() for end in ruling.separations}
        known = {end for ruling in undone.before.values() for end in ruling.separations}
        merge = OperatorsMerge(self._store, self._namespace, one, other, forgiven=frozenset(ends - known))
        merged, before, after = merge.proposed()
        return ProposedOperation(id_, "undo", self._by.actor, self._by.reason, before, after, merge=merged)

    def _unmerging(
        self, id_: str, kind: OperationKind, cluster_id: int, joined: Sequence[KnownQuestion]
    ) -> ProposedOperation:
        part, before, after, moved_along = unmerging(self._store, self._namespace, cluster_id, joined)
        proposed = ProposedOperation(id_, kind, self._by.actor, self._by.reason, before, after, part=part)
        levels = kept_again(self._store.levels(self._namespace), cluster_id, after[cluster_id])
        return replace(proposed, corrections=moved_along, levels=levels)

    def preview(self, propose: Propose) -> ProposedOperation:
        """The changes of the operation now: none if its id has done it. Raises as `commit`."""
        done = self._done(propose)
        if done is not None:
            return ProposedOperation(done.id, done.kind, done.actor, done.reason, {}, {}, undoes=done.undoes)
        return self._look(propose)

    def commit(self, propose: Propose) -> Operation:
        """Commit the operation; an id that is said again answers what it did, and is refused with another request."""
        for _ in range(_ATTEMPTS):
            done = self._done(propose)
            if done is not None:
                return done
            proposed = self._look(propose)
            operation = self._store.operate(self._namespace, proposed)
            if operation is not None:
                # Somebody else may have said the id meanwhile, or to an earlier release, which kept no fingerprint.
                if operation.kind != proposed.kind or operation.asked not in (None, proposed.asked):
                    raise _id_was_given(operation)
                return operation
        raise Contended("the clusters kept moving", "try again")

    def _done(self, propose: Propose) -> Operation | None:
        """The operation of the person's id, if it is kept. Raises OperationRefused if that was another request."""
        kept = self._store.operations(self._namespace, OPERATIONS_KEPT) if self._by.id else []
        done = next((known for known in kept if known.id == self._by.id and known.asked is not None), None)
        if done is not None and done.asked != propose.asked:
            raise _id_was_given(done)
        return done

    def _on_levels(self, kind: OperationKind, decide: Callable[[Communities], OnLevels]) -> Look:
        id_ = self._new_id()

        def propose() -> ProposedOperation:
            found = decide(Communities(self._store, self._namespace))
            by = self._by
            return ProposedOperation(id_, kind, by.actor, by.reason, found.before, found.after, levels=found.levels)

        return propose

    def _opening(
        self, proposed: ProposedOperation, leaves: Sequence[tuple[Ruling, OpenedCluster]]
    ) -> ProposedOperation:
        """An operation that opens clusters too, under the numbers that are next."""
        whole = self._store.namespace_state(self._namespace)
        numbered = dict(enumerate(leaves, 1 if whole is None else whole.next_cluster))
        return replace(
            proposed,
            before={**proposed.before, **dict.fromkeys(numbered, Ruling())},
            after={**proposed.after, **{number: ruling for number, (ruling, _) in numbered.items()}},
            opens={number: opened for number, (_, opened) in numbered.items()},
        )

    def _there(self, cluster_ids: Iterable[int]) -> list[int]:
        """Of clusters that are one by now the first, of those that are gone none."""
        found: dict[int, int] = {}
        for cluster_id in cluster_ids:
            with suppress(KeyError):
                found.setdefault(self._live(cluster_id), cluster_id)
        return list(found.values())

    def _unasked(self, undone: Operation, proposed: ProposedOperation) -> frozenset[int]:
        """The clusters that an operation opened and that nothing rules any more, as far as they are of no question."""
        opened = [i for i in opened_by(undone) if proposed.after.get(i) == Ruling()]
        found = self._store.states(self._namespace, opened) if opened else []
        return frozenset(state.cluster_id for state in found if state.size == 0)

    def _next_best(self, question: KnownQuestion, owner: int) -> int | None:
        """The best cluster that would take a question, but for the one that turns it away."""
        for cluster_id in question.would_join:
            with suppress(KeyError):
                live = self._live(cluster_id)
                if live != owner:
                    return live
        return None

    def _corrected(self) -> Latest:
        return latest(self._store.operations(self._namespace, OPERATIONS_KEPT))

    def _live_of(self, questions: Iterable[KnownQuestion]) -> dict[int, int]:
        return {cluster_id: self._live(cluster_id) for cluster_id in {one.cluster_id for one in questions}}

    def _live(self, cluster_id: int) -> int:
        return self._live_state(cluster_id).cluster_id

    def _live_state(self, cluster_id: int) -> ClusterState:
        if cluster_id not in self._found:
            state = live_cluster(self._store, self._namespace, cluster_id)
            self._found[cluster_id] = self._found.setdefault(state.cluster_id, state)
        return self._found[cluster_id]

    def _look(self, propose: Propose) -> ProposedOperation:
        self._found.clear()
        return propose()

    def _new_id(self) -> str:
        return self._by.id or uuid.uuid4().hex

    def _proposal(
        self, id_: str, kind: OperationKind, changes: Mapping[int, Callable[[Ruling], Ruling]]
    ) -> ProposedOperation:
        before: dict[int, Ruling] = {}
        after: dict[int, Ruling] = {}
        for cluster_id, change in changes.items():
            state = self._live_state(cluster_id)
            if state.cluster_id in before:
                raise OperationRefused("the two are one cluster")
            before[state.cluster_id] = state.ruling
            after[state.cluster_id] = change(state.ruling)
        return ProposedOperation(id_, kind, self._by.actor, self._by.reason, before, after)


def merge_clusters(
    store: Store, namespace: str, one: int, other: int, may_drop: MayDrop = keep_namings, by: By | None = None
) -> Operation:
    """Merge two clusters as one operation, as `Decisions.merge` does; by default nobody's."""
    decisions = Decisions(store, namespace, by or By(""))
    return decisions.commit(decisions.merge(one, other, may_drop))


def history(operations: Iterable[Operation], cluster_ids: Iterable[int]) -> list[Operation]:
    """The operations that changed one of these clusters."""
    wanted = set(cluster_ids)
    return [operation for operation in operations if not wanted.isdisjoint(operation.after)]


def history_of_levels(operations: Iterable[Operation], names: Iterable[str]) -> list[Operation]:
    """The operations that named one of these intents and topics."""
    wanted = set(names)
    return [one for one in operations if one.levels is not None and not wanted.isdisjoint(one.levels.after)]


def _id_was_given(done: Operation) -> OperationRefused:
    return OperationRefused(f"the id of this operation is that of operation {done.number}", "give it another one")


def _require_short(*names: str | None) -> None:
    if any(len(name or "") > LABEL_OR_ROUTE_CHARACTERS for name in names):
        raise OperationRefused(f"a label or a route has {LABEL_OR_ROUTE_CHARACTERS} characters at most")


def _naming(label: str | None, route: str | None) -> Callable[[Ruling], Ruling]:
    def change(ruling: Ruling) -> Ruling:
        names = (ruling.label, ruling.route)
        new = [known if given is None else given or None for given, known in zip((label, route), names, strict=True)]
        # One of an earlier release may stay as long as it is.
        _require_short(*(name for name in new if name not in names))
        return replace(ruling, label=new[0], route=new[1])

    return change


def _undone_rules(undone: Operation, change: RulesChange, now: NamespaceRules) -> RulesChange:
    """The change from what the rules are now; those that an operation did not change stay."""
    was, became, current = change.before.values(), change.after.values(), now.values()
    changed = [name for name in NAMES_OF_RULES if was.get(name) != became.get(name)]
    require_in_force(undone, all(current.get(name) == became.get(name) for name in changed))
    return RulesChange(now, NamespaceRules.of(current | {name: was.get(name) for name in changed}))
