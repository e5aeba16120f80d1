"""The state of a namespace in the store in memory, and its queries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TypeVar

from questream.clustering.mirror import Change, ClusterMoved, MeanMoved
from questream.domain import ClusterEvent, ClusterState, InFlight, NamespaceRules, Operation, Vector
from questream.errors import RecoveryNeeded, StoreRefused
from questream.preparing.repeated import NO_COUNTS, SentenceCounts
from questream.store.protocol import (
    NO_TOPICS,
    ClusterRow,
    Identity,
    Ledger,
    MadeName,
    Remains,
    StoredLevels,
    StoreError,
    StreamTopics,
    Tail,
)
from questream.store.retention import Members

_MOST_WAITING = 64

T = TypeVar("T")


@dataclass(slots=True)
class Cluster:
    """A cluster: live, merged into another, or what is left of a retired one."""

    cluster_row: ClusterRow
    members: int
    vector_sum: Vector | None
    merged_into: int | None = None
    features: bytes = b""
    merged_at: int = 0  # in stream time
    labelled: bool = False
    retired: bool = False
    forgotten_at: float | None = None

    def moved(self, cluster_id: int, kept: bytes | None) -> ClusterMoved:
        """Its centroid and ruling in an entry of the log; `kept` as there."""
        assert self.vector_sum is not None  # noqa: S101 - what has none was merged or retired, and moves no more
        row = self.cluster_row
        return ClusterMoved(
            cluster_id, self.members, self.vector_sum, kept, row.ruling.exemplars, row.ruling.threshold or 0.0
        )


@dataclass(slots=True)
class Turns:
    """Workers that lost too often, in the order they asked, and until when each may have its turn."""

    deadlines: dict[str, float] = field(default_factory=dict)
    begun: bool = False

    @property
    def first(self) -> str | None:
        """Whose turn it is."""
        return next(iter(self.deadlines), None)

    def drop_late(self, now: float) -> None:
        """Drop requests that are late: their worker has died, or asks again."""
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
class Namespace:
    """All that is kept of a namespace."""

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
    clusters: dict[int, Cluster] = field(default_factory=dict)
    log: list[tuple[int, list[Change]]] = field(default_factory=list)
    ledgers: dict[tuple[str, int], list[tuple[int, Ledger]]] = field(default_factory=dict)
    outbox: dict[int, float] = field(default_factory=dict)
    # By cluster, what the last merges absorbed, what of it may not be published, and when.
    remains: dict[int, tuple[Remains, InFlight, float]] = field(default_factory=dict)
    turns: Turns = field(default_factory=Turns)
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
    levels_heeding: bool = True
    levels_ruled: str = ""
    levels_lease: tuple[str, float] = ("", 0.0)
    made_names: dict[int, MadeName] = field(default_factory=dict)
    name_changes: int = 0
    sentence_counts: SentenceCounts = NO_COUNTS
    operations_published: int = 0
    # The store epoch in which they were compared with what was published.
    operation_epoch: str | None = None
    operation_claim: tuple[str, float] = ("", 0.0)


def failing_alone(call: Callable[[], T]) -> T | StoreError:
    """The answer of a namespace's part of a call: the error of one hides no other's answer."""
    try:
        return call()
    except (StoreRefused, RecoveryNeeded) as error:
        return error


def recovery_needed(namespace: str) -> RecoveryNeeded:
    """The error that says so."""
    return RecoveryNeeded(f"namespace {namespace!r} has to be compared with the cluster topic first")


def lost_memory(state: Namespace, namespace: str) -> RecoveryNeeded:
    """The namespace is not what it was seen to be: it has to be recovered."""
    state.store_epoch = None
    return RecoveryNeeded(f"namespace {namespace!r} has lost memory, which is restored from the cluster topic")


def revision_of(state: Namespace, cluster_id: int) -> int | None:
    """The revision of a cluster, or of the namespace for 0; None if there is no such cluster."""
    if cluster_id == 0:
        return (state.mean.questions if state.mean else 0) + state.next_id + state.rules.operation
    cluster = state.clusters.get(cluster_id)
    return None if cluster is None else cluster.cluster_row.revision


def entry_count(state: Namespace) -> int:
    """The length of the log, in changes."""
    return sum(len(changes) for _, changes in state.log)


def tail_of(state: Namespace, seq: int) -> Tail:
    """The changes in the log after `seq`; None where it no longer reaches back to it."""
    if seq == state.seq:
        return Tail(seq, [])
    entries = [(at, changes) for at, changes in state.log if at > seq]
    if not entries or entries[0][0] != seq + 1:
        return Tail(state.seq, None)
    return Tail(state.seq, [change for _, changes in entries for change in changes])


def members_of(state: Namespace, among: Members) -> Iterator[tuple[int, int]]:
    """(time last seen, id) of the live clusters, of those with one question, or of the ids that were merged away."""
    for i, cluster in state.clusters.items():
        if among == "aliases":
            if cluster.merged_into is not None:
                yield cluster.merged_at, i
        elif cluster.vector_sum is not None and (among == "idle" or cluster.cluster_row.size == 1):
            yield cluster.cluster_row.last_seen_at, i


def drop_remains(state: Namespace, cluster_id: int) -> None:
    """The cluster is none that was merged away any more; what its survivor got with it is known on."""
    if cluster_id in state.remains:
        remains, in_flight, at = state.remains[cluster_id]
        state.remains[cluster_id] = replace(remains, key=""), in_flight, at


def joined_ledger(entries: list[tuple[int, Ledger]]) -> Ledger:
    """The ledger of a partition, from what each commit added."""
    decisions = {offset: decision for _, ledger in entries for offset, decision in ledger.decisions.items()}
    fingerprints = {offset: one for _, ledger in entries for offset, one in ledger.fingerprints.items()}
    return Ledger(max((ledger.head for _, ledger in entries), default=-1), decisions, fingerprints=fingerprints)


def _event(cluster: Cluster) -> ClusterEvent:
    if cluster.retired:
        return "retired"
    if cluster.merged_into is not None:
        return "merged"
    return "labelled" if cluster.labelled else "updated"


def state_of(namespace: str, state: Namespace, cluster_id: int) -> ClusterState:
    """A cluster as it is published."""
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
