"""Put back clusters that the cluster topic knows better than the store, part by part: never all states in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace

from questream.clustering.kept_members import KeptMembers
from questream.domain import ClusterState, InFlight, NamespaceState, retired_cluster
from questream.recovery.cluster_topic import ClusterTopic, Published
from questream.store.protocol import Mended, Restored, Store

# Centroids of 768 dimensions are 3 MB.
_PART = 1000

Offsets = Mapping[tuple[str, int], int]


class Restoring:
    """Puts the clusters of one namespace back that `published` has; `on_progress` gets how many are done by then."""

    def __init__(
        self,
        store: Store,
        topic: ClusterTopic,
        namespace: str,
        token: str,
        published: Published,
        mended: Mended,
        committed: Offsets,
        on_progress: Callable[[int], None],
    ) -> None:
        self._store = store
        self._topic = topic
        self._namespace = namespace
        self._token = token
        self._published = published
        self._mended = mended
        self._committed = committed
        self._on_progress = on_progress
        self._done = 0
        self._count = 0

    def restore(self, behind: Collection[int], gone: Collection[int]) -> int:
        """Put back what is `behind`, and retire what is `gone`; returns how many clusters that changed."""
        retired = {*gone, *(self._published.retired & set(behind))}
        self._restore([Restored(retired_cluster(self._namespace, i)) for i in sorted(retired)])
        wanted = {i: self._published.revisions[i] for i in behind if i not in retired}
        absorbing: dict[int, tuple[int, ...]] = {}
        part: dict[int, ClusterState] = {}
        for state in self._topic.newest_states(self._namespace, wanted) if wanted else ():
            if state.in_flight.absorbed:
                absorbing[state.cluster_id] = state.in_flight.absorbed
                continue
            part[state.cluster_id] = state
            if len(part) == _PART:
                self._put(part)
                part = {}
        self._put(part)
        self._put_survivors(absorbing)
        return self._count

    def recount(self, kept: Collection[int]) -> int:
        """Correct clusters that the store kept: what they count and no ledger records any more is decided again.

        Returns how many were corrected.
        """
        in_flight = self._store.in_flight(self._namespace, sorted(kept))
        heads = self._store.heads(self._namespace, {at for one in in_flight.values() for at in one.joins})
        wrong = [i for i, one in in_flight.items() if _lost_joins(one, self._committed, heads)]
        for start in range(0, len(wrong), _PART):
            states = self._store.states(self._namespace, wrong[start : start + _PART])
            self._restore([_without_lost_joins(state, self._committed, heads) for state in states])
        return len(wrong)

    def _put_survivors(self, absorbing: dict[int, tuple[int, ...]]) -> None:
        """Restore merges, after the clusters in them: one that was not published is published anew."""
        while absorbing:
            ready = [i for i, losers in absorbing.items() if absorbing.keys().isdisjoint(losers)] or list(absorbing)
            part = set(ready[:_PART])
            self._put(self._topic.states(self._namespace, part))
            absorbing = {i: losers for i, losers in absorbing.items() if i not in part}

    def _put(self, states: Mapping[int, ClusterState]) -> None:
        # Left behind by a move to another model: it was retired before that, and its tombstone had still to come.
        left_behind = {i for i, state in states.items() if _of_another_model(state, self._published.whole)}
        states = {i: state for i, state in states.items() if i not in left_behind}
        places = {at for state in states.values() for at in state.in_flight.joins}
        heads = self._store.heads(self._namespace, places)
        restored = {i: _without_lost_joins(state, self._committed, heads) for i, state in states.items()}
        for survivor, state in states.items():
            for loser in state.in_flight.absorbed:
                merged = self._merged(loser, survivor, restored)
                if merged is not None:
                    restored[loser] = merged
        retired = [Restored(retired_cluster(self._namespace, i)) for i in left_behind]
        # The merged ones first: a death in between leaves a survivor that is behind, which brings them again.
        self._restore(sorted([*restored.values(), *retired], key=lambda one: one.state.merged_into is None))

    def _merged(self, loser: int, survivor: int, restored: Mapping[int, Restored]) -> Restored | None:
        """A cluster whose merge was not published, though the one it became was."""
        restored_loser = restored.get(loser)
        state = restored_loser.state if restored_loser is not None else self._store.cluster(self._namespace, loser)
        if state is None or state.merged_into is not None:
            return None
        state = replace(
            state,
            event="merged",
            members=0,
            vector_sum=None,
            merged_into=survivor,
            revision=state.revision + 1,
            in_flight=InFlight(),
            kept_members="",
        )
        return Restored(state, publish=True)

    def _restore(self, restored: list[Restored]) -> None:
        if restored:
            replaced = [_replacing(one, self._mended) for one in restored]
            self._count += self._store.restore(self._namespace, self._token, replaced)
            self._done += len(restored)
            self._on_progress(self._done)


def _of_another_model(state: ClusterState, whole: NamespaceState | None) -> bool:
    if whole is None or state.vector_sum is None:
        return False
    return (state.model, len(state.vector_sum)) != (whole.model, whole.dimension)


def _replacing(restored: Restored, mended: Mended) -> Restored:
    """The state in place of a damaged cluster, with a later revision than any published one."""
    state = restored.state
    if state.cluster_id not in mended.damaged or state.event == "retired":
        return restored
    known = mended.damaged[state.cluster_id]
    if known <= state.revision:
        return replace(restored, damaged=True)
    return replace(restored, state=replace(state, revision=known + 1), publish=True, damaged=True)


def _lost_joins(in_flight: InFlight, committed: Offsets, heads: Offsets) -> int:
    """The number of questions in flight that are neither published nor recorded, and so will be decided again."""
    return sum(
        offset > heads.get(at, -1) for at in in_flight.joins for offset in _unpublished(in_flight, at, committed)
    )


def _unpublished(in_flight: InFlight, at: tuple[str, int], committed: Offsets) -> list[int]:
    # Of another group's topic nothing is known here.
    if at[0] not in {topic for topic, _ in committed}:
        return []
    return [offset for offset in in_flight.joins[at] if offset >= committed.get(at, 0)]


def _without_lost_joins(state: ClusterState, committed: Offsets, heads: Offsets) -> Restored:
    """The state without the questions that are neither published nor recorded."""
    lost = _lost_joins(state.in_flight, committed, heads)
    recorded = {
        at: tuple(offset for offset in _unpublished(state.in_flight, at, committed) if offset <= heads.get(at, -1))
        for at in state.in_flight.joins
    }
    in_flight = InFlight({at: offsets for at, offsets in recorded.items() if offsets})
    if not lost:
        return Restored(replace(state, in_flight=in_flight))
    gone = {
        (*at, offset)
        for at in state.in_flight.joins
        for offset in _unpublished(state.in_flight, at, committed)
        if offset > heads.get(at, -1)
    }
    corrected = replace(
        state,
        size=max(0, state.size - lost),
        revision=state.revision + 1,
        in_flight=in_flight,
        kept_members=str(KeptMembers.parse(state.kept_members).without(gone)),
    )
    return Restored(corrected, publish=True)
