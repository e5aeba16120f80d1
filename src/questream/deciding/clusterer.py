"""Decide micro-batches against a store: plan on the mirror, commit, follow the log, retry where others came first."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
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
from questream.errors import Contended, IdentityMismatch, NamespaceRefused, RecoveryNeeded, Superseded
from questream.store.ledger import decide
from questream.store.protocol import (
    NO_TOPICS,
    Committed,
    Identity,
    Ledger,
    LedgerRow,
    Merged,
    Proposal,
    Replayed,
    Stale,
    Store,
    StreamTopics,
    Tail,
)

__all__ = ["Arrival", "Clusterer", "Decided", "NamespaceConfig"]

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

    `commit_seconds` is the part of the time that the store took, `missed_changes` how much of the log had been missed.
    """

    namespace: str
    decisions: list[Decision]
    states: list[ClusterState]
    namespace_state: NamespaceState | None
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
class _Run:
    """One call of `decide` as it goes along."""

    namespace: str
    config: NamespaceConfig
    decisions: list[Decision | None]
    states: dict[int, ClusterState] = field(default_factory=dict)
    namespace_state: NamespaceState | None = None
    merges: int = 0
    stale_retries: int = 0
    missed_changes: int = 0
    commit_seconds: float = 0.0


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
        namespace: str,
        store_epoch: str,
        arrivals: Sequence[Arrival],
        vectors: Matrix,
        published_below: Mapping[tuple[str, int], int],
    ) -> Decided:
        """Give every arrival its one decision, committed in the store; `vectors` are unit rows (n, d).

        Arrivals of one partition are in order of offset. One that was decided before gets its recorded decision; one
        whose record is pruned is scored without learning (outcome `replayed`). `published_below` names, per partition,
        the offset below which everything is published, so that the ledger may forget it. `store_epoch` is the one that
        the ledgers of the partitions were read under.
        Raises Superseded if others have decided and published what was fresh when it was read: it is theirs by now.
        Raises Contended if other workers kept winning, StoreUnavailable or StoreRefused as the store does; the same
        call may then be made again. Raises RecoveryNeeded if another store epoch stands: what was decided before this
        batch may be forgotten, and a later offset must not be recorded ahead of it.
        """
        if self.follow(namespace).store_epoch != store_epoch:
            self._mirrors.pop(namespace, None)
            if self.follow(namespace).store_epoch != store_epoch:
                raise RecoveryNeeded(f"the store was recovered anew since the ledgers of {namespace!r} were read")
        run = _Run(namespace, self._configs[namespace], [None] * len(arrivals))
        self._make_room(namespace)
        pending = list(range(len(arrivals)))
        while pending:
            pending = self._commit(run, arrivals, vectors, pending, published_below)
        return Decided(
            namespace=namespace,
            decisions=[decision for decision in run.decisions if decision is not None],
            states=list(run.states.values()),
            namespace_state=run.namespace_state,
            merges=run.merges,
            stale_retries=run.stale_retries,
            missed_changes=run.missed_changes,
            commit_seconds=run.commit_seconds,
        )

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

    def _commit(
        self,
        run: _Run,
        arrivals: Sequence[Arrival],
        vectors: Matrix,
        pending: list[int],
        published_below: Mapping[tuple[str, int], int],
    ) -> list[int]:
        """Commit the pending arrivals; returns those that are still pending because others had been decided before."""
        mirror = self.follow(run.namespace)
        batch = vectors[pending]
        assigner = BatchAssigner(batch, mirror, run.config.rules)
        members = [arrivals[i] for i in pending]
        losses = 0
        for _ in range(_ATTEMPTS):
            plan = assigner.plan()
            rows = [ledger_row(arrival, choice) for arrival, choice in zip(members, plan.choices, strict=True)]
            proposal = propose(
                mirror,
                assigner,
                plan,
                members,
                rows,
                published_below,
                self._known_heads(run.namespace, mirror.store_epoch, members),
                model=run.config.identity.model,
                threshold=run.config.rules.threshold,
                decided_at=int(self._clock() * 1000),
                keep_texts=self._keep_texts,
                turn=self._turn if losses >= _LOSSES_BEFORE_A_TURN else "",
            )
            started = time.perf_counter()
            reply = self._store.commit(run.namespace, proposal)
            run.commit_seconds += time.perf_counter() - started
            match reply:
                case Committed():
                    self._adopt(run, pending, rows, proposal, plan, reply)
                    return []
                case Replayed():
                    return self._recall(run, arrivals, vectors, pending, reply)
                case Stale():
                    run.stale_retries += 1
                    run.missed_changes += len(reply.missed.changes or ())
                    changed = self._apply(run.namespace, mirror, reply.missed)
                    if changed is None:
                        mirror = self.follow(run.namespace)
                        assigner = BatchAssigner(batch, mirror, run.config.rules)
                    else:
                        assigner.rescore(changed)
                    # Whoever waits for another's turn has lost nothing by it.
                    losses += reply.turn != "other"
                    self._back_off(losses, reply)
        raise Contended(f"{_ATTEMPTS} attempts to commit a batch lost to other workers")

    def _known_heads(self, namespace: str, store_epoch: str, arrivals: Sequence[Arrival]) -> dict[tuple[str, int], int]:
        """Where the ledgers of the arrivals' partitions were last seen to end, in this store epoch."""
        places = {(arrival.source.topic, arrival.source.partition) for arrival in arrivals}
        seen = {at: self._heads.get((namespace, *at), ("", -1)) for at in places}
        return {at: head for at, (seen_in, head) in seen.items() if seen_in == store_epoch}

    def _make_room(self, namespace: str) -> None:
        """Let the mirrors go that were not used for longest; they can be loaded again."""
        self._mirrors[namespace] = self._mirrors.pop(namespace)
        while self._max_namespaces is not None and len(self._mirrors) > self._max_namespaces:
            least_used = next(iter(self._mirrors))
            del self._mirrors[least_used]
            self._apart.pop(least_used, None)

    def _back_off(self, losses: int, reply: Stale) -> None:
        longest = 0.0
        if reply.turn == "other":
            longest = _LONGEST_WAIT_FOR_A_TURN_SECONDS
        elif reply.turn == "" and losses > _PATIENT_ATTEMPTS:
            longest = min(_LONGEST_BACKOFF_SECONDS, _BACKOFF_SECONDS * 2 ** (losses - _PATIENT_ATTEMPTS - 1))
        if longest:
            self._sleep(random.uniform(0, longest))  # noqa: S311 - spreads retries, guards nothing

    def _adopt(
        self,
        run: _Run,
        pending: Sequence[int],
        rows: Sequence[LedgerRow],
        proposal: Proposal,
        plan: Plan,
        reply: Committed,
    ) -> None:
        """The batch happened: tell the mirror, note the decisions and states, merge what it moved together."""
        run.missed_changes += len(reply.missed.changes or ())
        for batch in proposal.partitions:
            self._heads[run.namespace, batch.topic, batch.partition] = (proposal.store_epoch, batch.last)
        mirror = self._advance(run.namespace, reply.missed, reply.seq, changes_of(proposal))
        model = run.config.identity.model
        joins = {update.cluster_id: update.joins for update in proposal.cluster_updates}
        for i, row in zip(pending, rows, strict=True):
            cluster_row = reply.cluster_rows[row.cluster_id]
            run.decisions[i] = decide(row, cluster_row, joins[row.cluster_id], proposal)
        self._merge(run, mirror, plan.moved)
        mirror = self._mirrors[run.namespace]
        for update in proposal.cluster_updates:
            # A cluster that others have merged away meanwhile is theirs to tell.
            if update.cluster_id not in run.states and update.cluster_id in mirror.row_of:
                event: ClusterEvent = "created" if update.creates else "updated"
                cluster_row = reply.cluster_rows[update.cluster_id]
                run.states[update.cluster_id] = live_state(run.namespace, model, cluster_row, event, mirror)
        if proposal.updates_namespace:
            run.namespace_state = namespace_state(run.namespace, run.config.identity, mirror)

    def _merge(self, run: _Run, mirror: Mirror, moved: Sequence[int]) -> None:
        unmerged = self._unmerged.setdefault(run.namespace, set())
        unmerged.update(moved)
        for _ in range(_MERGE_ROUNDS):
            merges = propose_merges(mirror, sorted(unmerged), run.config.rules, self._pairs_apart(run.namespace))
            if not merges:
                break
            started = time.perf_counter()
            reply = self._store.merge(run.namespace, mirror.store_epoch, mirror.seq, merges)
            run.commit_seconds += time.perf_counter() - started
            mirror = self._adopt_merges(run, mirror, reply)
            if not reply.apart:
                break
            self._keep_apart(run.namespace, reply.apart)
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

    def _adopt_merges(self, run: _Run, mirror: Mirror, reply: Merged) -> Mirror:
        changes: list[Change] = []
        for applied in reply.applied:
            merge = applied.merge
            changes += [ClusterRemoved(merge.loser), ClusterMoved(merge.survivor, merge.members, merge.vector_sum)]
        mirror = self._advance(run.namespace, reply.missed, reply.seq, changes)
        model = run.config.identity.model
        for applied in reply.applied:
            # A merge is published with the cluster that it made, or a restore would find the loser's questions nowhere.
            # Where that one has been merged away meanwhile, the outbox has both.
            if applied.merge.survivor in mirror.row_of:
                run.states[applied.merge.loser] = merged_state(run.namespace, model, applied)
                run.states[applied.merge.survivor] = live_state(
                    run.namespace, model, applied.survivor, "updated", mirror
                )
        run.merges += len(reply.applied)
        return mirror

    def _recall(
        self, run: _Run, arrivals: Sequence[Arrival], vectors: Matrix, pending: Sequence[int], reply: Replayed
    ) -> list[int]:
        """Some arrivals were decided before: they get what is recorded, or a look at today's clusters."""
        fresh = []
        for i in pending:
            source = arrivals[i].source
            ledger = reply.ledgers[source.place]
            if source.offset > ledger.head:
                fresh.append(i)
            else:
                if not ledger.is_of(source.offset, arrivals[i].fingerprint):
                    # Whoever reads the ledger again sees it, and forgets what is not of these records.
                    raise RecoveryNeeded("the ledger of a partition is of other records than stand there now")
                recorded = ledger.decisions.get(source.offset)
                if recorded is None and arrivals[i].fresh:
                    # Published by another, else its record would still be there: a second word on it would be another.
                    raise Superseded("another worker has decided and published these questions meanwhile")
                if recorded is not None and recorded.cluster_id is not None:
                    # It may have been committed by a call that failed before it could merge.
                    self._unmerged.setdefault(run.namespace, set()).add(recorded.cluster_id)
                run.decisions[i] = recorded or self._look(run, arrivals[i], vectors[i])
        return fresh

    def _look(self, run: _Run, arrival: Arrival, vector: Vector) -> Decision:
        """Score a question that was decided so long ago that the decision is pruned; nothing is learned or counted."""
        rules = run.config.rules
        best = nearest_clusters(self.follow(run.namespace), rules, vector, 2)
        near = bool(best) and best[0].similarity >= rules.threshold
        others = best[1:] if near else best[:1]
        state = self._store.cluster(run.namespace, best[0].cluster_id) if near else None
        return Decision(
            cluster_id=best[0].cluster_id if near else None,
            similarity=round(best[0].similarity, SIMILARITY_DIGITS) if near else None,
            outcome="replayed",
            cluster_size=state.size if state else 0,
            runner_up=rounded(RunnerUp(others[0].cluster_id, others[0].similarity)) if others else None,
            label=state.label if state else None,
            route=state.route if state else None,
            model=run.config.identity.model,
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
