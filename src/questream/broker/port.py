"""The port to Kafka. An adapter package implements it; `questream.broker.connect` chooses one.

Each call may raise KafkaUnavailable (KafkaTimeout where no answer came in time) or KafkaRefused. No error quotes a
record. Times are in seconds where a name does not say otherwise; without a timeout the client's own holds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from questream.settings import Settings

Isolation = Literal["read_committed", "read_uncommitted"]
# The remedy for a missing right.
GRANT = "grant it with an ACL"


class Partition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


Offsets = Mapping[Partition, int]


class NextOffset(int):
    """The offset that a group reads next, with the metadata that stay with it in Kafka."""

    metadata: str = ""

    def __new__(cls, offset: int, metadata: str) -> NextOffset:
        """`offset`, as an int in all else."""
        self = super().__new__(cls, offset)
        self.metadata = metadata
        return self


class Message(Protocol):
    """A record as a consumer hands it out; `timestamp` in milliseconds since the epoch.

    The value is an Unread where it would have taken more memory than the consumer may use.
    """

    @property
    def topic(self) -> str: ...
    @property
    def partition(self) -> int: ...
    @property
    def offset(self) -> int: ...
    @property
    def timestamp(self) -> int: ...
    @property
    def key(self) -> bytes | None: ...
    @property
    def value(self) -> bytes | None: ...
    @property
    def headers(self) -> Sequence[tuple[str, bytes | None]]: ...


class GroupMetadata(Protocol):
    """A consumer's membership in its group, for the Producer of the same adapter, which is fenced by it."""

    @property
    def generation_id(self) -> int:
        """Another with each rebalance; negative while the consumer is no member."""


class RebalanceListener(Protocol):
    """Is called at rebalances, on any thread; it must not block."""

    def revoked(self) -> None:
        """Partitions are being given away."""

    def lost(self) -> None:
        """The membership is gone, and the partitions are another member's by now."""

    def assigned(self) -> None:
        """The consumer has joined; `Consumer.assignment` says with which partitions."""


class Consumer(Protocol):
    """Reads partitions, those of a group or those that it is assigned by hand; for one thread.

    It commits by hand, creates no topic, and begins a partition without a position at its beginning. A record that
    cannot be read raises KafkaUnavailable with its place.
    """

    def subscribe(self, topic: str, listener: RebalanceListener) -> None:
        """Join the group for this topic; the joining itself is done while polling."""

    def assign(self, partitions: Collection[Partition]) -> None:
        """Read these partitions and no others, without the group."""

    def assignment(self) -> set[Partition]:
        """The partitions that are read."""

    def group_metadata(self) -> GroupMetadata:
        """The membership of this moment."""

    def partitions(self, topic: str) -> list[Partition]:
        """The partitions of a topic in their order; none where it does not exist or may not be seen."""

    def poll(self, timeout: float, max_records: int | None = None) -> dict[Partition, list[Message]]:
        """The records that came, in the order of each partition; may end early with a bounded number of bytes."""

    def others_wait(self, partitions: Collection[Partition]) -> bool:
        """True if the last poll may have left records of others than these behind, but for paused ones."""

    def seek(self, partition: Partition, offset: int) -> None:
        """Read on from this offset."""

    def position(self, partition: Partition, timeout: float | None = None) -> int | None:
        """The offset that is read next; None where it is not known in time."""

    def pause(self, partitions: Collection[Partition]) -> None:
        """Hand out nothing of these until they are resumed."""

    def resume(self, partitions: Collection[Partition]) -> None:
        """Hand them out again, from where they were paused."""

    def paused(self) -> set[Partition]:
        """The partitions that are paused."""

    def take_out_of_range(self) -> dict[Partition, int]:
        """Positions since the last call that the log had no record for, below its beginning or behind its end."""

    def beginning_offsets(
        self, partitions: Collection[Partition], timeout: float | None = None
    ) -> dict[Partition, int]:
        """The first offset that each partition retains."""

    def end_offsets(self, partitions: Collection[Partition], timeout: float | None = None) -> dict[Partition, int]:
        """The end of each partition for this reader: with read_committed before the first open transaction."""

    def log_end(self, partition: Partition) -> int | None:
        """The end of the log at the last fetch, open transactions included; None before the first."""

    def offset_at(self, partition: Partition, timestamp_ms: int, timeout: float | None = None) -> int | None:
        """The first offset with that time or a later one, None where there is none."""

    def committed(self, partition: Partition, timeout: float | None = None) -> NextOffset | None:
        """The group's offset; a transaction that may move it is waited for."""

    def commit(self, offsets: Offsets, timeout: float | None = None) -> None:
        """Commit for the group. Raises Superseded if it has rebalanced."""

    def stream_identity(self, topic: str) -> str:
        """The identity of this group's reading of a topic: `<Kafka cluster>/<topic id>/<group>`.

        The broker is asked each time, for a topic can be made anew under its name; what the broker does not say is
        empty. Raises KafkaRefused without the right to see the topic, KafkaUnavailable where there is no such topic.
        """

    def close(self, timeout: float) -> None:
        """Leave the group; nothing is committed."""


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to publish; into the partition that its key leads to, where none is named.

    `timestamp_ms` is milliseconds since the epoch, the time of sending where it is None.
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None
    timestamp_ms: int | None = None


class Place(NamedTuple):
    """The place of a written record."""

    partition: int
    offset: int


# The result of sending a record; called once, on any thread, and must not block.
OnDelivery = Callable[[Place | Exception], None]


class Producer(Protocol):
    """Sends records, each once however often it is tried, and waits for all replicas; it creates no topic.

    One with a transactional id sends within transactions only. After a call of it failed it is of no more use but to be
    closed: the next one with its id ends what it left open.
    """

    def init_transactions(self) -> None:
        """Fence and end what an earlier producer with this transactional id left open."""

    def begin_transaction(self) -> None:
        """Begin a transaction."""

    def send(self, record: Outgoing, on_delivery: OnDelivery) -> None:
        """Send a record; its outcome comes before a `flush` returns, RecordsTooLarge where its topic refuses its size.

        Raises RecordsTooLarge, and sends nothing, if it is longer than the client sends.
        """

    def send_offsets(self, offsets: Offsets, group: GroupMetadata | str) -> None:
        """Commit offsets with the transaction.

        Raises Superseded if the group has rebalanced since, or the consumer is no member of it. A name in the place of
        a membership is a group without members, and not fenced.
        """

    def flush(self, timeout: float | None = None) -> None:
        """Wait until each record has its outcome. Raises KafkaTimeout."""

    def commit_transaction(self) -> None:
        """End the transaction: readers of committed records see all of it."""

    def abort_transaction(self) -> None:
        """End the transaction: readers of committed records see nothing of it."""

    def require_topic(self, topic: str) -> None:
        """Raise KafkaUnavailable unless the topic exists."""

    @property
    def held_back_seconds(self) -> float:
        """For how long a quota of the brokers lets this producer send nothing, from now on."""

    def close(self) -> None:
        """Let it go, with all that was not flushed or committed."""


@dataclass(frozen=True, slots=True)
class FoundTopic:
    """A topic as the broker has it; without rights to its configuration `configs` is empty."""

    name: str
    partitions: int
    replication_factor: int
    leaderless_partitions: int
    configs: dict[str, str]
    operations: frozenset[str] | None

    @property
    def max_message_bytes(self) -> int | None:
        """Longest record, in bytes, that the topic takes."""
        text = self.configs.get("max.message.bytes")
        return int(text) if text else None


class CreatedTopic(NamedTuple):
    """The result of creating a topic: its partitions where the broker reports them, or why it was not created."""

    partitions: int | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class Brokers:
    """The number of brokers of a cluster, and the version of Kafka whose protocol they speak.

    The version is None where the client keeps it to itself.
    """

    count: int
    version: tuple[int, ...] | None

    def __str__(self) -> str:
        protocol = "Kafka" if self.version is None else f"Kafka {'.'.join(map(str, self.version))} protocol"
        return f"{protocol}, {self.count} broker{'s' * (self.count != 1)}"


class Admin(Protocol):
    """Asks about topics and groups, and changes them."""

    def cluster_id(self) -> str:
        """The id of the Kafka cluster."""

    def brokers(self) -> Brokers:
        """The brokers of the cluster."""

    def find_topics(self, names: Sequence[str]) -> dict[str, FoundTopic]:
        """The topics that exist. Raises KafkaRefused if one may not be seen."""

    def broker_message_bytes(self) -> int | None:
        """Longest record that a topic takes by the broker's default; None where that may not be read."""

    def create_topic(
        self, name: str, partitions: int, replication_factor: int, configs: Mapping[str, str], *, dry_run: bool = False
    ) -> CreatedTopic:
        """Create a topic (-1: the broker's default), or only ask whether the broker would.

        Raises KafkaRefused without the right to.
        """

    def wait_for_topics(self, names: Sequence[str]) -> None:
        """Return once the topics can be used."""

    def delete_topics(self, names: Sequence[str]) -> None:
        """Delete the topics."""

    def delete_group(self, group_id: str) -> None:
        """Delete a group without members."""

    def may_use_group(self, group_id: str) -> bool | None:
        """True if the right to read as this group is there; None where the broker does not say."""

    def end_offsets(self, partitions: Collection[Partition], isolation: Isolation) -> dict[Partition, int]:
        """The ends of partitions for such a reader."""

    def newest_timestamp(self, partitions: Collection[Partition]) -> int:
        """The latest time of a record in any of them, in milliseconds since the epoch; negative where none has one."""

    def close(self) -> None:
        """Let the connections go."""


class Adapter(Protocol):
    """A client for Kafka. Whatever it makes is connected, or raises KafkaUnavailable or KafkaRefused with the cause.

    Raises SettingsError if `kafka.options` cannot be used.
    """

    def check_options(self, options: Mapping[str, Any]) -> None:
        """Raise SettingsError unless each of `kafka.options` is an option of the client that is left to the user."""

    def make_consumer(self, settings: Settings, client_id: str) -> Consumer:
        """A worker's consumer, in the group of the settings.

        Raises KafkaHungUp too where a broker closes the connection and does not say why.
        """

    def make_producer(
        self, settings: Settings, client_id: str, transactional_id: str | None = None, transaction_seconds: float = 0.0
    ) -> Producer:
        """A producer for a Publisher, which bounds its calls itself.

        The broker aborts its transactions after `kafka.transaction_timeout_seconds`, or `transaction_seconds` where
        that is longer.
        """

    def open_reader(
        self,
        settings: Settings,
        group_id: str | None = None,
        isolation: Isolation = "read_committed",
        fetch_wait: float | None = None,
    ) -> AbstractContextManager[Consumer]:
        """A consumer for partitions that are assigned by hand; `group_id` is the group whose offsets it asks for.

        `fetch_wait` is how long a broker may wait for records before it answers.
        """

    def open_producer(
        self,
        settings: Settings,
        transactional_id: str | None = None,
        linger: float | None = None,
        patience: float | None = None,
    ) -> AbstractContextManager[Producer]:
        """A producer for a command. What is not flushed or committed at the end is given up.

        `linger` is how long a record waits for others to go with it, `patience` how long it is tried.
        """

    def open_admin(self, settings: Settings) -> AbstractContextManager[Admin]:
        """An admin client for a command."""
