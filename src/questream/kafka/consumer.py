"""A consumer that no record stops: what Kafka takes and kafka-python 3.0.12 does not is read all the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.consumer.fetcher import Fetcher
from kafka.record.default_records import DefaultRecordBatch

from questream.errors import KafkaUnavailable


class RecordConsumer(KafkaConsumer):  # type: ignore[misc]  # kafka-python ships no types
    """A KafkaConsumer that reads headers whose names are not UTF-8, and timestamps that do not fit into 64 bits.

    `poll` raises CorruptRecordError with partition and offset, and nothing of their content, for records that cannot be
    read at all: damaged on disk or on the way. UnsupportedCodecError says that they are compressed in a way that this
    process has no package for.
    """

    def __init__(self, *topics: str, **config: Any) -> None:
        super().__init__(*topics, **config)
        self._fetcher.PartitionRecords = _PartitionRecords
        self._out_of_range: dict[TopicPartition, int] = {}
        self._reset = self._subscription.request_offset_reset
        self._subscription.request_offset_reset = self._note_reset

    def take_out_of_range(self) -> dict[TopicPartition, int]:
        """Positions that Kafka has no record for, since the last call: kafka-python moves on without a word."""
        taken, self._out_of_range = self._out_of_range, {}
        return taken

    def _note_reset(self, partition: TopicPartition, strategy: Any = None) -> None:
        at = self._subscription.assignment[partition].position
        if strategy is None and at is not None:
            self._out_of_range[partition] = at.offset
        self._reset(partition, strategy)

    def poll(self, timeout_ms: int = 0, max_records: int | None = None, update_offsets: bool = True) -> Any:
        """As KafkaConsumer's, and a partition that is resumed gives again what it had when it was paused."""
        # kafka-python takes up what it has put aside only where no partition is in line, and leaves one in line that is
        # through: the others would wait for as long as that one has news.
        if not self._fetcher._next_partition_records:
            self._fetcher._next_partition_records = None
        return super().poll(timeout_ms, max_records, update_offsets)

    def stream_identity(self, topic: str) -> str:
        """What tells this group's reading of a topic from any other: `<Kafka cluster>/<topic id>/<group>`.

        The broker is asked each time, for a topic can be made anew under its name; what a broker of before 2.8 does not
        tell is empty.
        Raises TopicAuthorizationFailedError without the right to see the topic, KafkaUnavailable where the broker knows
        none of that name: an identity with parts left out would be another's.
        """
        # To ask for all topics, which leaves out those that may not be seen, forgets that this one was refused.
        if topic in self._cluster.unauthorized_topics:
            raise kafka_errors.TopicAuthorizationFailedError({topic})
        if topic not in self.topics():
            raise KafkaUnavailable(f"the broker shows no topic {topic}")
        cluster_id, topic_id = self._cluster.cluster_id, self._cluster.topic_id(topic)
        return f"{cluster_id or ''}/{topic_id if topic_id and topic_id.int else ''}/{self.config['group_id']}"


class HeaderName(str):
    """A header's name that is not UTF-8: its undecodable bytes are surrogates, and `encode` gives them back."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = "surrogateescape") -> bytes:  # noqa: ARG002
        """The bytes that were read, whatever `errors` says: kafka-python's producer asks for strict UTF-8."""
        return super().encode(encoding, "surrogateescape")


class _PartitionRecords(Fetcher.PartitionRecords):  # type: ignore[misc]  # kafka-python ships no types
    def _unpack_records(self, tp: TopicPartition, records: Any, *deserializers: Any) -> Iterator[Any]:
        try:
            yield from super()._unpack_records(tp, _Batches(records), *deserializers)
        except (MemoryError, kafka_errors.UnsupportedCodecError):
            raise
        except Exception as error:
            # Each codec has an exception of its own, and the texts of some quote what they could not read.
            at = f"{type(error).__name__} in partition {tp.partition} at offset {self.next_fetch_offset}"
            raise kafka_errors.CorruptRecordError(at) from None


class _Batches:
    """kafka-python's batches of a fetch, with ours in place of its own where the format has headers."""

    def __init__(self, records: Any) -> None:
        self._records = records

    def next_batch(self) -> Any:
        batch = self._records.next_batch()
        if type(batch) is DefaultRecordBatch:
            # The same slots, another way to read them; made anew it would be copied once more.
            batch.__class__ = _Batch
        return batch


class _Batch(DefaultRecordBatch):  # type: ignore[misc]  # kafka-python ships no types
    __slots__ = ()

    def _read_msg(self) -> Any:
        try:
            record = super()._read_msg()
        except UnicodeDecodeError:
            # For the rest of the batch: one copy, not one for each such record.
            self._buffer = _LenientBuffer(self._buffer)  # type: ignore[misc, has-type]  # a slot of the base
            record = super()._read_msg()
        # A producer may send a sum that has no 64 bits; it wraps, as it does in Kafka's own clients.
        record._timestamp = (record._timestamp + 2**63) % 2**64 - 2**63
        return record


class _LenientBuffer(bytearray):
    """A buffer whose slices decode to a HeaderName where they are not UTF-8."""

    def __getitem__(self, at: Any) -> Any:
        found = super().__getitem__(at)
        return _LenientSlice(found) if isinstance(at, slice) else found


class _LenientSlice(bytearray):
    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        try:
            return super().decode(encoding, errors)
        except UnicodeDecodeError:
            return HeaderName(super().decode(encoding, "surrogateescape"))
