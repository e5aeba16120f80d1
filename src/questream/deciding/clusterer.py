"""Decide micro-batches against a store: plan on the mirror, commit, follow the log, retry where others came first."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from questream.clustering.assignment import BatchAssigner, Plan
from questream.clustering.merging import Merge, propose_merges
from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved, Mirror
from questream.clustering.nearest import Neighbour, nearest_clusters
from questream.clustering.rules import Rules
from questream.deciding.proposal import (
    SIMILARITY_DIGITS,
    Arrival,
    changes_of,
    ledger_row,
    propose,
    rounded,
)
from questream.deciding.states import live_state, merged_state, namespace_state
from questream.domain import ClusterEvent, ClusterState, Decision, Matrix, NamespaceState, RunnerUp, Vector
from questream.errors import (
    Contended,
    IdentityMismatch,
    NamespaceRefused,
    QuestreamError,
    RecoveryNeeded,
    Superseded,
)
from questream.store.ledger import decide
from questream.store.protocol import (
    NO_TOPICS,
    Committed,
    Identity,
    Ledger,
    LedgerRow,
    Merged,
    OutboxPosition,
    Proposal,
    Replayed,
    Stale,
    Store,
    StreamTopics,
    Tail,
)

__all__ = ["Arrival", "Clusterer", "Decided", "NamespaceBatch", "NamespaceConfig"]

logger = logging.getLogger(__name__)

# Losing a race is normal at a cold start and costs a rescore of what the winner moved. Every loss is somebody's commit,
# so after a few in a row it pays to let the others finish. A worker far from the store would lose for ever to those
# that are near: after some losses it asks for a turn, in which nobody else moves the log.
_PATIENT_ATTEMPTS = 3
_LOSSES_BEFORE_A_TURN = 2
_LONGEST_WAIT_FOR_A_TURN_SECONDS = 0.02
_ATTEMPTS = 200
_BACKOFF_SECONDS = 0.002
# Pairs that people's labels keep apart are not proposed again for so long: labels may change meanwhile, and only the
# store knows them. Each refusal lets the pairs behind it be proposed, so that a few rounds do for nearly every batch.
_APART_SECONDS = 60.0
_APART_PAIRS = 1024
_MERGE_ROUNDS = 8
_LONGEST_BACKOFF_SECONDS = 0.1


@dataclass(slots=True)
class Decided:
    """What came of a batch: decisions in the order of the arrivals, and the state of every cluster it touched.

    What these states wait for in the outbox stood there by `outbox_position`, which is None where nothing was
    committed. `commit_seconds` is the part of the time that the store took, `missed_changes` how much of the log had
    been missed.
    """

    namespace: str
    decisions: list[Decision]
    states: list[ClusterState]
    namespace_state: NamespaceState | None
    outbox_position: OutboxPosition | None
    merges: int
    stale_retries: int
    missed_changes: int
    commit_seconds: float


@dataclass(frozen=True, slots=True)
class NamespaceConfig:
    """A model that namespaces may be built with, and how questions are clustered by it."""

    identity: Identity
    rules: Rules


@dataclass(slots=True)
class NamespaceBatch:
    """The arrivals of a micro-batch in one namespace, with their unit `vectors` (n, d), and what came of them so far.

    `store_epoch` is the one that the ledgers of their partitions were read under. Those of `pending` are undecided;
    with `refused` they stay so, since the store does not serve the namespace.
    """

    namespace: str
    store_epoch: str
    arrivals: Sequence[Arrival]
    vectors: Matrix
    refused: NamespaceRefused | None = None
    pending: list[int] = field(init=False)
    decisions: list[Decision | None] = field(init=False)
    states: dict[int, ClusterState] = field(default_factory=dict)
    namespace_state: NamespaceState | None = None
    outbox_position: OutboxPosition | None = None
    merges: int = 0
    stale_retries: int = 0
    missed_changes: int = 0
    commit_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.pending = list(range(len(self.arrivals)))
        self.decisions = [None] * len(self.arrivals)

    @property
    def is_open(self) -> bool:
        """Whether it has still to be decided."""
        return bool(self.pending) and self.refused is None

    def decided(self) -> Decided:
        """What came of it. Raises NamespaceRefused."""
        if self.refused is not None:
            raise self.refused
        return Decided(
            namespace=self.namespace,
            decisions=[decision for decision in self.decisions if decision is not None],
            states=list(self.states.values()),
            namespace_state=self.namespace_state,
            outbox_position=self.outbox_position,
            merges=self.merges,
            stale_retries=self.stale_retries,
            missed_changes=self.missed_changes,
            commit_seconds=self.commit_seconds,
        )


@dataclass(slots=True)
class _Attempt:
    """A batch as it was last planned, against the mirror that it had then."""

    batch: NamespaceBatch
    config: NamespaceConfig
    mirror: Mirror
    assigner: BatchAssigner
    losses: int = 0
    plan: Plan = field(init=False)
    rows: list[LedgerRow] = field(init=False)
    proposal: Proposal = field(init=False)


class Clusterer:
    """Online clustering of any number of namespaces in one store. Not for more than one thread at a time.

    New namespaces are built with `identity`; those that were built with `former`, and not moved yet, go on with that:
    `identity(namespace)` says what the vectors that `decide` gets have to be of. Namespaces of another stream than that
    of `topics` are refused. `keep_texts` keeps the founder's text of a cluster in the store as its representative.
    `recover` compares a namespace whose store may have lost its memory with what was published, `recover_all` many of
    them; without it nothing is ever published elsewhere. Mirrors of `max_namespaces` are held at most. `clock` gives
    seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        identity: Identity,
        rules: Rules,
        *,
        former: NamespaceConfig | None = None,
        topics: StreamTopics = NO_TOPICS,
        keep_texts: bool = True,
        recover: Callable[[str], None] | None = None,
        recover_all: Callable[[Collection[str]], None] | None = None,
        max_namespaces: int | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._known = [NamespaceConfig(identity, rules), *([former] if former else [])]
        self._topics = topics
        self._keep_texts = keep_texts
        self._recover = recover or self._recover_as_it_stands
        self._recover_all = recover_all or self._recover_each
        self._max_namespaces = max_namespaces
        self._clock = clock
        self._sleep = sleep
        self._mirrors: dict[str, Mirror] = {}
        self._configs: dict[str, NamespaceConfig] = {}
        # The store epoch that a namespace's config was looked up in: moving it to another model begins a new one.
        self._looked_up_in: dict[str, str] = {}
        # Clusters that moved and were not scored for merging since, because a call to the store failed in between.
        self._unmerged: dict[str, set[int]] = {}
        # Pairs that the store refused to merge because both are named and differ, and when each may be proposed again.
        self._apart: dict[str, dict[tuple[int, int], float]] = {}
        # Where the ledgers of partitions were last seen to end, and in which store epoch: one that ends before is lost.
        self._heads: dict[tuple[str, str, int], tuple[str, int]] = {}
        self._turn = uuid.uuid4().hex[:12]
        self._opening = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        # As in MemoryStore: what a notebook pickles.
        return {name: value for name, value in self.__dict__.items() if name != "_opening"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._opening = threading.Lock()

    @property
    def mirrors(self) -> dict[str, Mirror]:
        """The mirrors of the namespaces in use, the one used last at the end."""
        return self._mirrors

    @property
    def namespaces(self) -> list[str]:
        """The namespaces that were opened here."""
        return sorted(self._configs)

    @property
    def cluster_count(self) -> int:
        """Live clusters in all mirrors."""
        return sum(mirror.count for mirror in list(self._mirrors.values()))

    def open(self, namespace: str) -> None:
        """Create the namespace or check that its model is one of ours; safe from any thread.

        Raises IdentityMismatch if it was built with another model.
        """
        with self._opening:
            if namespace not in self._configs:
                self._configs[namespace] = self._open_in_store(namespace)

    def let_go(self, namespace: str) -> None:
        """Follow the namespace no longer; its mirror is loaded again when a question comes to it."""
        self._mirrors.pop(namespace, None)
        self._unmerged.pop(namespace, None)

    def unopened(self, namespaces: Iterable[str]) -> set[str]:
        """Those of the namespaces that were not opened here yet."""
        return {namespace for namespace in namespaces if namespace not in self._configs}

    def open_all(self, namespaces: Iterable[str]) -> None:
        """Open and recover namespaces at once; one that is refused is left for `recorded` to tell."""
        opened = []
        for namespace in sorted(namespaces):
            with suppress(NamespaceRefused):
                self.open(namespace)
                opened.append(namespace)
        if opened:
            self._recover_all(opened)

    def identity(self, namespace: str) -> Identity:
        """What an opened namespace is built with, as of the last ledger of it that was `recorded`."""
        return self._configs[namespace].identity

    def recovered(self, namespace: str) -> str:
        """The store epoch that the namespace stands in, recovered where need be; safe from any thread."""
        self.open(namespace)
        while True:
            store_epoch = self._store.store_epoch(namespace)
            if store_epoch is not None:
                self._look_up_config(namespace, store_epoch)
                return store_epoch
            self._recover_opened(namespace)

    def recorded(self, namespace: str, topic: str, partition: int) -> Ledger:
        """The decisions that a partition already has; safe from any thread."""
        self.open(namespace)
        while True:
            try:
                ledger = self._store.ledger(namespace, topic, partition)
            except RecoveryNeeded:
                self._recover_opened(namespace)
                continue
            self._look_up_config(namespace, ledger.store_epoch)
            self._heads[namespace, topic, partition] = (ledger.store_epoch, ledger.head)
            return ledger

    def stream(self, topic: str, identity: str) -> tuple[str, bool]:
        """The name of a stream's topic in the store, and whether it is new; safe from any thread."""
        return self._store.stream(topic, identity)

    def forget(self, namespace: str, topic: str, partition: int, offset: int) -> Ledger:
        """Forget the recorded decisions of a partition from `offset` on, which other records have; from any thread."""
        ledger = self._store.cut_ledger(namespace, topic, partition, offset)
        self._heads[namespace, topic, partition] = (ledger.store_epoch, ledger.head)
        return ledger

    def forget_in_all(self, topic: str, partition: int, offset: int) -> None:
        """As `forget`, in all namespaces of the store."""
        for namespace in self._store.namespaces():
            with suppress(NamespaceRefused):
                if self._store.store_epoch(namespace) is None:
                    # A worker that died may have let it begin and never opened it.
                    self.recovered(namespace)
                self.forget(namespace, topic, partition, offset)

    def decide(
        self,
        batches: Sequence[NamespaceBatch],
        published_below: Mapping[tuple[str, int], int],
    ) -> None:
        """Give every arrival its one decision, committed in the store: in one round trip, where no other was first.

        Arrivals of one partition are in order of offset. One that was decided before gets its recorded decision; one
        whose record is pruned is scored without learning (outcome `replayed`). `published_below` names, per partition,
        the offset below which everything is published, so that the ledger may forget it.
        Raises Superseded if others have decided and published what was fresh when it was read: it is theirs by now.
        Raises Contended if other workers kept winning, StoreUnavailable or StoreRefused as the store does; the same
        call may then be made again, and goes on with what is open. Raises RecoveryNeeded if another store epoch stands:
        what was decided before this batch may be forgotten, and a later offset must not be recorded ahead of it.
        """
        at_once = self._max_namespaces or len(batches) or 1
        for start in range(0, len(batches), at_once):
            self._decide_at_once(batches[start : start + at_once], published_below)

    def nearest(self, namespace: str, vector: Vector, limit: int) -> list[Neighbour]:
        """The clusters nearest to a unit vector (d,), read-only."""
        mirror = self.follow(namespace)
        return nearest_clusters(mirror, self._configs[namespace].rules, vector, limit)

    def follow(self, namespace: str) -> Mirror:
        """The namespace's mirror, loaded where need be."""
        mirror = self._mirrors.get(namespace)
        if mirror is None:
            self.open(namespace)
            mirror = self._mirrors[namespace] = self._store.load(namespace)
        return mirror

    def catch_up(self, namespace: str) -> None:
        """Follow what others committed while there was nothing to decide."""
        mirror = self.follow(namespace)
        try:
            self._apply(namespace, mirror, self._store.tail(namespace, mirror.store_epoch, mirror.seq))
        except RecoveryNeeded:
            # Not left to the next question: what is in the store is shown to people.
            self.recovered(namespace)
            self._mirrors[namespace] = self._store.load(namespace)

    def _recover_opened(self, namespace: str) -> None:
        # The store may have forgotten that there is such a namespace.
        self._open_in_store(namespace)
        self._recover(namespace)

    def _look_up_config(self, namespace: str, store_epoch: str) -> None:
        """What the namespace is built with by now; after `store_epoch` was read, so that it is of no earlier one."""
        with self._opening:
            if self._looked_up_in.get(namespace) != store_epoch:
                self._configs[namespace] = self._open_in_store(namespace)
                self._looked_up_in[namespace] = store_epoch

    def _open_in_store(self, namespace: str) -> NamespaceConfig:
        """The first of the models known here that the namespace is, or can be, built with."""
        mismatch: IdentityMismatch | None = None
        for config in self._known:
            try:
                self._store.open(namespace, config.identity, self._topics)
            except IdentityMismatch as error:
                mismatch = mismatch or error
            else:
                return config
        assert mismatch is not None  # noqa: S101 - there is at least one build
        raise mismatch

    def _recover_each(self, namespaces: Collection[str]) -> None:
        for namespace in namespaces:
            if self._store.store_epoch(namespace) is None:
                self._recover(namespace)

    def _recover_as_it_stands(self, namespace: str) -> None:
        self._store.recover(namespace, self._store.begin_recovery(namespace), None, {})

    def _decide_at_once(
        self, batches: Sequence[NamespaceBatch], published_below: Mapping[tuple[str, int], int]
    ) -> None:
        """Decide batches whose mirrors have room beside each other."""
        attempts: dict[str, _Attempt] = {}
        failures: list[QuestreamError] = []
        for batch in batches:
            if batch.is_open:
                with _failing_alone(batch, failures):
                    self._require_epoch(batch)
        if failures:
            raise failures[0]
        self._make_room([batch.namespace for batch in batches if batch.is_open])
        for _ in range(_ATTEMPTS):
            open_batches = [batch for batch in batches if batch.is_open]
            if not open_batches:
                return
            self._commit(open_batches, attempts, published_below)
        raise Contended(f"{_ATTEMPTS} attempts to commit a batch lost to other workers")

    def _require_epoch(self, batch: NamespaceBatch) -> None:
        if self.follow(batch.namespace).store_epoch != batch.store_epoch:
            self._mirrors.pop(batch.namespace, None)
            if self.follow(batch.namespace).store_epoch != batch.store_epoch:
                raise RecoveryNeeded(f"the store was recovered anew since the ledgers of {batch.namespace!r} were read")

    def _commit(
        self,
        batches: Sequence[NamespaceBatch],
        attempts: dict[str, _Attempt],
        published_below: Mapping[tuple[str, int], int],
    ) -> None:
        """Plan what is pending and commit it, of all namespaces in one round trip; then do what each reply asks for."""
        for batch in batches:
            attempt = attempts.get(batch.namespace)
            if attempt is None:
                attempt = attempts[batch.namespace] = self._begin(batch)
            self._plan(attempt, published_below)
        started = time.perf_counter()
        replies = self._store.commit({batch.namespace: attempts[batch.namespace].proposal for batch in batches})
        seconds = (time.perf_counter() - started) / len(batches)
        pauses: list[float] = []
        failures: list[QuestreamError] = []
        for batch in batches:
            batch.commit_seconds += seconds
            with _failing_alone(batch, failures):
                match replies[batch.namespace]:
                    case Committed() as reply:
                        self._adopt(attempts[batch.namespace], reply)
                    case Replayed() as reply:
                        del attempts[batch.namespace]
                        self._recall(batch, reply)
                    case Stale() as reply:
                        attempt = attempts[batch.namespace]
                        self._catch_up_and_rescore(attempt, reply)
                        pauses.append(_back_off_seconds(attempt.losses, reply))
                    case error:
                        raise error
        if failures:
            raise failures[0]
        if pauses and min(pauses) > 0:
            self._sleep(random.uniform(0, min(pauses)))  # noqa: S311 - spreads retries, guards nothing

    def _begin(self, batch: NamespaceBatch) -> _Attempt:
        config, mirror = self._configs[batch.namespace], self._mirrors[batch.namespace]
        return _Attempt(batch, config, mirror, BatchAssigner(batch.vectors[batch.pending], mirror, config.rules))

    def _plan(self, attempt: _Attempt, published_below: Mapping[tuple[str, int], int]) -> None:
        batch, mirror, config = attempt.batch, attempt.mirror, attempt.config
        arrivals = [batch.arrivals[i] for i in batch.pending]
        attempt.plan = attempt.assigner.plan()
        attempt.rows = [
            ledger_row(arrival, choice) for arrival, choice in zip(arrivals, attempt.plan.choices, strict=True)
        ]
        attempt.proposal = propose(
            mirror,
            attempt.assigner,
            attempt.plan,
            arrivals,
            attempt.rows,
            published_below,
            self._known_heads(batch.namespace, mirror.store_epoch, arrivals),
            model=config.identity.model,
            threshold=config.rules.threshold,
            decided_at=int(self._clock() * 1000),
            keep_texts=self._keep_texts,
            turn=self._turn if attempt.losses >= _LOSSES_BEFORE_A_TURN else "",
        )

    def _catch_up_and_rescore(self, attempt: _Attempt, reply: Stale) -> None:
        """Others came first: follow them, and score anew what they moved."""
        batch = attempt.batch
        batch.stale_retries += 1
        batch.missed_changes += len(reply.missed.changes or ())
        changed = self._apply(batch.namespace, attempt.mirror, reply.missed)
        if changed is None:
            again = self._begin(batch)
            attempt.mirror, attempt.assigner = again.mirror, again.assigner
        else:
            attempt.assigner.rescore(changed)
        # Whoever waits for another's turn has lost nothing by it.
        attempt.losses += reply.turn != "other"

    def _known_heads(self, namespace: str, store_epoch: str, arrivals: Sequence[Arrival]) -> dict[tuple[str, int], int]:
        """Where the ledgers of the arrivals' partitions were last seen to end, in this store epoch."""
        places = {(arrival.source.topic, arrival.source.partition) for arrival in arrivals}
        seen = {at: self._heads.get((namespace, *at), ("", -1)) for at in places}
        return {at: head for at, (seen_in, head) in seen.items() if seen_in == store_epoch}

    def _make_room(self, namespaces: Iterable[str]) -> None:
        """Let the mirrors go that were not used for longest; they can be loaded again."""
        for namespace in namespaces:
            self._mirrors[namespace] = self._mirrors.pop(namespace)
        while self._max_namespaces is not None and len(self._mirrors) > self._max_namespaces:
            least_used = next(iter(self._mirrors))
            del self._mirrors[least_used]
            self._apart.pop(least_used, None)

    def _adopt(self, attempt: _Attempt, reply: Committed) -> None:
        """The batch happened: tell the mirror, note the decisions and states, merge what it moved together."""
        batch, proposal, namespace = attempt.batch, attempt.proposal, attempt.batch.namespace
        batch.missed_changes += len(reply.missed.changes or ())
        for part in proposal.partitions:
            self._heads[namespace, part.topic, part.partition] = (proposal.store_epoch, part.last)
        mirror = self._advance(namespace, reply.missed, reply.seq, changes_of(proposal))
        model = attempt.config.identity.model
        joins = {update.cluster_id: update.joins for update in proposal.cluster_updates}
        for i, row in zip(batch.pending, attempt.rows, strict=True):
            batch.decisions[i] = decide(row, reply.cluster_rows[row.cluster_id], joins[row.cluster_id], proposal)
        batch.outbox_position = reply.outbox_position
        self._merge(attempt, mirror)
        mirror = self._mirrors[namespace]
        for update in proposal.cluster_updates:
            # A cluster that others have merged away meanwhile is theirs to tell.
            if update.cluster_id not in batch.states and update.cluster_id in mirror.row_of:
                event: ClusterEvent = "created" if update.creates else "updated"
                cluster_row = reply.cluster_rows[update.cluster_id]
                batch.states[update.cluster_id] = live_state(namespace, model, cluster_row, event, mirror)
        if proposal.updates_namespace:
            batch.namespace_state = namespace_state(namespace, attempt.config.identity, mirror)
        batch.pending = []

    def _merge(self, attempt: _Attempt, mirror: Mirror) -> None:
        batch, namespace = attempt.batch, attempt.batch.namespace
        unmerged = self._unmerged.setdefault(namespace, set())
        unmerged.update(attempt.plan.moved)
        for _ in range(_MERGE_ROUNDS):
            merges = propose_merges(mirror, sorted(unmerged), attempt.config.rules, self._pairs_apart(namespace))
            if not merges:
                break
            started = time.perf_counter()
            reply = self._store.merge(namespace, mirror.store_epoch, mirror.seq, merges)
            batch.commit_seconds += time.perf_counter() - started
            mirror = self._adopt_merges(attempt, mirror, reply)
            if not reply.apart:
                break
            self._keep_apart(namespace, reply.apart)
            unmerged.update(applied.merge.survivor for applied in reply.applied)
        unmerged.clear()

    def _pairs_apart(self, namespace: str) -> dict[tuple[int, int], float]:
        now = self._clock()
        pairs = {pair: until for pair, until in self._apart.get(namespace, {}).items() if until > now}
        if pairs:
            self._apart[namespace] = pairs
        else:
            self._apart.pop(namespace, None)
        return pairs

    def _keep_apart(self, namespace: str, merges: Sequence[Merge]) -> None:
        pairs = self._apart.setdefault(namespace, {})
        for merge in merges:
            pairs[merge.survivor, merge.loser] = self._clock() + _APART_SECONDS
        while len(pairs) > _APART_PAIRS:
            del pairs[next(iter(pairs))]

    def _adopt_merges(self, attempt: _Attempt, mirror: Mirror, reply: Merged) -> Mirror:
        batch, namespace = attempt.batch, attempt.batch.namespace
        changes: list[Change] = []
        for applied in reply.applied:
            merge = applied.merge
            changes += [ClusterRemoved(merge.loser), ClusterMoved(merge.survivor, merge.members, merge.vector_sum)]
        mirror = self._advance(namespace, reply.missed, reply.seq, changes)
        model = attempt.config.identity.model
        for applied in reply.applied:
            # A merge is published with the cluster that it made, or a restore would find the loser's questions nowhere.
            # Where that one has been merged away meanwhile, the outbox has both.
            if applied.merge.survivor in mirror.row_of:
                batch.states[applied.merge.loser] = merged_state(namespace, model, applied)
                batch.states[applied.merge.survivor] = live_state(namespace, model, applied.survivor, "updated", mirror)
        batch.outbox_position = reply.outbox_position
        batch.merges += len(reply.applied)
        return mirror

    def _recall(self, batch: NamespaceBatch, reply: Replayed) -> None:
        """Some arrivals were decided before: they get what is recorded, or a look at today's clusters."""
        fresh = []
        for i in batch.pending:
            arrival = batch.arrivals[i]
            source = arrival.source
            ledger = reply.ledgers[source.place]
            if source.offset > ledger.head:
                fresh.append(i)
            else:
                if not ledger.is_of(source.offset, arrival.fingerprint):
                    # Whoever reads the ledger again sees it, and forgets what is not of these records.
                    raise RecoveryNeeded("the ledger of a partition is of other records than stand there now")
                recorded = ledger.decisions.get(source.offset)
                if recorded is None and arrival.fresh:
                    # Published by another, else its record would still be there: a second word on it would be another.
                    raise Superseded("another worker has decided and published these questions meanwhile")
                if recorded is not None and recorded.cluster_id is not None:
                    # It may have been committed by a call that failed before it could merge.
                    self._unmerged.setdefault(batch.namespace, set()).add(recorded.cluster_id)
                batch.decisions[i] = recorded or self._look(batch.namespace, arrival, batch.vectors[i])
        batch.pending = fresh

    def _look(self, namespace: str, arrival: Arrival, vector: Vector) -> Decision:
        """Score a question that was decided so long ago that the decision is pruned; nothing is learned or counted."""
        config = self._configs[namespace]
        rules = config.rules
        best = nearest_clusters(self.follow(namespace), rules, vector, 2)
        near = bool(best) and best[0].similarity >= rules.threshold
        others = best[1:] if near else best[:1]
        state = self._store.cluster(namespace, best[0].cluster_id) if near else None
        return Decision(
            cluster_id=best[0].cluster_id if near else None,
            similarity=round(best[0].similarity, SIMILARITY_DIGITS) if near else None,
            outcome="replayed",
            cluster_size=state.size if state else 0,
            runner_up=rounded(RunnerUp(others[0].cluster_id, others[0].similarity)) if others else None,
            label=state.label if state else None,
            route=state.route if state else None,
            model=config.identity.model,
            threshold=rules.threshold,
            truncated=arrival.truncated,
            decided_at=int(self._clock() * 1000),
            unknown_share=round(arrival.unknown_share, SIMILARITY_DIGITS),
        )

    def _advance(self, namespace: str, missed: Tail, seq: int, own: Sequence[Change]) -> Mirror:
        """What others did, then what we did: the mirror stands at `seq`."""
        mirror = self.follow(namespace)
        if self._apply(namespace, mirror, missed) is None:
            return self.follow(namespace)
        mirror.apply(own)
        mirror.seq = seq
        return mirror

    def _apply(self, namespace: str, mirror: Mirror, missed: Tail) -> set[int] | None:
        """Follow the log; returns the changed rows, or None where the mirror fell behind and was loaded anew."""
        if missed.changes is None:
            logger.warning("fell behind the log, loading the mirror again", extra={"namespace": namespace})
            loaded = self._mirrors[namespace] = self._store.load(namespace)
            if loaded.store_epoch != mirror.store_epoch:
                raise RecoveryNeeded(f"the store was recovered anew while namespace {namespace!r} was decided in")
            return None
        rows = mirror.apply(missed.changes)
        mirror.seq = missed.seq
        return rows


@contextmanager
def _failing_alone(batch: NamespaceBatch, failures: list[QuestreamError]) -> Iterator[None]:
    """A failure in here keeps no other namespace from being decided; a refusal is what becomes of the batch."""
    try:
        yield
    except NamespaceRefused as error:
        batch.refused = error
    except QuestreamError as error:
        failures.append(error)


def _back_off_seconds(losses: int, reply: Stale) -> float:
    """How long to wait at the longest before the next attempt."""
    if reply.turn == "other":
        return _LONGEST_WAIT_FOR_A_TURN_SECONDS
    if reply.turn == "" and losses > _PATIENT_ATTEMPTS:
        return min(_LONGEST_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2.0 ** (losses - _PATIENT_ATTEMPTS - 1))
    return 0.0
