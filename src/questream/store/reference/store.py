"""Clusters in this process: the Store for a notebook, with the same answers as Redis gives."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, TypeVar

import numpy as np

from questream.clustering.kept_members import KeptMembers
from questream.clustering.merging import Merge, merged_ruling, precedence
from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved, MeanMoved, Mirror
from questream.domain import (
    ClusterEvent,
    ClusterState,
    InFlight,
    NamespaceRules,
    NamespaceState,
    Naming,
    Operation,
    RulesChange,
    Ruling,
    Vector,
)
from questream.errors import IdentityMismatch, NamespaceHeld, RecoveryNeeded, StoreRefused
from questream.store.ledger import decide, decide_unmatched, other_stream
from questream.store.protocol import (
    NO_TOPICS,
    OPERATIONS_KEPT,
    REMAINS_KEPT,
    TOMBSTONE_SECONDS,
    TURN_SECONDS,
    UNDO_SECONDS,
    AppliedMerge,
    AskedTurn,
    ClusterRow,
    ClusterUpdate,
    CommitReply,
    Committed,
    Confirmation,
    Forgetting,
    Identity,
    Ledger,
    LevelsMark,
    LogLength,
    MadeName,
    Mended,
    Merged,
    NamespaceSizes,
    OpenedCluster,
    OperationClaim,
    OutboxPosition,
    Part,
    Proposal,
    ProposedOperation,
    Remains,
    Replayed,
    Restored,
    Revisions,
    Stale,
    StoredLevels,
    StoreError,
    StreamTopics,
    Tail,
    Turn,
    Unconfirmed,
    Verified,
    Waiting,
    aliases_of,
    kept_rulings,
    waits_to_be_published,
    without_texts,
)
from questream.store.retention import Due, Index, Members, Retention, Retired, due_by_age, due_for_room, excess

# How long a retired cluster leaves a stub, by which the publication of an earlier state is found outdated.
_STUB_SECONDS = 600.0
_MOST_WAITING = 64

T = TypeVar("T")


@dataclass(slots=True)
class _Cluster:
    cluster_row: ClusterRow
    members: int
    vector_sum: Vector | None
    merged_into: int | None = None
    features: bytes = b""
    merged_at: int = 0  # in stream time
    labelled: bool = False
    retired: bool = False
    forgotten_at: float | None = None


@dataclass(slots=True)
class _Turns:
    """Workers that lost too often, in the order they asked, and until when each may have its turn."""

    deadlines: dict[str, float] = field(default_factory=dict)
    begun: bool = False

    @property
    def first(self) -> str | None:
        """Whose turn it is."""
        return next(iter(self.deadlines), None)

    def drop_late(self, now: float) -> None:
        """Who is late has died, or asks again."""
        first = self.first
        self.deadlines = {token: deadline for token, deadline in self.deadlines.items() if deadline > now}
        self.begun = self.begun and self.first == first

    def wait(self, token: str, deadline: float) -> None:
        """Waiting keeps the place; a turn once begun is not made longer."""
        if token in self.deadlines or len(self.deadlines) < _MOST_WAITING:
            if not (self.begun and self.first == token):
                self.deadlines[token] = deadline
            self.begun = self.begun or self.first == token

    def end(self, token: str) -> None:
        """Its batch is committed."""
        if self.first == token:
            self.begun = False
        self.deadlines.pop(token, None)


@dataclass(slots=True)
class _Namespace:
    identity: Identity
    prepared_by: str
    topics: StreamTopics = NO_TOPICS
    store_epoch: str | None = None
    recovery_token: str | None = None
    recovery_lease: tuple[str, float] = ("", 0.0)
    held_until: float | None = None
    generation: int = 0
    seq: int = 0
    next_id: int = 1
    mean: MeanMoved | None = None
    clusters: dict[int, _Cluster] = field(default_factory=dict)
    log: list[tuple[int, list[Change]]] = field(default_factory=list)
    ledgers: dict[tuple[str, int], list[tuple[int, Ledger]]] = field(default_factory=dict)
    outbox: dict[int, float] = field(default_factory=dict)
    # By cluster, what the last merges absorbed, what of it may not be published, and when.
    remains: dict[int, tuple[Remains, InFlight, float]] = field(default_factory=dict)
    turns: _Turns = field(default_factory=_Turns)
    # By cluster, which of the `outdated_count` verifications that found one outdated was the last of its own.
    outdated: dict[int, int] = field(default_factory=dict)
    outdated_count: int = 0
    # By number, the last that are kept.
    operations: dict[int, Operation] = field(default_factory=dict)
    operation_count: int = 0
    constrained: int = 0  # the seq at which exemplars, thresholds or rules last changed
    rules: NamespaceRules = field(default_factory=NamespaceRules)
    levels: StoredLevels = field(default_factory=StoredLevels)
    levels_published: int = 0
    levels_lease: tuple[str, float] = ("", 0.0)
    made_names: dict[int, MadeName] = field(default_factory=dict)
    name_changes: int = 0
    operations_published: int = 0
    # The store epoch in which they were compared with what was published.
    operation_epoch: str | None = None
    operation_claim: tuple[str, float] = ("", 0.0)


class MemoryStore:
    """The Store in memory; safe to share between threads.

    `log_commits` bounds the log in commits. `clock` gives seconds; a test can turn it. What a merge absorbs is kept for
    `undo_seconds`.
    """

    def __init__(
        self,
        *,
        log_commits: int = 1024,
        clock: Callable[[], float] = time.monotonic,
        undo_seconds: float = UNDO_SECONDS,
    ) -> None:
        self._log_commits = log_commits
        self._undo_seconds = undo_seconds
        self._clock = clock
        self._namespaces: dict[str, _Namespace] = {}
        # Those that may begin, opened or not.
        self._admitted: set[str] = set()
        self._streams: dict[str, str] = {}
        # Of deleted namespaces, the next cluster's number and that of the last operation.
        self._deleted: dict[str, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        # What a notebook pickles: a lock cannot be, and nobody holds a copy's.
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()

    def ping(self) -> None:
        """Memory always answers."""

    def open(self, namespace: str, identity: Identity, topics: StreamTopics = NO_TOPICS) -> None:
        with self._lock:
            if namespace not in self._namespaces:
                next_id, operation_count = self._deleted.get(namespace, (1, 0))
                self._namespaces[namespace] = _Namespace(
                    identity, identity.prepared_by, next_id=next_id, operation_count=operation_count
                )
            state = self._namespaces[namespace]
            built = state.identity
            if (built.model, built.revision, built.dimension) != (
                identity.model,
                identity.revision,
                identity.dimension,
            ):
                raise IdentityMismatch(
                    f"namespace {namespace!r} was built with model {built.model!r} revision {built.revision!r}"
                    f" ({built.dimension}-d), this one is {identity.model!r} revision {identity.revision!r}"
                    f" ({identity.dimension}-d)"
                )
            topics.require_same(namespace, state.topics)
            state.identity = identity
            state.topics = StreamTopics(
                topics.input_topic or state.topics.input_topic, topics.cluster_topic or state.topics.cluster_topic
            )

    def prepared_by(self, namespace: str) -> str | None:
        with self._lock:
            return self._get(namespace).prepared_by

    def admit(self, namespaces: Collection[str], limit: int) -> set[str]:
        refused = set()
        with self._lock:
            for name in namespaces:
                known = self._namespaces.keys() | self._admitted
                if name not in known and len(known) >= limit:
                    refused.add(name)
                else:
                    self._admitted.add(name)
        return refused

    def topics(self, namespace: str) -> StreamTopics:
        with self._lock:
            state = self._namespaces.get(namespace)
            return NO_TOPICS if state is None else state.topics

    def store_epoch(self, namespace: str) -> str | None:
        with self._lock:
            state = self._namespaces.get(namespace)
            return None if state is None else state.store_epoch

    def verify_before_commit(
        self, published: Mapping[str, Revisions], confirmations: Sequence[Confirmation] = ()
    ) -> Verified:
        unconfirmed = self.confirm(confirmations)
        return Verified({name: self._verify(name, revisions) for name, revisions in published.items()}, unconfirmed)

    def outbox_position(self, namespace: str) -> OutboxPosition:
        with self._lock:
            return self._position(self._get(namespace))

    def load(self, namespace: str) -> Mirror:
        with self._lock:
            state = self._get(namespace)
            mirror = Mirror(state.identity.dimension)
            mirror.store_epoch, mirror.generation = state.store_epoch or "", state.generation
            mirror.apply(
                ClusterMoved(
                    cluster_id,
                    cluster.members,
                    cluster.vector_sum,
                    cluster.features,
                    cluster.cluster_row.exemplars,
                    cluster.cluster_row.threshold or 0.0,
                )
                for cluster_id, cluster in state.clusters.items()
                if cluster.vector_sum is not None
            )
            if state.mean:
                mirror.apply([state.mean])
            mirror.seq, mirror.next_id, mirror.rules = state.seq, state.next_id, state.rules
            return mirror

    def tail(self, namespace: str, store_epoch: str, seq: int) -> Tail:
        with self._lock:
            state = self._get_recovered(namespace, store_epoch)
            if seq > state.seq:
                raise _lost(state, namespace)
            return _tail(state, seq)

    def stream(self, topic: str, identity: str) -> tuple[str, bool]:
        with self._lock:
            name = topic if self._streams.get(topic, identity) == identity else other_stream(topic, identity)
            is_new = name not in self._streams
            self._streams[name] = identity
            return name, is_new

    def cut_ledger(self, namespace: str, topic: str, partition: int, offset: int) -> Ledger:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise _recovery_needed(namespace)
            entries = state.ledgers.get((topic, partition), [])
            kept = [(first, _below(ledger, offset)) for first, ledger in entries if first < offset]
            if entries and not kept and offset > 0:
                kept = [(offset - 1, Ledger(offset - 1))]
            state.ledgers[topic, partition] = kept
            return replace(_joined(state.ledgers[topic, partition]), store_epoch=state.store_epoch)

    def log_lengths(self, namespaces: Sequence[str]) -> dict[str, LogLength]:
        with self._lock:
            return {
                name: LogLength(_entries(state), 4 * state.identity.dimension, state.seq)
                for name in namespaces
                if (state := self._namespaces.get(name)) is not None
            }

    def trim_logs(self, entries: Mapping[str, int]) -> None:
        with self._lock:
            for name in entries.keys() & self._namespaces.keys():
                state = self._namespaces[name]
                while _entries(state) > entries[name]:
                    del state.log[0]

    def ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise _recovery_needed(namespace)
            return replace(_joined(state.ledgers.get((topic, partition), [])), store_epoch=state.store_epoch)

    def commit(self, proposals: Mapping[str, Proposal]) -> dict[str, CommitReply]:
        return {name: _failing_alone(partial(self._commit, name, proposal)) for name, proposal in proposals.items()}

    def _commit(self, namespace: str, proposal: Proposal) -> Committed | Stale | Replayed:
        with self._lock:
            state = self._get_recovered(namespace, proposal.store_epoch)
            ledgers = {
                (b.topic, b.partition): replace(
                    _joined(state.ledgers.get((b.topic, b.partition), [])), store_epoch=proposal.store_epoch
                )
                for b in proposal.partitions
            }
            if proposal.seq > state.seq or any(
                ledgers[b.topic, b.partition].head < b.head for b in proposal.partitions
            ):
                raise _lost(state, namespace)
            state.turns.drop_late(self._clock())
            if any(b.first <= ledgers[b.topic, b.partition].head for b in proposal.partitions):
                state.turns.end(proposal.turn)
                return Replayed(ledgers)
            missed = _tail(state, proposal.seq)
            opened = {update.cluster_id for update in proposal.cluster_updates if update.creates}
            if any(cluster_id >= state.next_id for cluster_id in opened & state.clusters.keys()):
                raise _lost(state, namespace)
            is_stale = self._is_stale(state, proposal)
            if is_stale and proposal.seq == state.seq:
                # Nothing was missed, and yet it is not what the mirror has: looking again would find the same.
                raise _lost(state, namespace)
            needs_turn = proposal.moves_log or proposal.has_unmatched
            if is_stale or (needs_turn and state.turns.first not in (None, proposal.turn)):
                return Stale(missed, self._turn(state, proposal.turn, proposal.turn_stretch))
            state.turns.end(proposal.turn)
            cluster_rows = {
                update.cluster_id: self._touch(state, update, proposal) for update in proposal.cluster_updates
            }
            changes: list[Change] = [
                ClusterMoved(t.cluster_id, t.members, t.vector_sum, t.features)
                for t in proposal.cluster_updates
                if t.vector_sum is not None
            ]
            if proposal.mean:
                state.mean = MeanMoved(proposal.mean.questions, proposal.mean.vector_sum)
                changes.append(state.mean)
            if proposal.updates_namespace:
                state.outbox[0] = self._clock()
            self._log(state, changes)
            self._record(state, proposal, cluster_rows)
            return Committed(state.seq, missed, cluster_rows, self._position(state))

    def ask_turns(self, asked: Mapping[str, AskedTurn]) -> dict[str, Turn | StoreError]:
        return {name: _failing_alone(partial(self._ask_turn, name, one)) for name, one in asked.items()}

    def _ask_turn(self, namespace: str, asked: AskedTurn) -> Turn:
        with self._lock:
            state = self._get_recovered(namespace, asked.store_epoch)
            if asked.seq > state.seq:
                raise _lost(state, namespace)
            state.turns.drop_late(self._clock())
            return Turn(_tail(state, asked.seq), self._turn(state, asked.token, asked.stretch))

    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        with self._lock:
            state = self._get_recovered(namespace, store_epoch)
            if seq > state.seq:
                raise _lost(state, namespace)
            missed = _tail(state, seq)
            changes: list[Change] = []
            applied = []
            apart = []
            refused: set[int] = set()
            # What a cluster that a merge of this call names has become.
            stands_for: dict[int, int] = {}
            for proposed in merges:
                one = stands_for.get(proposed.survivor, proposed.survivor)
                other = stands_for.get(proposed.loser, proposed.loser)
                survivor, loser = state.clusters.get(one), state.clusters.get(other)
                if (
                    survivor is None
                    or loser is None
                    or (survivor.members, loser.members) != (proposed.survivor_members, proposed.loser_members)
                    or refused & {proposed.survivor, proposed.loser}
                    or seq < state.constrained
                ):
                    # Later sums build on earlier merges.
                    refused |= {proposed.survivor, proposed.loser}
                    continue
                if proposed.dropped is None and _precedence(loser) < _precedence(survivor):
                    survivor, loser = loser, survivor
                merge = proposed.of(survivor.cluster_row.cluster_id, loser.cluster_row.cluster_id)
                ruling = merged_ruling(survivor.cluster_row.ruling, loser.cluster_row.ruling, merge)
                if ruling is None:
                    refused |= {proposed.survivor, proposed.loser}
                    apart.append(merge)
                    continue
                stands_for[proposed.survivor] = stands_for[proposed.loser] = merge.survivor
                self._keep_remains(state, survivor, loser)
                applied.append(self._merge(state, merge, survivor, loser, ruling))
                changes += _merged_changes(merge, applied[-1].survivor)
            self._log(state, changes)
            return Merged(state.seq, missed, applied, self._position(state), apart)

    def retire(self, namespace: str, retention: Retention, limit: int) -> Retired:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise _recovery_needed(namespace)
            self._forget(state)
            retired = Retired()
            live = sorted(seen for seen, _ in _members(state, "idle"))
            for due in due_by_age(retention, live[-1] if live else 0):
                retired.add(due.reason, self._retire(state, due, limit, retention))
            while gone := self._make_room(state, retention, limit):
                retired.add("full", gone)
                limit -= len(gone)
            return retired

    def label(self, namespace: str, cluster_id: int, label: str | None, route: str | None) -> ClusterState:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise _recovery_needed(namespace)
            cluster = state.clusters[cluster_id]
            while cluster.merged_into is not None:
                cluster = state.clusters[cluster.merged_into]
            if cluster.retired:
                raise KeyError(cluster_id)
            old = cluster.cluster_row
            cluster.cluster_row = replace(
                old,
                label=old.label if label is None else label or None,
                route=old.route if route is None else route or None,
                revision=old.revision + 1,
            )
            cluster.labelled = True
            state.outbox[old.cluster_id] = self._clock()
            return _state(namespace, state, old.cluster_id)

    def levels(self, namespace: str) -> StoredLevels:
        with self._lock:
            state = self._namespaces.get(namespace)
            return StoredLevels() if state is None else state.levels

    def levels_marks(self, namespaces: Sequence[str]) -> dict[str, LevelsMark]:
        with self._lock:
            known = {name: self._namespaces[name] for name in namespaces if name in self._namespaces}
            return {
                name: LevelsMark(
                    state.levels.version,
                    state.levels.opened,
                    state.next_id - 1,
                    len(list(_members(state, "idle"))),
                    state.levels_published,
                )
                for name, state in known.items()
            }

    def lease_levels(self, namespace: str, holder: str, seconds: float) -> bool:
        with self._lock:
            state, now = self._get(namespace), self._clock()
            of, until = state.levels_lease
            if of not in ("", holder) and until > now:
                return False
            state.levels_lease = (holder, now + seconds) if seconds else ("", 0.0)
            return True

    def write_levels(self, namespace: str, store_epoch: str, levels: StoredLevels) -> bool:
        with self._lock:
            state = self._get_recovered(namespace, store_epoch)
            if state.levels.version != levels.version:
                return False
            version = max(levels.version + 1, int(self._clock() * 1000))
            state.levels = replace(_with_later_names(levels, state.levels), version=version)
            return True

    def confirm_levels(self, namespace: str, version: int) -> None:
        with self._lock:
            state = self._get(namespace)
            if state.levels.version == version:
                state.levels_published = version

    def restore_levels(self, namespace: str, token: str, levels: StoredLevels, published: int | None = None) -> bool:
        with self._lock:
            state = self._get(namespace)
            is_late = state.levels.version > levels.version
            if is_late or not levels.version or state.store_epoch is not None or state.recovery_token != token:
                return False
            state.levels = _with_later_names(levels, state.levels)
            state.operation_count = max(state.operation_count, levels.operation)
            state.levels_published = levels.version if published is None else published
            return True

    def made_names(self, namespace: str) -> dict[int, MadeName]:
        with self._lock:
            state = self._namespaces.get(namespace)
            return {} if state is None else dict(state.made_names)

    def name_changes(self, namespace: str) -> int:
        with self._lock:
            state = self._namespaces.get(namespace)
            return 0 if state is None else state.name_changes

    def write_names(self, namespace: str, store_epoch: str, names: Mapping[int, MadeName | None]) -> None:
        with self._lock:
            state = self._get_recovered(namespace, store_epoch)
            for cluster_id, made in names.items():
                if made is None:
                    state.made_names.pop(cluster_id, None)
                else:
                    state.made_names[cluster_id] = made
            state.name_changes = max(state.name_changes + 1, int(self._clock() * 1000))

    def _levels_wait(self, namespace: str) -> bool:
        with self._lock:
            state = self._get(namespace)
            is_leased = state.levels_lease[1] > self._clock()
            waits = state.levels_published != state.levels.version and not is_leased
            return state.store_epoch is not None and waits

    def operate(self, namespace: str, proposed: ProposedOperation) -> Operation | None:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise _recovery_needed(namespace)
            known = next((one for one in state.operations.values() if one.id == proposed.id), None)
            if known is not None:
                return known
            undone = state.operations.get(proposed.undoes or 0)
            if proposed.undoes is not None and (undone is None or undone.undone_by is not None):
                return None
            ruled = {i: state.clusters.get(i) for i in proposed.before}
            part = proposed.part
            if part is not None and not _may_part(state, part):
                return None
            rows = {
                i: cluster.cluster_row
                for i, cluster in ruled.items()
                if cluster and (cluster.vector_sum is not None or i == proposed.parted)
            }
            if {i: rows[i].ruling if i in rows else Ruling() for i in {*rows, *proposed.opens}} != proposed.before:
                return None
            if list(proposed.opens) != list(range(state.next_id, state.next_id + len(proposed.opens))):
                return None
            if any(rows[i].size for i in proposed.retires):
                return None
            merge = proposed.merge
            if merge is not None and [state.clusters[i].members for i in (merge.survivor, merge.loser)] != [
                merge.survivor_members,
                merge.loser_members,
            ]:
                return None
            if proposed.rules is not None and proposed.rules.before != state.rules:
                return None
            if proposed.levels is not None and proposed.levels.standing != state.levels:
                return None
            if proposed.forgets is not None and proposed.forgets != _forgetting(state, proposed.forgets.cluster_id):
                return None
            count = max(state.operation_count, state.rules.operation, state.levels.operation)
            number = 1 + max([count, *(row.operation for row in rows.values())])
            if state.operation_epoch is not None and number - OPERATIONS_KEPT > state.operations_published:
                raise waits_to_be_published()
            if merge is not None:
                self._keep_remains(state, state.clusters[merge.survivor], state.clusters[merge.loser])
            changes: list[Change] = []
            rows |= {i: self._open(state, i, opened) for i, opened in proposed.opens.items()}
            for i, row in rows.items():
                after = proposed.after[i]
                is_named = (row.label, row.route) != (after.label, after.route)
                cluster = state.clusters[i]
                cluster.cluster_row = replace(
                    row.with_representative(after.represented_by),
                    label=after.label,
                    route=after.route,
                    pinned=after.pinned,
                    separations=after.separations,
                    muted=after.muted,
                    resolved_size=after.resolved_size,
                    threshold=after.threshold,
                    exemplars=after.exemplars,
                    operation=number,
                    revision=row.revision + 1,
                )
                cluster.labelled = is_named
                state.outbox[i] = self._clock()
                binds = (row.exemplars, row.threshold) != (after.exemplars, after.threshold)
                is_moved = binds or i in proposed.opens or proposed.forgets is not None
                if is_moved and cluster.vector_sum is not None and not (merge or part):
                    kept = cluster.features or None if i in proposed.opens else None
                    own = after.threshold or 0.0
                    changes.append(ClusterMoved(i, cluster.members, cluster.vector_sum, kept, after.exemplars, own))
                if i in proposed.retires:
                    self._make_stub(state, i, TOMBSTONE_SECONDS)
                    cluster.cluster_row = replace(cluster.cluster_row, revision=row.revision + 1)
                    changes.append(ClusterRemoved(i))
            if proposed.rules is not None:
                state.rules = replace(proposed.rules.after, operation=number)
                mean = state.mean or MeanMoved(0, np.zeros(state.identity.dimension, np.float32))
                changes.append(replace(mean, rules=state.rules))
                state.outbox[0] = self._clock()
            if proposed.levels is not None:
                version = max(state.levels.version + 1, int(self._clock() * 1000))
                state.levels = replace(proposed.levels.renamed(number), version=version)
            self._log(state, changes)
            state.constrained = state.seq if changes else state.constrained
            if proposed.forgets is not None:
                self._erase_texts(state, proposed.forgets)
            if merge is not None:
                self._log(state, self._merge_by_operation(state, merge, proposed.after[merge.survivor]))
            if part is not None:
                self._log(state, _part(state, part))
                state.constrained = state.seq
            operation = Operation(
                proposed.id,
                number,
                proposed.kind,
                proposed.actor,
                proposed.reason,
                int(self._clock() * 1000),
                _kept_before(proposed),
                kept_rulings(proposed.after, proposed.before),
                proposed.undoes,
                survivor=proposed.survivor,
                rules=proposed.rules and RulesChange.of(proposed.rules.document()),
                parted=proposed.parted,
                levels=None if proposed.levels is None else proposed.levels.change,
                corrections=proposed.corrections,
            )
            state.operation_count = number
            state.operations[number] = operation
            state.operations.pop(number - OPERATIONS_KEPT, None)
            if undone is not None:
                state.operations[undone.number] = replace(undone, undone_by=number)
            return operation

    def forgetting(self, namespace: str, cluster_id: int) -> Forgetting:
        with self._lock:
            return _forgetting(self._get(namespace), cluster_id)

    def _erase_texts(self, state: _Namespace, forgets: Forgetting) -> None:
        for i in forgets.cluster_ids:
            row = replace(
                state.clusters[i].cluster_row, representative=None, represented_by=None, own_representative=None
            )
            is_alias = i != forgets.cluster_id
            state.clusters[i].cluster_row = replace(row, kept_members="", revision=row.revision + is_alias)
            state.outbox[i] = self._clock()
            state.made_names.pop(i, None)
        state.name_changes = max(state.name_changes + 1, int(self._clock() * 1000))
        state.operations = {number: without_texts(one, forgets.cluster_ids) for number, one in state.operations.items()}
        del state.log[:-1]

    def remains(self, namespace: str, cluster_id: int) -> Remains | None:
        with self._lock:
            all_of_them = self._get(namespace).remains
            if cluster_id not in all_of_them:
                return None
            found = all_of_them[cluster_id][0]
            if not found.key:
                return None
            later = [one for one, _, _ in list(all_of_them.values())[list(all_of_them).index(cluster_id) + 1 :]]
            return replace(found, later_kept=tuple(one.kept_members for one in later if one.survivor == found.survivor))

    def operation(self, namespace: str, number: int) -> Operation | None:
        with self._lock:
            return self._get(namespace).operations.get(number)

    def operations(self, namespace: str, limit: int) -> list[Operation]:
        with self._lock:
            state = self._get(namespace)
            newest = range(state.operation_count, state.operation_count - limit, -1)
            return [state.operations[number] for number in newest if number in state.operations]

    def operations_from(self, namespace: str, number: int, limit: int) -> list[Operation]:
        with self._lock:
            state = self._get(namespace)
            first = max(number, state.operation_count - OPERATIONS_KEPT + 1)
            return [state.operations[at] for at in range(first, first + limit) if at in state.operations]

    def published_operations(self, namespace: str) -> int | None:
        with self._lock:
            state = self._get(namespace)
            is_compared = state.store_epoch is not None and state.operation_epoch == state.store_epoch
            return state.operations_published if is_compared else None

    def claim_operations(self, namespace: str, token: str, claim_seconds: float) -> OperationClaim | None:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise _recovery_needed(namespace)
            compared, now = state.operation_epoch == state.store_epoch, self._clock()
            holder, deadline = state.operation_claim
            is_another = holder not in ("", token)
            if is_another and compared and deadline > now:
                return None
            if state.operation_count == 0 or (compared and state.operations_published >= state.operation_count):
                return None
            if is_another and compared:
                compared, state.operation_epoch = False, None
            state.operation_claim = (token, now + claim_seconds)
            return OperationClaim(state.store_epoch, state.operations_published, state.operation_count, compared)

    def restore_operations(self, namespace: str, token: str, published: Sequence[Operation], newest: int) -> int | None:
        with self._lock:
            state = self._get(namespace)
            recovers = state.store_epoch is None and state.recovery_token == token
            if not recovers and (state.store_epoch is None or state.operation_claim[0] != token):
                return None
            state.operation_count = max(state.operation_count, newest)
            oldest = state.operation_count - OPERATIONS_KEPT
            lacking = [one for one in published if one.number > oldest and not _has(state.operations, one)]
            places = {one.id: one.number for one in state.operations.values()}
            displaced = [state.operations[one.number] for one in lacking if one.number in state.operations]
            for one in lacking:
                state.operations.pop(places.get(one.id, one.number), None)
            for one in lacking:
                state.operations[one.number] = replace(one, undone_by=None)
            for one in lacking:
                if one.undoes in state.operations:
                    state.operations[one.undoes] = replace(state.operations[one.undoes], undone_by=one.number)
            for other in displaced:
                if other.id not in {one.id for one in state.operations.values()}:
                    state.operation_count += 1
                    state.operations[state.operation_count] = replace(other, number=state.operation_count)
            state.operations_published, state.operation_epoch = newest, state.store_epoch or token
            if recovers:
                state.operation_claim = ("", 0.0)
            return len(lacking)

    def confirm_operations(self, namespace: str, token: str, published: int) -> None:
        with self._lock:
            state = self._get(namespace)
            if state.operation_claim[0] == token:
                state.operations_published = max(state.operations_published, published)
                state.operation_claim = ("", 0.0)

    def _operations_wait(self, namespace: str) -> bool:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None or state.operation_count == 0:
                return False
            waits = state.operations_published < state.operation_count
            return state.operation_epoch != state.store_epoch or (waits and state.operation_claim[1] <= self._clock())

    def cluster(self, namespace: str, cluster_id: int) -> ClusterState | None:
        with self._lock:
            state = self._get(namespace)
            return _state(namespace, state, cluster_id) if cluster_id in state.clusters else None

    def states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        with self._lock:
            state = self._get(namespace)
            return [_state(namespace, state, i) for i in cluster_ids if i in state.clusters]

    def clusters(self, namespace: str) -> Iterator[ClusterState]:
        with self._lock:
            state = self._get(namespace)
            live = [i for i, cluster in sorted(state.clusters.items()) if cluster.vector_sum is not None]
            states = [_state(namespace, state, cluster_id) for cluster_id in live]
        yield from states

    def summaries(self, namespace: str) -> Iterator[ClusterState]:
        return (replace(state, vector_sum=None) for state in self.clusters(namespace))

    def namespaces(self) -> list[str]:
        with self._lock:
            return sorted(self._namespaces.keys() | self._admitted)

    def rules(self, namespace: str) -> NamespaceRules:
        with self._lock:
            state = self._namespaces.get(namespace)
            return NamespaceRules() if state is None else state.rules

    def sizes(self, namespace: str) -> NamespaceSizes:
        with self._lock:
            state = self._namespaces.get(namespace)
            if state is None:
                return NamespaceSizes(0, 0, 0, 0, 0, {})
            live = [one for one in state.clusters.values() if one.vector_sum is not None]
            return NamespaceSizes(
                len(live),
                sum(one.cluster_row.size == 1 for one in live),
                sum(one.merged_into is not None and not one.retired for one in state.clusters.values()),
                len(state.outbox),
                len(state.log),
                {place: len(entries) for place, entries in state.ledgers.items() if entries},
            )

    def namespace_state(self, namespace: str) -> NamespaceState | None:
        with self._lock:
            state = self._namespaces.get(namespace)
            if state is None:
                return None
            mean = state.mean or MeanMoved(0, np.zeros(state.identity.dimension, np.float32))
            identity = state.identity
            return NamespaceState(
                namespace=namespace,
                model=identity.model,
                model_revision=identity.revision,
                similarity=identity.similarity,
                linkage=state.rules.linkage or identity.linkage,
                threshold=identity.threshold if state.rules.threshold is None else state.rules.threshold,
                next_cluster=state.next_id,
                mean_questions=mean.questions,
                mean_sum=mean.vector_sum,
                seq=state.seq,
                generation=state.generation,
                rules=state.rules,
            )

    def unpublished(self, namespace: str, older_than_seconds: float, limit: int) -> list[int]:
        with self._lock:
            latest = self._clock() - older_than_seconds
            waiting = sorted((since, str(i)) for i, since in self._get(namespace).outbox.items() if since <= latest)
            return [int(cluster_id) for _, cluster_id in waiting[:limit]]

    def waiting(
        self, namespaces: Sequence[str], older_than_seconds: float, limit: int
    ) -> dict[str, Waiting | StoreError]:
        def look(namespace: str) -> Waiting:
            return Waiting(
                self.store_epoch(namespace),
                self.unpublished(namespace, older_than_seconds, limit),
                self._operations_wait(namespace),
                self._levels_wait(namespace),
                self.rules(namespace),
            )

        return {namespace: _failing_alone(partial(look, namespace)) for namespace in namespaces}

    def confirm(self, confirmations: Sequence[Confirmation]) -> Unconfirmed:
        outcomes = [(one, _failing_alone(partial(self._confirm, one))) for one in confirmations]
        return [(one, error) for one, error in outcomes if error is not None]

    def _verify(self, namespace: str, published: Revisions) -> OutboxPosition | None:
        with self._lock:
            state = self._namespaces.get(namespace)
            if state is None:
                return None
            for cluster_id, revision in published.items():
                if _revision(state, cluster_id) != revision:
                    state.outbox[cluster_id] = self._clock()
                    state.outdated_count += 1
                    state.outdated[cluster_id] = state.outdated_count
            return None if state.store_epoch is None else self._position(state)

    def _position(self, state: _Namespace) -> OutboxPosition:
        return OutboxPosition(state.store_epoch or "", state.outdated_count, int(self._clock() * 1000))

    def _confirm(self, confirmation: Confirmation) -> None:
        with self._lock:
            state = self._get(confirmation.namespace)
            published, position = confirmation.revisions, confirmation.position
            if position.store_epoch != (state.store_epoch or ""):
                return
            merges: set[int] = set()
            for cluster_id, revision in published.items():
                current_revision = _revision(state, cluster_id)
                if current_revision in (None, revision):
                    if current_revision is None or not self._came_later(state, cluster_id, position.count):
                        state.outbox.pop(cluster_id, None)
                        state.outdated.pop(cluster_id, None)
                    if cluster_id in state.clusters and state.clusters[cluster_id].merged_into is not None:
                        merges.add(cluster_id)
                    if cluster_id in state.clusters and state.clusters[cluster_id].retired:
                        state.clusters[cluster_id].forgotten_at = self._clock() + _STUB_SECONDS
                else:
                    state.outbox.setdefault(cluster_id, self._clock())
            for cluster_id in published:
                if cluster_id in state.clusters:
                    cluster = state.clusters[cluster_id]
                    left = _still_in_flight(cluster.cluster_row.in_flight, confirmation.committed, merges)
                    cluster.cluster_row = replace(cluster.cluster_row, in_flight=left)

    def _came_later(self, state: _Namespace, cluster_id: int, count: int) -> bool:
        """Whether `verify_before_commit` has found the cluster outdated since, or its tombstone is not due."""
        cluster = state.clusters.get(cluster_id)
        is_due = cluster is None or not cluster.retired or state.outbox.get(cluster_id, 0.0) <= self._clock()
        return state.outdated.get(cluster_id, 0) > count or not is_due

    def revisions(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, int]:
        with self._lock:
            clusters = self._get(namespace).clusters
            return {i: clusters[i].cluster_row.revision for i in cluster_ids if i in clusters}

    def mend(self, namespace: str, token: str, cluster_ids: Iterable[int], dimension: int | None) -> Mended:
        # The index is the clusters themselves here: only a centroid can be another model's.
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return Mended()
            mended = Mended()
            # A stub that is confirmed stands in no index and no outbox.
            named = {i for i, one in state.clusters.items() if not one.retired}
            for i in {*cluster_ids, *named, *state.outbox} & state.clusters.keys():
                cluster = state.clusters[i]
                wanted = state.identity.dimension if dimension is None else dimension
                whole = cluster.vector_sum is None or len(cluster.vector_sum) == wanted
                (mended.revisions if whole else mended.damaged)[i] = cluster.cluster_row.revision
            return mended

    def heads(self, namespace: str, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        with self._lock:
            ledgers = self._get(namespace).ledgers
            return {at: _joined(ledgers.get(at, [])).head for at in partitions}

    def in_flight(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, InFlight]:
        with self._lock:
            clusters = self._get(namespace).clusters
            rows = {i: clusters[i].cluster_row for i in cluster_ids if i in clusters}
            return {i: InFlight(row.in_flight.joins) for i, row in rows.items() if row.in_flight.joins}

    def seconds_since_noted(self, namespaces: Sequence[str]) -> float | None:  # noqa: ARG002 - of no namespace
        # It lives and dies with its process: no copy of it is put back.
        return None

    def begin_recovery(self, namespace: str) -> str:
        with self._lock:
            state = self._get(namespace)
            if state.held_until is not None:
                if self._clock() < state.held_until:
                    raise NamespaceHeld(f"namespace {namespace!r} is being moved to another model")
                state.held_until = state.recovery_token = None
            state.recovery_token = state.recovery_token or uuid.uuid4().hex[:12]
            return state.recovery_token

    def lease_recovery(self, namespace: str, token: str, holder: str, seconds: float) -> bool:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return False
            other, until = state.recovery_lease
            if other != holder and until > self._clock():
                return False
            state.recovery_lease = (holder, self._clock() + seconds)
            return True

    def hold(self, namespace: str, store_epoch: str, seconds: float) -> str | None:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch != store_epoch:
                return None
            state.store_epoch, state.recovery_token = None, uuid.uuid4().hex[:12]
            state.held_until = self._clock() + seconds
            return state.recovery_token

    def still_holds(self, namespace: str, token: str, seconds: float) -> bool:
        with self._lock:
            state = self._get(namespace)
            if state.recovery_token == token:
                state.held_until = self._clock() + seconds
            return state.recovery_token == token

    def restore(self, namespace: str, token: str, restored: Sequence[Restored]) -> int:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return 0
            return sum(self._restore(state, one, self._clock) for one in restored)

    def recover(
        self,
        namespace: str,
        token: str,
        whole: NamespaceState | None,
        heads: Mapping[tuple[str, int], int],
        unpublished: Iterable[int] = (),
    ) -> None:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return
            state.next_id = max([state.next_id, *(i + 1 for i in state.clusters)])
            for cluster_id in unpublished:
                state.outbox.setdefault(cluster_id, self._clock())
            if whole is not None:
                state.identity = Identity(
                    whole.model,
                    whole.model_revision,
                    whole.dimension,
                    whole.similarity,
                    whole.linkage,
                    whole.threshold,
                )
                state.next_id = max(state.next_id, whole.next_cluster)
                state.seq = max(state.seq, whole.seq)
                # The mean of another model has nothing to do with this one's.
                later = whole.generation > state.generation
                state.generation = whole.generation
                if later or whole.mean_questions > (state.mean.questions if state.mean else 0):
                    state.mean = MeanMoved(whole.mean_questions, whole.mean_sum)
                if whole.rules.operation > state.rules.operation:
                    state.rules = whole.rules
                state.operation_count = max(state.operation_count, whole.rules.operation)
                # Its next number may be later than the published one.
                state.outbox[0] = self._clock()
            state.log.clear()
            state.seq += 1
            for at, head in heads.items():
                entries = state.ledgers.setdefault(at, [])
                if head >= 0 and _joined(entries).head < head:
                    entries.append((head, Ledger(head)))
            is_compared = state.operation_epoch == token
            state.store_epoch, state.recovery_token, state.held_until = uuid.uuid4().hex[:12], None, None
            state.operation_epoch = state.store_epoch if is_compared else state.operation_epoch
            state.recovery_lease = ("", 0.0)

    def delete(self, namespace: str, token: str) -> bool:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return False
            self._deleted[namespace] = (state.next_id, state.operation_count)
            del self._namespaces[namespace]
            self._admitted.discard(namespace)
            return True

    def require_recovery(self, namespace: str) -> None:
        with self._lock:
            state = self._get(namespace)
            state.store_epoch = state.recovery_token = state.held_until = None

    def _get_recovered(self, namespace: str, store_epoch: str) -> _Namespace:
        state = self._namespaces.get(namespace)
        if state is None or state.store_epoch != store_epoch:
            raise _recovery_needed(namespace)
        return state

    def _get(self, namespace: str) -> _Namespace:
        try:
            return self._namespaces[namespace]
        except KeyError:
            raise StoreRefused(f"namespace {namespace!r} was never opened") from None

    def _turn(self, state: _Namespace, token: str, stretch: int) -> Literal["own", "other", ""]:
        """Whose turn it is, now that the worker of this token waits for one."""
        if token:
            state.turns.wait(token, self._clock() + stretch * TURN_SECONDS)
        if state.turns.first is None:
            return ""
        return "own" if state.turns.first == token else "other"

    @staticmethod
    def _is_stale(state: _Namespace, proposal: Proposal) -> bool:
        needs_head = proposal.creates or proposal.has_unmatched
        if (needs_head and proposal.seq != state.seq) or proposal.seq < state.constrained:
            return True
        if proposal.mean and proposal.mean.expected_questions != (state.mean.questions if state.mean else 0):
            return True
        for update in proposal.cluster_updates:
            if update.creates:
                if update.cluster_id < state.next_id:
                    return True
                continue
            cluster = state.clusters.get(update.cluster_id)
            if cluster is None or cluster.vector_sum is None:
                return True
            if update.vector_sum is not None and cluster.members != update.expected_members:
                return True
        return False

    @staticmethod
    def _restore(state: _Namespace, restored: Restored, clock: Callable[[], float]) -> bool:
        published = restored.state
        known = state.clusters.get(published.cluster_id)
        if published.event == "retired":
            state.outbox.pop(published.cluster_id, None)
            _let_go_of_remains(state, published.cluster_id)
            return state.clusters.pop(published.cluster_id, None) is not None
        if known is not None and not restored.damaged and known.cluster_row.revision >= published.revision:
            if restored.publish:
                state.outbox.setdefault(published.cluster_id, clock())
            return False
        cluster_row = ClusterRow(
            published.cluster_id,
            published.size,
            published.revision,
            published.label,
            published.route,
            published.created_at,
            published.last_seen_at,
            published.representative,
            published.in_flight,
            published.pinned,
            published.separations,
            published.operation,
            published.exemplars,
            published.kept_members,
            published.muted,
            published.resolved_size,
            published.represented_by,
            published.own_representative,
            published.threshold,
        )
        state.operation_count = max(state.operation_count, published.operation)
        _let_go_of_remains(state, published.cluster_id)
        state.clusters[published.cluster_id] = _Cluster(
            cluster_row,
            published.members,
            published.vector_sum,
            published.merged_into,
            merged_at=published.last_seen_at,
            labelled=published.event == "labelled",
            features=published.features,
        )
        state.outbox.pop(published.cluster_id, None)
        if restored.publish:
            state.outbox[published.cluster_id] = 0.0
        return True

    def _touch(self, state: _Namespace, update: ClusterUpdate, proposal: Proposal) -> ClusterRow:
        cluster = state.clusters.get(update.cluster_id)
        if cluster is None:
            cluster_row = ClusterRow(
                update.cluster_id, 0, 0, None, None, update.seen_at, update.seen_at, update.representative or None
            )
            cluster = state.clusters[update.cluster_id] = _Cluster(cluster_row, 0, None)
            state.next_id = max(state.next_id, update.cluster_id + 1)
        if update.vector_sum is not None:
            cluster.members, cluster.vector_sum = update.members, update.vector_sum
            cluster.features = update.features or cluster.features
        old = cluster.cluster_row
        cluster.cluster_row = replace(
            old,
            size=old.size + update.joins,
            revision=old.revision + 1,
            last_seen_at=max(old.last_seen_at, update.seen_at),
            in_flight=_joining(old.in_flight, update.cluster_id, proposal),
            kept_members=_united(old.kept_members, update.kept_members),
        )
        cluster.labelled = False
        state.outbox[update.cluster_id] = self._clock()
        return cluster.cluster_row

    def _merge_by_operation(self, state: _Namespace, merge: Merge, ruling: Ruling) -> list[Change]:
        """Merge two clusters whose rulings the operation has set; returns what of it the log tells."""
        survivor, loser = state.clusters[merge.survivor], state.clusters[merge.loser]
        revisions, labelled = (survivor.cluster_row.revision, loser.cluster_row.revision), survivor.labelled
        self._merge(state, merge, survivor, loser, ruling)
        for cluster, revision in zip((survivor, loser), revisions, strict=True):
            cluster.cluster_row = replace(cluster.cluster_row, revision=revision)
        survivor.labelled = labelled
        return _merged_changes(merge, survivor.cluster_row)

    def _keep_remains(self, state: _Namespace, survivor: _Cluster, loser: _Cluster) -> None:
        kept, lost, now = survivor.cluster_row, loser.cluster_row, self._clock()
        assert loser.vector_sum is not None  # noqa: S101 - it is live
        remains = Remains(
            uuid.uuid4().hex,
            lost.cluster_id,
            kept.cluster_id,
            lost.size,
            loser.members,
            loser.vector_sum,
            loser.features,
            lost.kept_members,
            tuple(one.name for one in lost.exemplars),
            replace(kept.ruling, exemplars=(), represented_by=None),
            tuple(one.name for one in kept.exemplars),
            kept.kept_members,
        )
        state.remains.pop(lost.cluster_id, None)
        state.remains[lost.cluster_id] = remains, lost.in_flight, now
        oldest = now - self._undo_seconds
        last = list(state.remains.items())[-REMAINS_KEPT:]
        state.remains = {i: one for i, one in last if one[2] > oldest}

    def _merge(
        self, state: _Namespace, merge: Merge, survivor: _Cluster, loser: _Cluster, ruling: Ruling
    ) -> AppliedMerge:
        kept, lost = survivor.cluster_row, loser.cluster_row
        survivor.members, survivor.vector_sum = merge.members, merge.vector_sum
        survivor.features, loser.features = merge.kept or survivor.features, b""
        survivor.cluster_row = replace(
            kept.with_representative(ruling.represented_by),
            size=kept.size + lost.size,
            revision=kept.revision + 1,
            label=ruling.label,
            route=ruling.route,
            pinned=ruling.pinned,
            separations=ruling.separations,
            exemplars=ruling.exemplars,
            operation=max(kept.operation, lost.operation),
            created_at=min(kept.created_at, lost.created_at),
            last_seen_at=max(kept.last_seen_at, lost.last_seen_at),
            in_flight=_absorbing(kept.in_flight, merge.loser, lost.in_flight),
            kept_members=_united(lost.kept_members, kept.kept_members),
        )
        survivor.labelled = False
        loser.members, loser.vector_sum, loser.merged_into = 0, None, merge.survivor
        loser.merged_at = survivor.cluster_row.last_seen_at
        loser.cluster_row = replace(
            lost, revision=lost.revision + 1, in_flight=InFlight(), exemplars=(), kept_members=""
        )
        state.outbox[merge.survivor] = state.outbox[merge.loser] = self._clock()
        return AppliedMerge(merge, survivor.cluster_row, loser.cluster_row)

    def _make_room(self, state: _Namespace, retention: Retention, limit: int) -> list[int]:
        live = sorted(seen for seen, _ in _members(state, "idle"))
        too_many = min(limit, excess(retention, len(live)))
        for due in due_for_room(Index(len(live), live[-1], live[(len(live) - 1) // 2])) if too_many else ():
            gone = self._retire(state, due, too_many, retention)
            if gone:
                return gone
        return []

    def _retire(self, state: _Namespace, due: Due, most: int, retention: Retention) -> list[int]:
        """Retire `most` of what is due, those last seen the longest ago first."""
        oldest = 0 if due.timeless else 1
        # As Redis has them: ids that were seen at the same time are in the order of their texts.
        found = sorted((seen, str(i)) for seen, i in _members(state, due.among) if oldest <= seen <= due.until)
        ids = [
            i for i in (int(text) for _, text in found) if due.among == "aliases" or not _is_kept(state.clusters[i])
        ][:most]
        for i in ids:
            self._make_stub(state, i, retention.tombstone_seconds)
        self._log(state, [] if due.among == "aliases" else [ClusterRemoved(i) for i in ids])
        return ids

    def _make_stub(self, state: _Namespace, i: int, tombstone_seconds: float) -> None:
        cluster, old = state.clusters[i], state.clusters[i].cluster_row
        cluster.members, cluster.vector_sum, cluster.merged_into, cluster.retired = 0, None, None, True
        cluster.features = b""
        cluster.labelled = False
        cluster.cluster_row = replace(
            old,
            revision=old.revision + 1,
            representative=None,
            represented_by=None,
            own_representative=None,
            label=None,
            route=None,
            in_flight=InFlight(),
            pinned=False,
            separations=(),
            muted=False,
            resolved_size=None,
            threshold=None,
            operation=0,
            kept_members="",
        )
        state.outbox[i] = self._clock() + tombstone_seconds

    def _open(self, state: _Namespace, cluster_id: int, opened: OpenedCluster) -> ClusterRow:
        """A cluster of no question."""
        at = opened.opened_at
        row = ClusterRow(cluster_id, 0, 0, None, None, at, at, opened.representative or None)
        state.clusters[cluster_id] = _Cluster(row, opened.members, opened.vector_sum, features=opened.features)
        state.next_id = cluster_id + 1
        state.outbox[0] = self._clock()
        return row

    def _forget(self, state: _Namespace) -> None:
        now = self._clock()
        for i in [i for i, c in state.clusters.items() if c.forgotten_at is not None and c.forgotten_at <= now]:
            del state.clusters[i]
            _let_go_of_remains(state, i)

    def _log(self, state: _Namespace, changes: list[Change]) -> None:
        if changes:
            state.seq += 1
            state.log.append((state.seq, changes))
            del state.log[: -self._log_commits]

    @staticmethod
    def _record(state: _Namespace, proposal: Proposal, cluster_rows: dict[int, ClusterRow]) -> None:
        joins = {update.cluster_id: update.joins for update in proposal.cluster_updates}
        for batch in proposal.partitions:
            decisions = {
                row.offset: decide_unmatched(row, proposal)
                if row.cluster_id is None
                else decide(row, cluster_rows[row.cluster_id], joins[row.cluster_id], proposal)
                for row in batch.rows
            }
            entries = state.ledgers.setdefault((batch.topic, batch.partition), [])
            fingerprints = {row.offset: row.fingerprint for row in batch.rows if row.fingerprint}
            entries.append((batch.first, Ledger(batch.last, decisions, fingerprints=fingerprints)))
            while len(entries) > 1 and entries[0][1].head < batch.prune_below:
                entries.pop(0)


def _failing_alone(call: Callable[[], T]) -> T | StoreError:
    try:
        return call()
    except (StoreRefused, RecoveryNeeded) as error:
        return error


def _recovery_needed(namespace: str) -> RecoveryNeeded:
    return RecoveryNeeded(f"namespace {namespace!r} has to be compared with the cluster topic first")


def _lost(state: _Namespace, namespace: str) -> RecoveryNeeded:
    """The namespace is not what it was seen to be: it has to be recovered."""
    state.store_epoch = None
    return RecoveryNeeded(f"namespace {namespace!r} has lost memory, which is put back from the cluster topic")


def _revision(state: _Namespace, cluster_id: int) -> int | None:
    """The revision of a cluster, or of the namespace for 0; None if there is no such cluster."""
    if cluster_id == 0:
        return (state.mean.questions if state.mean else 0) + state.next_id + state.rules.operation
    cluster = state.clusters.get(cluster_id)
    return None if cluster is None else cluster.cluster_row.revision


def _joining(before: InFlight, cluster_id: int, proposal: Proposal) -> InFlight:
    joins = dict(before.joins)
    for batch in proposal.partitions:
        joined = tuple(row.offset for row in batch.rows if row.cluster_id == cluster_id)
        if joined:
            at = (batch.topic, batch.partition)
            joins[at] = tuple(offset for offset in joins.get(at, ()) if offset >= batch.prune_below) + joined
    return InFlight(joins, before.absorbed)


def _united(known: str, later: str) -> str:
    """The references of a cluster once `later` questions have joined it."""
    if not known or not later:
        return known or later
    return str(KeptMembers.parse(known).joined_by(KeptMembers.parse(later)))


def _absorbing(kept: InFlight, loser: int, lost: InFlight) -> InFlight:
    joins = {at: kept.joins.get(at, ()) + lost.joins.get(at, ()) for at in {**kept.joins, **lost.joins}}
    return InFlight(joins, (loser, *kept.absorbed, *lost.absorbed))


def _still_in_flight(before: InFlight, committed: Mapping[tuple[str, int], int], merges: set[int]) -> InFlight:
    joins = {at: tuple(o for o in offsets if o >= committed.get(at, 0)) for at, offsets in before.joins.items()}
    absorbed = tuple(i for i in before.absorbed if i not in merges)
    return InFlight({at: offsets for at, offsets in joins.items() if offsets}, absorbed)


def _entries(state: _Namespace) -> int:
    return sum(len(changes) for _, changes in state.log)


def _tail(state: _Namespace, seq: int) -> Tail:
    if seq == state.seq:
        return Tail(seq, [])
    entries = [(at, changes) for at, changes in state.log if at > seq]
    if not entries or entries[0][0] != seq + 1:
        return Tail(state.seq, None)
    return Tail(state.seq, [change for _, changes in entries for change in changes])


def _may_part(state: _Namespace, part: Part) -> bool:
    remains = state.remains.get(part.remains.cluster_id)
    survivor, returned = state.clusters.get(part.survivor), state.clusters.get(part.remains.cluster_id)
    return (
        remains is not None
        and remains[0].key == part.remains.key
        and survivor is not None
        and survivor.vector_sum is not None
        and survivor.members == part.survivor_members > remains[0].members
        and survivor.cluster_row.size > part.size
        and returned is not None
        and returned.merged_into is not None
        and not returned.retired
    )


def _part(state: _Namespace, part: Part) -> list[Change]:
    """Let a merged cluster stand by itself again; the rulings of both are set by now. Returns what the log tells."""
    remains, was, _ = state.remains.pop(part.remains.cluster_id)
    through: int | None = remains.survivor
    while through not in (None, part.survivor) and through in state.clusters:
        # What it came through on its way has absorbed it and gives it up too: nobody takes it out twice.
        state.remains.pop(through, None)
        through = state.clusters[through].merged_into
    survivor, returned = state.clusters[part.survivor], state.clusters[remains.cluster_id]
    left, back = _parted(survivor.cluster_row.in_flight, remains.cluster_id, was)
    row = survivor.cluster_row
    survivor.cluster_row = replace(row, size=row.size - part.size, in_flight=left, kept_members=part.kept_members)
    survivor.members, survivor.vector_sum = survivor.members - remains.members, part.vector_sum
    returned.cluster_row = replace(returned.cluster_row, size=part.size, in_flight=back, kept_members=part.own_kept)
    returned.members, returned.vector_sum, returned.merged_into = remains.members, remains.vector_sum, None
    returned.features = remains.features
    return [
        ClusterMoved(
            part.survivor,
            survivor.members,
            part.vector_sum,
            None,
            survivor.cluster_row.exemplars,
            survivor.cluster_row.threshold or 0.0,
        ),
        ClusterMoved(
            remains.cluster_id,
            remains.members,
            remains.vector_sum,
            remains.features or None,
            returned.cluster_row.exemplars,
            returned.cluster_row.threshold or 0.0,
        ),
    ]


def _parted(now: InFlight, returned: int, was: InFlight) -> tuple[InFlight, InFlight]:
    """What is in flight of a survivor and of the cluster that parts from it, which had `was` when it was absorbed."""
    own = {at: set(offsets) for at, offsets in was.joins.items()}
    left = {at: tuple(o for o in offsets if o not in own.get(at, ())) for at, offsets in now.joins.items()}
    back = {at: tuple(o for o in offsets if o in own.get(at, ())) for at, offsets in now.joins.items()}
    others = [one for one in now.absorbed if one != returned]
    return (
        InFlight({at: some for at, some in left.items() if some}, tuple(i for i in others if i not in was.absorbed)),
        InFlight({at: some for at, some in back.items() if some}, tuple(i for i in others if i in was.absorbed)),
    )


def _merged_changes(merge: Merge, survivor: ClusterRow) -> list[Change]:
    return [
        ClusterRemoved(merge.loser),
        ClusterMoved(merge.survivor, merge.members, merge.vector_sum, merge.kept, survivor.exemplars or None),
    ]


def _members(state: _Namespace, among: Members) -> Iterator[tuple[int, int]]:
    """(time last seen, id) of the live clusters, of those with one question, or of the ids that were merged away."""
    for i, cluster in state.clusters.items():
        if among == "aliases":
            if cluster.merged_into is not None:
                yield cluster.merged_at, i
        elif cluster.vector_sum is not None and (among == "idle" or cluster.cluster_row.size == 1):
            yield cluster.cluster_row.last_seen_at, i


def _naming(cluster: _Cluster) -> Naming:
    return cluster.cluster_row.label, cluster.cluster_row.route


def _precedence(cluster: _Cluster) -> tuple[bool, int, int]:
    return precedence(_naming(cluster), cluster.cluster_row.size, cluster.cluster_row.cluster_id)


def _let_go_of_remains(state: _Namespace, cluster_id: int) -> None:
    """The cluster is none that was merged away any more; what its survivor got with it is known on."""
    if cluster_id in state.remains:
        remains, in_flight, at = state.remains[cluster_id]
        state.remains[cluster_id] = replace(remains, key=""), in_flight, at


def _with_later_names(levels: StoredLevels, standing: StoredLevels) -> StoredLevels:
    if levels.operation >= standing.operation:
        return levels
    return replace(levels, named=standing.named, operation=standing.operation)


def _is_kept(cluster: _Cluster) -> bool:
    return cluster.cluster_row.ruling != Ruling()


def _joined(entries: list[tuple[int, Ledger]]) -> Ledger:
    decisions = {offset: decision for _, ledger in entries for offset, decision in ledger.decisions.items()}
    fingerprints = {offset: one for _, ledger in entries for offset, one in ledger.fingerprints.items()}
    return Ledger(max((ledger.head for _, ledger in entries), default=-1), decisions, fingerprints=fingerprints)


def _below(ledger: Ledger, offset: int) -> Ledger:
    decisions = {at: decision for at, decision in ledger.decisions.items() if at < offset}
    fingerprints = {at: one for at, one in ledger.fingerprints.items() if at < offset}
    return Ledger(min(ledger.head, offset - 1), decisions, ledger.store_epoch, fingerprints)


def _event(cluster: _Cluster) -> ClusterEvent:
    if cluster.retired:
        return "retired"
    if cluster.merged_into is not None:
        return "merged"
    return "labelled" if cluster.labelled else "updated"


def _state(namespace: str, state: _Namespace, cluster_id: int) -> ClusterState:
    cluster = state.clusters[cluster_id]
    cluster_row = cluster.cluster_row
    return cluster_row.state(
        namespace,
        _event(cluster),
        state.identity.model,
        members=cluster.members,
        vector_sum=cluster.vector_sum,
        features=cluster.features,
        merged_into=cluster.merged_into,
    )


def _has(operations: Mapping[int, Operation], one: Operation) -> bool:
    known = operations.get(one.number)
    return known is not None and known.id == one.id


def _kept_before(proposed: ProposedOperation) -> dict[int, Ruling]:
    kept = kept_rulings(proposed.before, proposed.after)
    return {i: ruling.without_texts() for i, ruling in kept.items()} if proposed.forgets else kept


def _forgetting(state: _Namespace, cluster_id: int) -> Forgetting:
    into: dict[int, list[int]] = {}
    for i, cluster in state.clusters.items():
        if cluster.merged_into is not None:
            into.setdefault(cluster.merged_into, []).append(i)
    known = sum(map(len, into.values()))
    return Forgetting(cluster_id, aliases_of(cluster_id, into), known, state.operation_count)
