"""Recover namespaces: restore what the store has lost of what was published, then let decisions go on.

A store loses its last writes when Redis is restarted without its whole append-only file, when a replica takes over that
lagged, or when it is emptied. What is left of a namespace is its state of some earlier moment. Four rules make
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
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace

from questream.domain import NamespaceState, name_some, retired_cluster
from questream.errors import (
    AnotherStore,
    ClusterTopicDamaged,
    NamespaceDamaged,
    NamespaceHeld,
    NamespaceRefused,
    QuestreamError,
    Recourse,
    RecoveryNeeded,
    StoreDamaged,
    recourse_of,
)
from questream.recovery.age import require_recent
from questream.recovery.cluster_topic import ClusterTopic, Published, unreadable_levels, unreadable_state
from questream.recovery.home import Home, Homes
from questream.recovery.lease import RecoveryLease
from questream.recovery.restoring import Offsets, Restoring
from questream.recovery.verifying_operations import missing_operations
from questream.store.protocol import Mended, Restored, Store, StoredLevels

logger = logging.getLogger(__name__)

_LOOK_AGAIN_SECONDS = 0.5
_SET_ASIDE_SECONDS = 600.0
_LOG_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Progress:
    """The number of restored clusters of a namespace, and of how many; None until that is known."""

    namespace: str
    done: int = 0
    of: int | None = None

    def __str__(self) -> str:
        if self.of is None:
            return f"recovering namespace {self.namespace!r}: comparing it with the cluster topic"
        return f"recovering namespace {self.namespace!r}: {self.done:,} of {self.of:,} clusters"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Another worker recovers the namespace."""

    namespace: str

    def __str__(self) -> str:
        return f"waiting for another worker that recovers namespace {self.namespace!r}"


class StoreRecovery:
    """Recovers namespaces of a store from the cluster topic; safe from any thread.

    A cluster of which neither store nor topic has a state ends it with StoreDamaged or ClusterTopicDamaged, or, with
    `give_up`, is retired: its id is never given again. `homes` knows which store serves a namespace. With a `lease` one
    worker recovers a namespace while the others wait. `progress` is how far the namespace in hand has come.
    """

    def __init__(
        self,
        store: Store,
        topic: ClusterTopic,
        homes: Homes | None = None,
        lease: RecoveryLease | None = None,
        *,
        give_up: bool = False,
    ) -> None:
        self._store = store
        self._topic = topic
        self._homes = homes
        self._lease = lease
        self.progress: Progress | Waiting | None = None
        self._logged_at = 0.0
        self._give_up = give_up
        self._lock = threading.Lock()
        # Namespaces that could not be recovered, and until when that is not tried again.
        self._damaged: dict[str, tuple[NamespaceDamaged, float]] = {}

    def recover(self, namespace: str) -> None:
        """Recover an opened namespace, and with it all others that the store knows and that are not recovered.

        Raises KafkaUnavailable or KafkaRefused where the topic cannot be read, and what the store raises.
        """
        with self._lock:
            try:
                while self._store.store_epoch(namespace) is None:
                    token = self._store.begin_recovery(namespace)
                    with self._leased(namespace, token) as mine:
                        if mine:
                            self.progress = Progress(namespace)
                            others = self._recover_first(namespace, token)
                    if mine:
                        for name, (its_token, published) in others.items():
                            self._recover_other(name, its_token, published)
                        return
                    self._await_other(namespace)
            finally:
                self.progress = None

    @contextmanager
    def _leased(self, namespace: str, token: str) -> Iterator[bool]:
        if self._lease is None:
            yield True
        else:
            with self._lease.held(namespace, token) as mine:
                yield mine

    def _await_other(self, namespace: str) -> None:
        assert self._lease is not None  # noqa: S101 - nobody else refuses
        self.progress = Waiting(namespace)
        if self._lease.wait(_LOOK_AGAIN_SECONDS):
            raise RecoveryNeeded(f"namespace {namespace!r} is not recovered yet")

    def _recover_first(self, namespace: str, token: str) -> dict[str, tuple[str, Published]]:
        """Recover a namespace; returns all others that are not recovered: the token of each, and what was published."""
        if namespace not in self._topic.named():
            self._recover_unpublished(namespace, token)
            return {}
        tokens = {}
        for name in {*self._store.namespaces(), *self._topic.namespaces()} - {namespace}:
            # One that somebody moves to another model is recovered by the worker that asks for it.
            with suppress(NamespaceHeld, NamespaceRefused, AnotherStore):
                tokens[name] = self._store.begin_recovery(name)
        # The topic is read once for all namespaces: a store that lost one has lost them all.
        published = self._topic.published()
        require_recent(self._store, self._topic, published)
        self._recover(namespace, token, published.get(namespace, Published()))
        return {name: (tokens[name], found) for name, found in published.items() if name in tokens}

    def _recover_other(self, namespace: str, token: str, published: Published) -> None:
        """One that this worker was not asked for: where it cannot be recovered, the others go on."""
        if self._store.store_epoch(namespace) is not None:
            return
        try:
            with self._leased(namespace, token) as mine:
                if mine:
                    self._recover(namespace, token, published)
        except AnotherStore as error:
            # The next call that asks for that one raises it.
            logger.error("a namespace cannot be recovered", extra={"reason": str(error)})
        except QuestreamError as error:
            self._set_aside(namespace, error)

    def _set_aside(self, namespace: str, error: QuestreamError) -> None:
        """The others go on; what comes to this one is refused until somebody has mended it."""
        if recourse_of(error) is not Recourse.SET_ASIDE:
            raise error
        # The store itself goes on refusing it where it does; the topic is not read again for each record.
        if not isinstance(error, NamespaceRefused):
            self._damaged[namespace] = NamespaceDamaged(*error.problems[0]), time.monotonic() + _SET_ASIDE_SECONDS
        logger.error("a namespace cannot be recovered", extra={"reason": str(error)})

    def damage(self, namespace: str) -> NamespaceDamaged | None:
        """The reason why the namespace could not be recovered lately; safe from any thread."""
        error, until = self._damaged.get(namespace, (None, 0.0))
        return error if time.monotonic() < until else None

    def recover_all(self, namespaces: Collection[str]) -> None:
        """As `recover`, of any number of opened namespaces: those that are new take one look at the topic in all.

        One that somebody holds to move it to another model is left.
        """
        tokens: dict[str, str] = {}
        with self._lock:
            for name in namespaces:
                if self._store.store_epoch(name) is None:
                    with suppress(NamespaceHeld):
                        tokens[name] = self._store.begin_recovery(name)
            in_topic = tokens.keys() & self._topic.named() if tokens else set()
            for name in tokens.keys() - in_topic:
                self._recover_unpublished(name, tokens[name])
        for name in in_topic:
            self.recover(name)

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
            for name, found in published.items():
                self._require_vacant(name, found)
            return {name: self._adopt(name, found) for name, found in published.items() if found.whole is not None}

    def _require_vacant(self, namespace: str, found: Published) -> None:
        """Raises AnotherStore where this store has clusters that never were this namespace's."""
        assert self._homes is not None  # noqa: S101 - nobody adopts without
        if self._store.namespace_state(namespace) is not None and any(True for _ in self._store.summaries(namespace)):
            try:
                self._homes.require(namespace, found.home)
            except AnotherStore:
                raise AnotherStore(
                    f"this Redis has clusters of its own in a namespace {namespace!r}: they would be mixed with those"
                    " of the cluster topic",
                    "use another database, or empty this one",
                ) from None

    def _adopt(self, namespace: str, found: Published) -> int:
        assert self._homes is not None  # noqa: S101 - as above
        self._homes.adopt(namespace, found.home)
        self._store.require_recovery(namespace)
        token = self._store.begin_recovery(namespace)
        with self._leased(namespace, token):
            return self._recover(namespace, token, found)

    def restore(self) -> dict[str, int]:
        """Put back what the store lacks in any published namespace, recovered or not.

        Returns how many clusters were restored, by namespace.
        """
        with self._lock:
            return {name: self._restore(name) for name in self._topic.namespaces()}

    def _restore(self, namespace: str) -> int:
        if self._store.store_epoch(namespace) is not None:
            found = self._topic.published().get(namespace, Published())
            known = self._store.revisions(namespace, [*found.revisions, *found.retired])
            lacks_operations = missing_operations(self._store, namespace, found.operations)
            if not self._give_up and not self._behind(namespace, found, known) and not lacks_operations:
                return 0
            # From here on nothing is decided; what was until now is read below.
            self._store.require_recovery(namespace)
        token = self._store.begin_recovery(namespace)
        # Also where a worker has the lease: both put back the same, by one token.
        with self._leased(namespace, token):
            published = self._topic.published().get(namespace, Published())
            return 0 if published.whole is None else self._recover(namespace, token, published)

    def is_published(self, namespace: str) -> bool:
        """True if the topic knows the namespace."""
        with self._lock:
            return namespace in self._topic.namespaces()

    def published_home(self, namespace: str) -> Home | None:
        """The last home of a namespace in the topic; None where its records name none."""
        with self._lock:
            return self._topic.homes().get(namespace)

    def recover_lost(self, namespace: str) -> None:
        """Recover all namespaces that are not, before any record of theirs is read; `namespace` is the worker's own.

        The topic's newest states are looked for in the store: it may have been restored to an earlier moment.
        """
        for name, newest in self._topic.newest().items():
            if self._store.store_epoch(name) is None:
                continue
            if self._homes is not None:
                self._homes.require(name, newest.home)
            is_behind = self._behind(name, newest, self._store.revisions(name, [*newest.revisions, *newest.retired]))
            mark = self._store.levels_marks([name]).get(name)
            if is_behind or (mark is not None and newest.levels.version > mark.version):
                logger.warning("the store is older than what was published", extra={"namespace": name})
                self._store.require_recovery(name)
        known = self._store.namespaces()
        self._give_homes(known)
        if known and all(self._store.store_epoch(name) is not None for name in known):
            return
        for name in sorted({namespace, *self._topic.namespaces()} & {*known, *self._topic.namespaces()}):
            with suppress(NamespaceHeld):
                try:
                    self.recover(name)
                except QuestreamError as error:
                    if name == namespace:
                        raise
                    self._set_aside(name, error)

    def _give_homes(self, known: Sequence[str]) -> None:
        """Give those their homes that a release without homes has begun or recovered: it takes a look at the topic."""
        if self._homes is None:
            return
        # One that this login may not read is other workers'; one that is damaged gets its home as it is recovered.
        lacking = self._homes.lacking(known)
        published = self._topic.homes() if lacking else {}
        for name in lacking & published.keys():
            self._homes.require(name, published[name])
            self._homes.take(name, published[name])

    def _on_progress(self, namespace: str, done: int, of: int) -> None:
        if self._lease is not None:
            self._lease.require()
        self.progress = Progress(namespace, done, of)
        if time.monotonic() >= self._logged_at + _LOG_SECONDS:
            self._logged_at = time.monotonic()
            logger.info("recovering", extra={"namespace": namespace, "clusters": done, "of": of})

    def _recover_unpublished(self, namespace: str, token: str) -> None:
        """The topic has nothing of it: it is new, or has not published yet."""
        mended = self._store.mend(namespace, token, [], None)
        gone = self._gone(namespace, Published(), mended)
        self._store.restore(namespace, token, [Restored(retired_cluster(namespace, i)) for i in gone])
        if self._homes is not None:
            self._homes.take(namespace, None)
        # Of a new one nothing can be lost, and Kafka is not asked.
        committed = self._topic.committed(()) if mended.revisions else {}
        self._restoring(namespace, token, Published(), mended, committed).recount(mended.revisions)
        self._put_back_levels(namespace, token, Published())
        self._store.recover(namespace, token, None, _decided(committed), mended.revisions)

    def _recover(self, namespace: str, token: str, published: Published) -> int:
        if self._homes is not None:
            self._homes.require(namespace, published.home)
        in_topic = [*published.revisions, *published.retired]
        dimension = None if published.whole is None else published.whole.dimension
        mended = self._store.mend(namespace, token, in_topic, dimension)
        gone = self._gone(namespace, published, mended)
        behind = self._behind(namespace, published, mended.revisions) - published.unreadable.keys()
        committed = self._topic.committed(published.streams)
        if self._homes is not None:
            self._homes.take(namespace, published.home)
        of = len(behind | set(gone))
        self._on_progress(namespace, 0, of)
        restoring = self._restoring(namespace, token, published, mended, committed, of)
        count = restoring.restore(behind, gone) + restoring.recount(mended.revisions.keys() - behind)
        # Unpublished states wait in the store's outbox, which may be lost as well.
        unpublished = [i for i, revision in mended.revisions.items() if revision > published.revisions.get(i, 0)]
        unpublished = [i for i in unpublished if i not in published.retired]
        operations = published.operations
        if operations.newest:
            self._store.restore_operations(namespace, token, operations.ordered(), operations.newest)
        self._put_back_levels(namespace, token, published)
        whole = _numbered_on(published, self._store.namespace_state(namespace))
        self._store.recover(namespace, token, whole, _decided(committed), sorted({*unpublished, *published.outdated}))
        self._damaged.pop(namespace, None)
        logger.log(
            logging.WARNING if count else logging.INFO,
            "the store had lost clusters; they are restored" if count else "the store has all that was published",
            extra={"namespace": namespace, "clusters": count},
        )
        return count

    def _put_back_levels(self, namespace: str, token: str, published: Published) -> None:
        of_topic = published.levels.whole() or StoredLevels()
        levels = of_topic
        # Names that were given since they were published, and are published as operations.
        for operation in published.operations.ordered() if of_topic.version else ():
            if operation.levels is not None and operation.number > levels.operation:
                levels = levels.changed(operation.levels, operation.number)
        if levels != of_topic:
            levels = replace(levels, version=of_topic.version + 1)
        if self._store.restore_levels(namespace, token, levels, of_topic.version):
            logger.info("levels are as they were published", extra={"namespace": namespace})

    def _restoring(
        self, namespace: str, token: str, published: Published, mended: Mended, committed: Offsets, of: int = 0
    ) -> Restoring:
        def on_progress(done: int) -> None:
            self._on_progress(namespace, done, of)

        return Restoring(self._store, self._topic, namespace, token, published, mended, committed, on_progress)

    def _gone(self, namespace: str, published: Published, mended: Mended) -> list[int]:
        """The clusters of which neither the store nor the topic has a state, where they are given up."""
        if published.unreadable_levels and not self._give_up:
            raise ClusterTopicDamaged(*unreadable_levels(namespace, min(published.unreadable_levels.items())[1]))
        unreadable = sorted(published.unreadable.keys() - {0} if self._give_up else published.unreadable)
        if unreadable and not self._give_up:
            raise ClusterTopicDamaged(*unreadable_state(namespace, unreadable[0], published.unreadable[unreadable[0]]))
        gone = sorted(mended.damaged.keys() - published.revisions.keys() - published.retired)
        if gone and not self._give_up:
            raise StoreDamaged(
                f"Redis has lost clusters of namespace {namespace!r} that the cluster topic does not know either"
                f" ({name_some(gone)})",
                "restore a backup of Redis, or give their ids up for good with questream restore --give-up",
            )
        return sorted({*gone, *(i for i in unreadable if i in mended.damaged)})

    def _behind(self, namespace: str, published: Published, known: Mapping[int, int]) -> set[int]:
        """The clusters that the topic knows better than the store, which knows these revisions."""
        behind = {i for i, revision in published.revisions.items() if revision > known.get(i, 0)}
        lingering = [i for i in published.retired if i in known]
        # For a while something of a retired cluster is left in the store.
        left = {s.cluster_id for s in self._store.states(namespace, lingering) if s.event == "retired"}
        return behind | (set(lingering) - left)


def _decided(committed: Offsets) -> dict[tuple[str, int], int]:
    """The last offset of each partition that is decided for good, or -1."""
    return {at: offset - 1 for at, offset in committed.items()}


def _numbered_on(published: Published, stored: NamespaceState | None) -> NamespaceState | None:
    """The namespace as it was published; a cluster that others published may be newer than its own state.

    A worker may die before it publishes the namespace whose clusters another has published: then it is as `stored`.
    """
    newest = max([*published.revisions, *published.retired, *published.unreadable], default=0)
    whole = published.whole or (stored if newest else None)
    return whole and replace(whole, next_cluster=max(whole.next_cluster, newest + 1))
