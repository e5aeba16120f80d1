"""What a store promises. Both stores pass tests/contract/test_store.py."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

from questream.clustering.merging import Merge
from questream.clustering.mirror import Change, Mirror
from questream.domain import ClusterState, Decision, InFlight, NamespaceState, RunnerUp, Vector
from questream.errors import NamespaceOfAnotherStream, RecoveryNeeded, StoreRefused, StoreUnavailable
from questream.store.retention import Retention, Retired

# A turn to move a namespace's log ends after so long, should the worker that has it have died. The worker needs two
# calls to the store and a plan between them.
TURN_SECONDS = 1.0


# Of a namespace in the store. A later one has another meaning; what is only added to one keeps its number.
LAYOUT = 1


@dataclass(frozen=True, slots=True)
class Identity:
    """What a namespace is built with. Vectors of another model, revision or dimension cannot join its clusters."""

    model: str
    revision: str
    dimension: int
    similarity: str
    linkage: str
    threshold: float


@dataclass(frozen=True, slots=True)
class StreamTopics:
    """The topics that a stream is known by in the store; an empty one is not known, or not to be compared."""

    input_topic: str = ""
    cluster_topic: str = ""

    def require_same(self, namespace: str, known: StreamTopics) -> None:
        """Raise NamespaceOfAnotherStream where the namespace belongs to another stream than this one."""
        for name, mine, its in (
            ("kafka.input_topic", self.input_topic, known.input_topic),
            ("kafka.cluster_topic", self.cluster_topic, known.cluster_topic),
        ):
            if mine and its and mine != its:
                raise NamespaceOfAnotherStream(
                    f"namespace {namespace!r} in Redis belongs to a stream whose {name} is {its!r}, this one's is"
                    f" {mine!r}",
                    "set redis.prefix or clusters.namespace to one of its own"
                    + ("" if name == "kafka.cluster_topic" else ", or clusters.shared for both to feed it together"),
                )


NO_TOPICS = StreamTopics()


@dataclass(frozen=True, slots=True)
class ClusterUpdate:
    """What a batch does to one cluster: `joins` questions join.

    `expected_members` is the centroid's member count that the batch was decided against, 0 for a cluster it opens.
    `vector_sum` (d,) and `members` are the centroid after it; a frozen centroid has None and its count unchanged.
    `seen_at` is the newest record timestamp of the questions that joined, five minutes ahead of the clock at most.
    """

    cluster_id: int
    joins: int
    expected_members: int
    members: int
    vector_sum: Vector | None
    seen_at: int
    representative: str | None = None

    @property
    def creates(self) -> bool:
        """Whether the batch opens this cluster."""
        return self.expected_members == 0


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One question's decision as a batch proposes it; its cluster's size will be the size before the batch + `rank`."""

    offset: int
    cluster_id: int
    similarity: float
    created: bool
    rank: int
    runner_up: RunnerUp | None
    truncated: bool
    unknown_share: float = 0.0
    fingerprint: str = ""


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
    without spaces, asks for a turn should the batch be stale: see Stale.
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

    @property
    def creates(self) -> bool:
        """Whether any cluster is opened."""
        return any(update.creates for update in self.cluster_updates)

    @property
    def moves_log(self) -> bool:
        """Whether any centroid or the mean moves; a question that a frozen cluster counts moves nothing."""
        return self.mean is not None or any(update.vector_sum is not None for update in self.cluster_updates)

    @property
    def updates_namespace(self) -> bool:
        """Whether the namespace as a whole changes: its mean, or the number that its next cluster gets."""
        return self.mean is not None or self.creates


@dataclass(frozen=True, slots=True)
class Tail:
    """What the log says after a seq: `changes` up to `seq`, or None where the log no longer reaches back so far."""

    seq: int
    changes: list[Change] | None


@dataclass(frozen=True, slots=True)
class ClusterRow:
    """How a cluster stands after a commit; the part of its state that vectors do not tell."""

    cluster_id: int
    size: int
    revision: int
    label: str | None
    route: str | None
    created_at: int
    last_seen_at: int
    representative: str | None
    in_flight: InFlight = field(default_factory=InFlight)


@dataclass(frozen=True, slots=True)
class OutboxPosition:
    """Where the outbox of a namespace stands: what is put there later is told from what stood there before.

    It holds for the store epoch that stands. `count` is how often a cluster was found outdated in the cluster topic,
    `server_time_ms` the store's time since the epoch.
    """

    store_epoch: str
    count: int
    server_time_ms: int


@dataclass(frozen=True, slots=True)
class Committed:
    """All of the batch happened. `missed` is what others did between the proposal's seq and this commit.

    What the commit put into the outbox stands at or before `outbox_position`.
    """

    seq: int
    missed: Tail
    cluster_rows: dict[int, ClusterRow]
    outbox_position: OutboxPosition


@dataclass(frozen=True, slots=True)
class Stale:
    """Nothing happened: the clusters moved on, or it is another's turn. Apply `missed`, decide again.

    Workers that ask for a turn get one each, in the order they asked and for TURN_SECONDS at most: until its batch is
    committed nobody else's moves the log. `turn` is whose it is now.
    """

    missed: Tail
    turn: Literal["own", "other", ""] = ""


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
        """Whether what is recorded of an offset may be of the record with this fingerprint."""
        return self.fingerprints.get(offset, fingerprint) == fingerprint


@dataclass(frozen=True, slots=True)
class Replayed:
    """Nothing happened: some offsets were decided before. Their ledgers by (topic, partition)."""

    ledgers: dict[tuple[str, int], Ledger]


@dataclass(frozen=True, slots=True)
class AppliedMerge:
    """A merge that happened, with the survivor's standing after it and the loser's at its end."""

    merge: Merge
    survivor: ClusterRow
    loser: ClusterRow


@dataclass(frozen=True, slots=True)
class Merged:
    """Those of the proposed merges that happened; a merge whose clusters had moved did not.

    `apart` are those that did not because both clusters are named and their labels or routes differ. What the merges
    put into the outbox stands at or before `outbox_position`.
    """

    seq: int
    missed: Tail
    applied: list[AppliedMerge]
    outbox_position: OutboxPosition
    apart: list[Merge] = field(default_factory=list)


StoreError = StoreUnavailable | StoreRefused | RecoveryNeeded
# By cluster id, 0 for the namespace as a whole (NamespaceState.revision).
Revisions = Mapping[int, int]


@dataclass(frozen=True, slots=True)
class Confirmation:
    """These revisions stand in the cluster topic; they were sent after `position`.

    What a cluster counts from below the `committed` offsets of partitions is no longer in flight.
    """

    namespace: str
    revisions: Revisions
    committed: Mapping[tuple[str, int], int]
    position: OutboxPosition


Unconfirmed = list[tuple[Confirmation, StoreError]]


@dataclass(frozen=True, slots=True)
class Verified:
    """Where the outboxes of namespaces stand, None for one that has to be recovered; and what was not confirmed."""

    positions: dict[str, OutboxPosition | None]
    unconfirmed: Unconfirmed


@dataclass(frozen=True, slots=True)
class Restored:
    """A cluster to put back. `publish` asks for its state to be published again, since it is not what was read.

    What the store has of a `damaged` one is replaced, whatever its revision.
    """

    state: ClusterState
    publish: bool = False
    damaged: bool = False


@dataclass(frozen=True, slots=True)
class Mended:
    """The `revisions` of clusters that stand whole in the store, and the last known ones (or 0) of those `damaged`."""

    revisions: dict[int, int] = field(default_factory=dict)
    damaged: dict[int, int] = field(default_factory=dict)


CommitReply = Committed | Stale | Replayed | StoreError


class Store(Protocol):
    """Shared state of namespaces. Any call may raise StoreUnavailable (try again) or StoreRefused (do not).

    A namespace stands in a store epoch, which begins when it is recovered: compared with the cluster topic. It ends
    when the store's process does, or its memory: then `commit`, `merge`, `tail` and `ledger` raise RecoveryNeeded. A
    call that finds part of the memory gone (a key missing, cut short, of another type, older than seen) ends it.
    """

    def ping(self) -> None:
        """Raises StoreUnavailable if the store does not answer."""

    def open(self, namespace: str, identity: Identity, topics: StreamTopics = NO_TOPICS) -> None:
        """Create the namespace, or check that it was built with the same model and belongs to the stream of `topics`.

        It belongs to the first stream that opens it. Raises IdentityMismatch if model, revision or dimension differ,
        NamespaceOfAnotherStream if topics do, NamespaceRefused where it is stored in a later layout. Similarity,
        linkage and threshold may change.
        """

    def admit(self, namespaces: Collection[str], limit: int) -> set[str]:
        """Count new namespaces among those of the store, in their order, as long as those are fewer than `limit`.

        Returns those that may not begin. Of one that the store refuses whatever the limit is, `open` tells why.
        """

    def topics(self, namespace: str) -> StreamTopics:
        """The topics of the stream that the namespace belongs to."""

    def store_epoch(self, namespace: str) -> str | None:
        """The store epoch that the namespace stands in, or None where it has to be recovered first."""

    def verify_before_commit(
        self, published: Mapping[str, Revisions], confirmations: Sequence[Confirmation] = ()
    ) -> Verified:
        """Whether the namespaces still stand, when these revisions have their place in the cluster topic.

        It takes one round trip.

        A cluster that has moved on since waits to be published again: the worker that moved it may have published it
        before. The confirmations of earlier publications go with it, as by `confirm`. Raises the error of the first
        namespace that has one.
        """

    def outbox_position(self, namespace: str) -> OutboxPosition:
        """Where the outbox stands now, for a confirmation."""

    def load(self, namespace: str) -> Mirror:
        """A fresh mirror of all live clusters; `Mirror.store_epoch` is empty where the namespace is not recovered."""

    def tail(self, namespace: str, store_epoch: str, seq: int) -> Tail:
        """What changed after `seq`. Raises RecoveryNeeded if another store epoch stands."""

    def stream(self, topic: str, identity: str) -> tuple[str, bool]:
        """The name that this stream's topic has wherever the store names a topic, and whether it is new.

        It is the topic's own for the first stream that asks. Another one, by its `identity` (Kafka cluster, topic id
        and group), has another name, for ever the same: the offsets of one say nothing of the other's.
        """

    def ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        """The recorded decisions of a partition. Raises RecoveryNeeded."""

    def cut_ledger(self, namespace: str, topic: str, partition: int, offset: int) -> Ledger:
        """Forget what is recorded of a partition from `offset` on: other records stand there now. Returns the rest.

        Where something was recorded, all before `offset` still counts as decided.
        Raises RecoveryNeeded.
        """

    def commit(self, proposals: Mapping[str, Proposal]) -> dict[str, CommitReply]:
        """Apply a micro-batch, of each namespace all of it or nothing, in one round trip.

        Committing the same proposal twice is safe: the second time answers Replayed with the decisions of the first.
        What a namespace fails with is its reply, and stops no other: RecoveryNeeded if another store epoch than the
        proposal's stands. Raises StoreUnavailable where none is answered.
        """

    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        """Apply each merge whose two clusters still stand as proposed, unless it mixed or dropped what people named.

        A label and its route survive together: the survivor's, or the loser's where the survivor has neither. Where
        both are named and differ, a merge happens only if it has `dropped` just what the loser has. Raises
        RecoveryNeeded.
        """

    def retire(self, namespace: str, retention: Retention, limit: int) -> Retired:
        """Take clusters, and ids that were merged away, out of the index that are due by `retention`.

        About `limit` of each kind at most: call again for more. A cluster that is seen anew, or has a label or a route,
        stays. What left is in `unpublished` once `tombstone_seconds` have passed, and its state is `retired` until ten
        minutes after that is confirmed. No number is ever given again.
        """

    def label(self, namespace: str, cluster_id: int, label: str | None, route: str | None) -> ClusterState:
        """Set a cluster's label and route; None leaves it as it is, an empty text removes it.

        Follows merges. Raises KeyError if there is no such cluster, RecoveryNeeded.
        """

    def cluster(self, namespace: str, cluster_id: int) -> ClusterState | None:
        """One cluster, live, merged or lately retired, or None."""

    def states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        """Those of the clusters that `cluster` knows, in this order."""

    def clusters(self, namespace: str) -> Iterator[ClusterState]:
        """All live clusters."""

    def summaries(self, namespace: str) -> Iterator[ClusterState]:
        """All live clusters, without their vectors: for people, and much quicker."""

    def namespaces(self) -> list[str]:
        """The names of all namespaces."""

    def namespace_state(self, namespace: str) -> NamespaceState | None:
        """The namespace as a whole, or None if it was never opened."""

    def unpublished(self, namespace: str, older_than_seconds: float, limit: int) -> list[int]:
        """Clusters whose last change has waited that long to be confirmed as published; 0 is the namespace itself."""

    def confirm(self, confirmations: Sequence[Confirmation]) -> Unconfirmed:
        """What was published leaves the outbox, in one round trip; returns what a namespace did not take.

        A cluster that has moved on since stays to be published: two workers may publish it in either order; so does one
        that `verify_before_commit` has put there after the position. Nothing happens where another store epoch stands
        than at the position. It may be said twice, and may be lost: what stays is published again.
        """

    def revisions(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, int]:
        """The revisions of those clusters that the store knows and that stand whole, recovered or not."""

    def mend(self, namespace: str, token: str, cluster_ids: Iterable[int], dimension: int | None) -> Mended:
        """Look at these clusters and at all that an index names, and make the indexes agree with those that are whole.

        `dimension` is what a centroid has to have, None for what the namespace says. Nothing is found and nothing
        happens where the memory of that token is gone.
        """

    def heads(self, namespace: str, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """The heads of the partitions' ledgers, recovered or not; -1 where nothing was decided."""

    def begin_recovery(self, namespace: str) -> str:
        """A token of the memory that the namespace has now; ask for it before the cluster topic is read.

        Raises NamespaceHeld while somebody holds it.
        """

    def lease_recovery(self, namespace: str, token: str, holder: str, seconds: float) -> bool:
        """Whether the holder is the one to recover the namespace, for so long from now at most; 0 lets it go.

        False where another is, where the namespace is recovered, and where the memory of that token is gone. It spares
        work that is done twice: `restore` and `recover` take the token from anybody.
        """

    def hold(self, namespace: str, store_epoch: str, seconds: float) -> str | None:
        """End the store epoch and let nobody but the holder of the token recover the namespace, for so long at most.

        `restore` and `recover` take the token; to recover it as it stands lets it go. None if another epoch stands.
        """

    def still_holds(self, namespace: str, token: str, seconds: float) -> bool:
        """Whether the token's holder still holds the namespace, which it may do for so many seconds from now."""

    def restore(self, namespace: str, token: str, restored: Sequence[Restored]) -> int:
        """Put clusters back into a namespace that is not recovered; returns how many were.

        Nothing happens where the memory of that token is gone.
        A state of event `retired` removes what the store has; any other replaces an earlier revision.
        """

    def recover(
        self,
        namespace: str,
        token: str,
        whole: NamespaceState | None,
        heads: Mapping[tuple[str, int], int],
        untold: Iterable[int] = (),
    ) -> None:
        """Begin a new store epoch, unless one stands or the memory of that token is gone: decisions may be made.

        `whole` is the namespace as it was published, which the store may be behind: in what it has counted, or by
        whole generations, each with a model of its own. Offsets up to the `heads` of partitions count as decided.
        The next number is above every id that the store still names. `untold` wait to be published.
        """

    def require_recovery(self, namespace: str) -> None:
        """End the store epoch: nothing is decided until the namespace is recovered again."""
