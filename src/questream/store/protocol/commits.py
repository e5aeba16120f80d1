"""Commits: a micro-batch becomes decisions and clusters, all or nothing; the log of changes; the recorded decisions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, Protocol

from questream.clustering.merging import Merge
from questream.clustering.mirror import Change, Mirror
from questream.domain import (
    UNNAMED,
    UNRULED,
    CheckedBy,
    ClusterEvent,
    ClusterState,
    Decision,
    InFlight,
    Naming,
    Ruling,
    RunnerUp,
    Vector,
)
from questream.store.protocol.namespaces import StoreError
from questream.store.protocol.outbox import OutboxPosition

# A turn to move a namespace's log ends after so long, should the worker that has it have died. The worker needs two
# calls to the store and a plan between them.
TURN_SECONDS = 1.0
Whose = Literal["own", "other", ""]


@dataclass(frozen=True, slots=True)
class ClusterUpdate:
    """The change of one cluster by a batch: `joins` questions join.

    `expected_members` is the centroid's member count that the batch was decided against, 0 for a cluster it opens.
    `vector_sum` (d,) and `members` are the centroid after it; a frozen centroid has None and its count unchanged.
    `seen_at` is the newest record timestamp of the questions that joined, five minutes ahead of the clock at most.
    `features` is what the cluster keeps for a second look (`ClusterState.features`), None where that is as it was.
    `kept_members` are those of the questions that joined that it may keep references to, as text.
    """

    cluster_id: int
    joins: int
    expected_members: int
    members: int
    vector_sum: Vector | None
    seen_at: int
    representative: str | None = None
    features: bytes | None = None
    kept_members: str = ""

    @property
    def creates(self) -> bool:
        """True if the batch opens this cluster."""
        return self.expected_members == 0


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One question's decision as a batch proposes it; its cluster's size will be the size before the batch + `rank`.

    Without a cluster it is unmatched, and `similarity` is that of the runner-up, None where there is no such.
    `checked_by`, `reason`, `path` and `confidence` are those of the decision; rows of one cluster and batch have the
    same path. `inherited` are label and route of what the cluster is in, for where it has none itself, `threshold` that
    of the cluster where it has one of its own; of these the same holds.
    """

    offset: int
    cluster_id: int | None
    similarity: float | None
    created: bool
    rank: int
    runner_up: RunnerUp | None
    truncated: bool
    unknown_share: float = 0.0
    fingerprint: str = ""
    checked_by: CheckedBy | None = None
    reason: str | None = None
    path: tuple[str, str, str] | None = None
    inherited: Naming = UNNAMED
    confidence: float | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class PartitionBatch:
    """A batch's rows of one partition in order of offset. Ledger entries wholly below `prune_below` may go.

    The ledger was last seen to end at offset `head`: one that ends before has lost memory.
    """

    topic: str
    partition: int
    rows: list[LedgerRow]
    prune_below: int
    head: int = -1

    @property
    def first(self) -> int:
        """The first offset."""
        return self.rows[0].offset

    @property
    def last(self) -> int:
        """The last offset."""
        return self.rows[-1].offset


@dataclass(frozen=True, slots=True)
class MeanUpdate:
    """The stream's mean learns: from a sum over `expected_questions` to `vector_sum` (d,) over `questions`."""

    expected_questions: int
    questions: int
    vector_sum: Vector


@dataclass(frozen=True, slots=True)
class Proposal:
    """A micro-batch of one namespace, decided against the mirror at `seq` of a store epoch of the namespace.

    `model` is the one that its vectors are of, `decided_at` in ms since the epoch. `turn`, a token of the worker
    without spaces, asks for a turn of `turn_stretch` times TURN_SECONDS should the batch be stale: see Stale. A
    question with a confidence of less than `routing_precision` has a suggested route alone.
    """

    store_epoch: str
    seq: int
    partitions: list[PartitionBatch]
    cluster_updates: list[ClusterUpdate]
    mean: MeanUpdate | None
    model: str
    threshold: float
    decided_at: int
    turn: str = ""
    turn_stretch: int = 1
    routing_precision: float | None = None

    @property
    def creates(self) -> bool:
        """True if any cluster is opened."""
        return any(update.creates for update in self.cluster_updates)

    @property
    def moves_log(self) -> bool:
        """True if any centroid or the mean moves; a question that a frozen cluster counts moves nothing."""
        return self.mean is not None or any(update.vector_sum is not None for update in self.cluster_updates)

    @property
    def has_unmatched(self) -> bool:
        """True if any question is in no cluster: what it did not find may be there once the log has moved."""
        return any(row.cluster_id is None for batch in self.partitions for row in batch.rows)

    @property
    def updates_namespace(self) -> bool:
        """True if the namespace as a whole changes: its mean, or the number that its next cluster gets."""
        return self.mean is not None or self.creates


@dataclass(frozen=True, slots=True)
class Tail:
    """The log after a seq: `changes` up to `seq`, or None where the log no longer reaches back so far."""

    seq: int
    changes: list[Change] | None


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """A cluster after a commit: its state without the vector and the features."""

    cluster_id: int
    size: int
    revision: int
    created_at: int
    last_seen_at: int
    representative: str | None
    in_flight: InFlight = field(default_factory=InFlight)
    ruling: Ruling = UNRULED
    operation: int = 0
    kept_members: str = ""
    own_representative: str | None = None

    @property
    def label(self) -> str | None:
        """The cluster's name, where people gave it one."""
        return self.ruling.label

    @property
    def route(self) -> str | None:
        """The route of the cluster's questions, if people set one."""
        return self.ruling.route

    def ruled(self, ruling: Ruling) -> ClusterRow:
        """The row of the cluster once people have decided this of it."""
        own = self.representative if self.ruling.represented_by is None else self.own_representative
        chosen = ruling.represented_by
        if chosen is None:
            return replace(self, representative=own, own_representative=None, ruling=ruling)
        return replace(self, representative=chosen.text, own_representative=own, ruling=ruling)

    def state(
        self,
        namespace: str,
        event: ClusterEvent,
        model: str,
        *,
        members: int = 0,
        vector_sum: Vector | None = None,
        features: bytes = b"",
        merged_into: int | None = None,
    ) -> ClusterState:
        """The cluster's state, with what a row lacks; every field of a row is one of a state."""
        own: dict[str, Any] = {name: getattr(self, name) for name in _ROW_FIELDS}
        more: dict[str, Any] = {"members": members, "vector_sum": vector_sum, "merged_into": merged_into}
        return ClusterState(namespace=namespace, event=event, model=model, features=features, **more, **own)


_ROW_FIELDS = tuple(one.name for one in fields(ClusterRow))


@dataclass(frozen=True, slots=True)
class Committed:
    """All of the batch happened. `missed` is what others did between the proposal's seq and this commit.

    The outbox entries of the commit are at or before `outbox_position`.
    """

    seq: int
    missed: Tail
    cluster_rows: dict[int, ClusterRow]
    outbox_position: OutboxPosition


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing happened: the clusters moved on, or it is another's turn. Apply `missed`, decide again.

    Workers that ask for a turn get one each, in the order they asked and for as long as they ask for at most: until its
    batch is committed nobody else's moves the log. `turn` is whose it is now.
    """

    missed: Tail
    turn: Whose = ""


@dataclass(frozen=True, slots=True)
class AskedTurn:
    """A worker's request for a turn of `stretch` times TURN_SECONDS; its mirror is at `seq` of a store epoch.

    `token` is a text without spaces.
    """

    store_epoch: str
    seq: int
    token: str
    stretch: int = 1


@dataclass(frozen=True, slots=True)
class Turn:
    """Whose turn it is to move the log, and what the worker that asked has missed of it."""

    missed: Tail
    whose: Whose


@dataclass(frozen=True, slots=True)
class Ledger:
    """Recorded decisions of one partition by offset. Offsets up to `head` were decided; older ones may be pruned.

    `store_epoch` is the namespace's when they were read. `fingerprints` are those of the records that were decided, as
    far as they are known.
    """

    head: int = -1
    decisions: dict[int, Decision] = field(default_factory=dict)
    store_epoch: str = ""
    fingerprints: dict[int, str] = field(default_factory=dict)

    def is_of(self, offset: int, fingerprint: str) -> bool:
        """True if what is recorded of an offset may be of the record with this fingerprint."""
        return self.fingerprints.get(offset, fingerprint) == fingerprint


@dataclass(frozen=True, slots=True)
class Replayed:
    """Nothing happened: some offsets were decided before. Their ledgers by (topic, partition)."""

    ledgers: dict[tuple[str, int], Ledger]


@dataclass(frozen=True, slots=True)
class AppliedMerge:
    """A merge that happened, with the survivor's row after it and the loser's last one."""

    merge: Merge
    survivor: ClusterRow
    loser: ClusterRow


@dataclass(frozen=True, slots=True)
class Merged:
    """The proposed merges that happened; a merge whose clusters had moved did not.

    `apart` are those that did not because both clusters are named and their labels or routes differ. What the merges
    put into the outbox is at or before `outbox_position`.
    """

    seq: int
    missed: Tail
    applied: list[AppliedMerge]
    outbox_position: OutboxPosition
    apart: list[Merge] = field(default_factory=list)


CommitReply = Committed | Stale | Replayed | StoreError


@dataclass(frozen=True, slots=True)
class LogLength:
    """The number of changes in the log of a namespace, the approximate bytes of each, and the seq of its head."""

    entries: int
    entry_bytes: int
    seq: int


class Commits(Protocol):
    """Decisions and merges, and what workers read to propose them."""

    def load(self, namespace: str) -> Mirror:
        """A fresh mirror of all live clusters; `Mirror.store_epoch` is empty where the namespace is not recovered."""

    def tail(self, namespace: str, store_epoch: str, seq: int) -> Tail:
        """The changes after `seq`. Raises RecoveryNeeded if the store epoch is another."""

    def log_lengths(self, namespaces: Sequence[str]) -> dict[str, LogLength]:
        """The lengths of the logs of the namespaces that exist and that this login may read."""

    def trim_logs(self, entries: Mapping[str, int]) -> None:
        """Let the log of each namespace keep so many of its newest changes at the most.

        A mirror that has not seen what goes is loaded anew.
        """

    def stream(self, topic: str, identity: str) -> tuple[str, bool]:
        """The name that this stream's topic has wherever the store names a topic, and whether it is new.

        It is the topic's own for the first stream that asks. Another one, by its `identity` (Kafka cluster, topic id
        and group), has another name, for ever the same: the offsets of one say nothing of the other's.
        """

    def ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        """The recorded decisions of a partition. Raises RecoveryNeeded."""

    def cut_ledger(self, namespace: str, topic: str, partition: int, offset: int) -> Ledger:
        """Forget what is recorded of a partition from `offset` on: other records are there now. Returns the rest.

        Where something was recorded, all before `offset` still counts as decided.
        Raises RecoveryNeeded.
        """

    def commit(self, proposals: Mapping[str, Proposal]) -> dict[str, CommitReply]:
        """Apply a micro-batch, of each namespace all of it or nothing, in one round trip.

        Committing the same proposal twice is safe: the second time answers Replayed with the decisions of the first.
        The error of a namespace is its reply, and stops no other: RecoveryNeeded if the store epoch is not the
        proposal's. Raises StoreUnavailable where none is answered.
        """

    def ask_turns(self, asked: Mapping[str, AskedTurn]) -> dict[str, Turn | StoreError]:
        """Wait in line for a turn in each of these namespaces, as for Stale, in one round trip.

        What a namespace fails with is its reply, as in `commit`. Raises StoreUnavailable where none is answered.
        """

    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        """Apply each merge whose two clusters still are as proposed, unless it mixed or dropped what people named.

        A label and its route survive together: the survivor's, or the loser's where the survivor has neither. Where
        both are named and differ, a merge happens only if it has `dropped` just what the loser has. Raises
        RecoveryNeeded.
        """
