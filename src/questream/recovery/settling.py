"""Settle namespaces: put back what the store has lost of what was published, then let decisions go on.

A store loses its last writes when Redis is restarted without its whole append-only file, when a replica takes over that
lagged, or when it is emptied. What is left of a namespace is what stood there at some earlier moment. Four rules make
that whole again:

1. A published decision changed a cluster's state, which was published in the same transaction. So the store lost
   something that counts exactly where the cluster topic has a later revision of a cluster than the store.
2. Such a state may count questions of other batches that were never published, and come again: `InFlight` names them.
   Those at or above the group's committed offset, and not in the ledger that is left, are taken off its size.
3. What lies below the committed offset is decided, whether the ledger that is left knows how or not.
4. The store may have lost that a state waited to be published again, because an older one had been published after it.
   So every cluster whose last record in the topic is not its newest goes to the outbox.

A centroid keeps the vector of a question that comes again, and learns it a second time.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from questream.domain import ClusterState, InFlight, NamespaceState, name_some, retired_cluster
from questream.errors import AnotherStore, ClusterTopicDamaged, NamespaceHeld, NamespaceRefused, StoreDamaged
from questream.recovery.cluster_topic import ClusterTopic, Published, unreadable_state
from questream.recovery.home import Homes
from questream.store.protocol import Mended, Restored, Store

logger = logging.getLogger(__name__)

_NEWEST_RECORDS = 200
_PART = 10_000

Offsets = Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Progress:
    """How many clusters of a namespace have been put back, of how many."""

    namespace: str
    done: int
    of: int

    def __str__(self) -> str:
        return f"settling namespace {self.namespace!r}: {self.done:,} of {self.of:,} clusters"


class Settler:
    """Settles namespaces of a store by what the cluster topic tells; safe from any thread.

    A cluster that neither store nor topic can tell ends it with StoreDamaged or ClusterTopicDamaged, or, with
    `give_up`, is retired: its id is never given again. `homes` knows which store serves a namespace. `progress` is how
    far the namespace in hand has come.
    """

    def __init__(self, store: Store, topic: ClusterTopic, homes: Homes | None = None, *, give_up: bool = False) -> None:
        self._store = store
        self._topic = topic
        self._homes = homes
        self.progress: Progress | None = None
        self._give_up = give_up
        self._lock = threading.Lock()

    def settle(self, namespace: str) -> None:
        """Settle an opened namespace, and with it all others that the store knows and that are not settled.

        Raises KafkaUnavailable or KafkaRefused where the topic cannot be read, and what the store raises.
        """
        with self._lock:
            if self._store.incarnation(namespace) is not None:
                return
            token = self._store.begin_settling(namespace)
            if namespace not in self._topic.namespaces():
                self._settle_untold(namespace, token)
                return
            # The topic is read once for all namespaces: whoever lost one has lost them all.
            tokens = {namespace: token}
            for name in {*self._store.namespaces(), *self._topic.namespaces()} - {namespace}:
                # One that somebody moves to another model is settled by whoever asks for it.
                with suppress(NamespaceHeld, NamespaceRefused, AnotherStore):
                    tokens[name] = self._store.begin_settling(name)
            for name, published in ({namespace: Published()} | self._topic.published()).items():
                if name in tokens and self._store.incarnation(name) is None:
                    try:
                        self._settle(name, tokens[name], published)
                    except (AnotherStore, StoreDamaged, ClusterTopicDamaged) as error:
                        if name == namespace:
                            raise
                        # Whoever asks for that one is told; the others go on.
                        logger.error("a namespace cannot be settled", extra={"reason": str(error)})

    def settle_all(self, namespaces: Collection[str]) -> None:
        """As `settle`, of any number of opened namespaces: those that are new take one look at the topic in all.

        One that somebody holds to move it to another model is left.
        """
        tokens: dict[str, str] = {}
        with self._lock:
            for name in namespaces:
                if self._store.incarnation(name) is None:
                    with suppress(NamespaceHeld):
                        tokens[name] = self._store.begin_settling(name)
            told = tokens.keys() & self._topic.namespaces() if tokens else set()
            for name in tokens.keys() - told:
                self._settle_untold(name, tokens[name])
        for name in told:
            self.settle(name)

    def published_namespaces(self) -> set[str]:
        """The namespaces that the topic knows."""
        with self._lock:
            return set(self._topic.namespaces())

    def adopt(self) -> dict[str, int]:
        """As `restore`, and make this store the home of all published namespaces; the former must be closed.

        Raises AnotherStore where this store holds a namespace of the same name that is another.
        """
        with self._lock:
            published = self._topic.published()
            for name, told in published.items():
                self._require_vacant(name, told)
            return {name: self._adopt(name, told) for name, told in published.items() if told.whole is not None}

    def _require_vacant(self, namespace: str, told: Published) -> None:
        """Raises AnotherStore where this store has clusters that never were this namespace's."""
        assert self._homes is not None  # noqa: S101 - nobody adopts without
        if self._store.namespace_state(namespace) is not None and any(True for _ in self._store.summaries(namespace)):
            try:
                self._homes.require(namespace, told.home)
            except AnotherStore:
                raise AnotherStore(
                    f"this Redis has clusters of its own in a namespace {namespace!r}: they would be mixed with those"
                    " of the cluster topic; use another database, or empty this one"
                ) from None

    def _adopt(self, namespace: str, told: Published) -> int:
        assert self._homes is not None  # noqa: S101 - as above
        self._homes.adopt(namespace, told.home)
        self._store.unsettle(namespace)
        return self._settle(namespace, self._store.begin_settling(namespace), told)

    def restore(self) -> dict[str, int]:
        """Put back what the store lacks in any published namespace, settled or not.

        Returns how many clusters were put back, by namespace.
        """
        with self._lock:
            return {name: self._restore(name) for name in self._topic.namespaces()}

    def _restore(self, namespace: str) -> int:
        if self._store.incarnation(namespace) is not None:
            told = self._topic.published().get(namespace, Published())
            known = self._store.revisions(namespace, [*told.revisions, *told.retired])
            if not self._give_up and not self._behind(namespace, told, known):
                return 0
            # From here on nothing is decided; what was until now is read below.
            self._store.unsettle(namespace)
        token = self._store.begin_settling(namespace)
        published = self._topic.published().get(namespace, Published())
        return 0 if published.whole is None else self._settle(namespace, token, published)

    def is_told(self, namespace: str) -> bool:
        """Whether the topic knows the namespace."""
        with self._lock:
            return namespace in self._topic.namespaces()

    def settle_lost(self, namespace: str) -> None:
        """Settle all namespaces that are not, before any record of theirs is read; `namespace` is the worker's own.

        What was told last is looked for in the store: it may have been put back to an earlier moment meanwhile.
        """
        for name, newest in self._topic.newest(_NEWEST_RECORDS).items():
            if self._store.incarnation(name) is None:
                continue
            if self._homes is not None:
                self._homes.require(name, newest.home)
            if self._behind(name, newest, self._store.revisions(name, [*newest.revisions, *newest.retired])):
                logger.warning("the store is older than what was published", extra={"namespace": name})
                self._store.unsettle(name)
        known = self._store.namespaces()
        if known and all(self._store.incarnation(name) is not None for name in known):
            return
        for name in sorted({namespace, *self._topic.namespaces()} & {*known, *self._topic.namespaces()}):
            with suppress(NamespaceHeld):
                self.settle(name)

    def _put_back(self, namespace: str, token: str, restored: list[Restored]) -> int:
        """In parts, so that it can be told how far it has come."""
        count = 0
        for start in range(0, max(1, len(restored)), _PART):
            self.progress = Progress(namespace, start, len(restored))
            count += self._store.restore(namespace, token, restored[start : start + _PART])
        self.progress = None
        return count

    def _settle_untold(self, namespace: str, token: str) -> None:
        """The topic has nothing of it: it is new, or has not published yet."""
        mended = self._store.mend(namespace, token, [], None)
        gone = self._gone(namespace, Published(), mended)
        self._store.restore(namespace, token, [Restored(retired_cluster(namespace, i)) for i in gone])
        if self._homes is not None:
            self._homes.take(namespace, None)
        self._store.settle(namespace, token, None, {}, mended.revisions)

    def _settle(self, namespace: str, token: str, published: Published) -> int:
        if self._homes is not None:
            self._homes.require(namespace, published.home)
        told = [*published.revisions, *published.retired]
        dimension = None if published.whole is None else published.whole.dimension
        mended = self._store.mend(namespace, token, told, dimension)
        gone = self._gone(namespace, published, mended)
        behind = self._behind(namespace, published, mended.revisions) - published.unreadable.keys()
        committed = self._topic.committed()
        restored = self._corrected(namespace, published, behind, committed) if behind else []
        restored += [Restored(retired_cluster(namespace, i)) for i in gone]
        if self._homes is not None:
            self._homes.take(namespace, published.home)
        count = self._put_back(namespace, token, [_replacing(one, mended) for one in restored])
        decided = {at: offset - 1 for at, offset in committed.items()}
        # What the store has told nobody of waits in its outbox, which may be lost as well.
        untold = [i for i, revision in mended.revisions.items() if revision > published.revisions.get(i, 0)]
        untold = [i for i in untold if i not in published.retired]
        whole = _numbered_on(published, self._store.namespace_state(namespace))
        self._store.settle(namespace, token, whole, decided, sorted({*untold, *published.outdated}))
        logger.log(
            logging.WARNING if count else logging.INFO,
            "the store had lost clusters; they are put back" if count else "the store has all that was published",
            extra={"namespace": namespace, "clusters": count},
        )
        return count

    def _gone(self, namespace: str, published: Published, mended: Mended) -> list[int]:
        """The clusters that neither the store nor the topic can tell, where they are given up."""
        unreadable = sorted(published.unreadable.keys() - {0} if self._give_up else published.unreadable)
        if unreadable and not self._give_up:
            raise ClusterTopicDamaged(unreadable_state(namespace, unreadable[0], published.unreadable[unreadable[0]]))
        gone = sorted(mended.damaged.keys() - published.revisions.keys() - published.retired)
        if gone and not self._give_up:
            raise StoreDamaged(
                f"Redis has lost clusters of namespace {namespace!r} that the cluster topic does not know either"
                f" ({name_some(gone)}): put back a backup of Redis, or give their ids up for good with"
                " questream restore --give-up"
            )
        return sorted({*gone, *(i for i in unreadable if i in mended.damaged)})

    def _behind(self, namespace: str, published: Published, known: Mapping[int, int]) -> set[int]:
        """The clusters that the topic knows better than the store, which knows these revisions."""
        behind = {i for i, revision in published.revisions.items() if revision > known.get(i, 0)}
        lingering = [i for i in published.retired if i in known]
        # For a while something of a retired cluster is left in the store.
        left = {s.cluster_id for s in self._store.states(namespace, lingering) if s.event == "retired"}
        return behind | (set(lingering) - left)

    def _corrected(self, namespace: str, published: Published, behind: set[int], committed: Offsets) -> list[Restored]:
        states = self._topic.states(namespace, behind - published.retired)
        # Left behind by a move to another model: it was retired before that, and its tombstone had still to come.
        left_behind = {i for i, state in states.items() if _of_another_model(state, published.whole)}
        states = {i: state for i, state in states.items() if i not in left_behind}
        places = {at for state in states.values() for at in state.in_flight.joins}
        heads = self._store.heads(namespace, places)
        restored = {i: _without_lost_joins(state, committed, heads) for i, state in states.items()}
        for survivor, state in states.items():
            for loser in state.in_flight.absorbed:
                merged = self._merged(namespace, loser, survivor, restored)
                if merged is not None:
                    restored[loser] = merged
        retired = [Restored(retired_cluster(namespace, i)) for i in behind & published.retired | left_behind]
        # The merged ones first: whoever dies in between leaves a survivor that is behind, which tells of them again.
        return sorted([*restored.values(), *retired], key=lambda one: one.state.merged_into is None)

    def _merged(self, namespace: str, loser: int, survivor: int, restored: Mapping[int, Restored]) -> Restored | None:
        """A cluster whose merge was not published, though the one it became was."""
        put_back = restored.get(loser)
        state = put_back.state if put_back is not None else self._store.cluster(namespace, loser)
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
        )
        return Restored(state, publish=True)


def _of_another_model(state: ClusterState, whole: NamespaceState | None) -> bool:
    if whole is None or state.vector_sum is None:
        return False
    return (state.model, len(state.vector_sum)) != (whole.model, whole.dimension)


def _replacing(restored: Restored, mended: Mended) -> Restored:
    """What takes the place of a damaged cluster has a later revision than whatever was told of that."""
    state = restored.state
    if state.cluster_id not in mended.damaged or state.event == "retired":
        return restored
    known = mended.damaged[state.cluster_id]
    if known <= state.revision:
        return replace(restored, damaged=True)
    return replace(restored, state=replace(state, revision=known + 1), publish=True, damaged=True)


def _without_lost_joins(state: ClusterState, committed: Offsets, heads: Offsets) -> Restored:
    """The state without the questions that are neither published nor recorded, and so will be decided again."""
    lost, recorded = 0, {}
    topics = {topic for topic, _ in committed}
    for at, offsets in state.in_flight.joins.items():
        # Of another group's topic nothing is known here.
        unpublished = [o for o in offsets if o >= committed.get(at, 0)] if at[0] in topics else []
        lost += sum(offset > heads.get(at, -1) for offset in unpublished)
        recorded[at] = tuple(offset for offset in unpublished if offset <= heads.get(at, -1))
    in_flight = InFlight({at: offsets for at, offsets in recorded.items() if offsets})
    if not lost:
        return Restored(replace(state, in_flight=in_flight))
    corrected = replace(state, size=max(0, state.size - lost), revision=state.revision + 1, in_flight=in_flight)
    return Restored(corrected, publish=True)


def _numbered_on(published: Published, stored: NamespaceState | None) -> NamespaceState | None:
    """The namespace as it was published; a cluster that others told of may be newer than what it tells itself.

    A worker may die before it tells of the namespace in which another has already published: then it is as `stored`.
    """
    newest = max([*published.revisions, *published.retired, *published.unreadable], default=0)
    whole = published.whole or (stored if newest else None)
    return whole and replace(whole, next_cluster=max(whole.next_cluster, newest + 1))
