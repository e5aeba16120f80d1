"""Publish a batch and its offsets: in one transaction, or offsets after the acknowledgement."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from kafka import KafkaProducer, TopicPartition
from kafka import errors as kafka_errors
from kafka.producer import record_accumulator
from kafka.record.memory_records import MemoryRecordsBuilder
from kafka.serializer import Serializer
from kafka.structs import OffsetAndMetadata

from questream.broker.deadline import GuardedCall, Watchdog
from questream.broker.kafka_python.failures import refusal_of
from questream.broker.kafka_python.sender import mend_senders
from questream.broker.quota import held_back_seconds
from questream.errors import (
    KafkaRefused,
    KafkaUnavailable,
    QuestreamError,
    RecordsTooLarge,
    RecoveryNeeded,
    StoreUnavailable,
    Superseded,
)

logger = logging.getLogger(__name__)

mend_senders()

_SUPERSEDED = (
    kafka_errors.CommitFailedError,
    kafka_errors.IllegalGenerationError,
    kafka_errors.UnknownMemberIdError,
    kafka_errors.RebalanceInProgressError,
    kafka_errors.FencedInstanceIdError,
)
_TOO_LARGE = (kafka_errors.MessageSizeTooLargeError, kafka_errors.RecordListTooLargeError)


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A record to publish; into the partition that its key leads to, where none is named."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]] = ()
    partition: int | None = None


Offsets = Mapping[tuple[str, int], int]


class NextOffset(int):
    """An offset to commit, with the metadata that stays with it in Kafka."""

    metadata: str = ""

    def __new__(cls, offset: int, metadata: str) -> NextOffset:
        """`offset`, as an int in all else."""
        self = super().__new__(cls, offset)
        self.metadata = metadata
        return self


def with_metadata(offset: int) -> OffsetAndMetadata:
    """What kafka-python commits."""
    return OffsetAndMetadata(offset, offset.metadata if isinstance(offset, NextOffset) else "", -1)


class Publisher(Protocol):
    """Publishes batches. Both kinds pass tests/contract/test_publisher.py."""

    def start(self) -> None:
        """Be ready to publish, with nothing left open by an earlier producer of this worker.

        Raises KafkaUnavailable or KafkaRefused.
        """

    def publish(
        self, records: Sequence[Outgoing], offsets: Offsets, membership: Any, verify_before_commit: Callable[[], None]
    ) -> Offsets:
        """Publish the records and commit the offsets (next to read, by topic and partition).

        `still_stands` raises where what the records rest on is gone; it is asked as late as the delivery allows, and
        nothing counts as published then. Returns once all records are acknowledged, with the offsets that are committed
        by then.
        Raises Superseded if the partitions are another worker's by now, KafkaUnavailable if the broker failed (what was
        published is unknown: start anew from the committed offsets), KafkaRefused if it never will, RecordsTooLarge
        with the place of a record that its topic does not take.
        """

    @property
    def held_seconds(self) -> float:
        """For how long a quota of the broker held the last publication back."""

    def close(self) -> None:
        """Let the producer go."""


class _Guarded:
    """Remembers its last call: `held_seconds` of a Publisher."""

    _call: GuardedCall | None = None

    @property
    def held_seconds(self) -> float:
        return 0.0 if self._call is None else self._call.held_seconds


class TransactionalPublisher(_Guarded):
    """Records and offsets in one Kafka transaction: a read_committed reader sees each exactly once.

    `make_producer` builds a producer with a transactional id; `deadline_seconds` bounds each step.
    """

    def __init__(self, make_producer: Callable[[], KafkaProducer], watchdog: Watchdog, deadline_seconds: float) -> None:
        self._make_producer = make_producer
        self._watchdog = watchdog
        self._deadline_seconds = deadline_seconds
        self._producer: KafkaProducer | None = None

    def start(self) -> None:
        try:
            self._ready_producer()
        except Exception as error:
            self._discard()
            raise _translate(error) from error

    def publish(
        self, records: Sequence[Outgoing], offsets: Offsets, membership: Any, verify_before_commit: Callable[[], None]
    ) -> Offsets:
        sent, self._call = _Sent(), None
        try:
            producer = self._ready_producer()
            held_back = partial(held_back_seconds, producer)
            with self._watchdog.limit("transaction", self._deadline_seconds, held_back) as self._call:
                producer.begin_transaction()
                sent.send(producer, records)
                if offsets:
                    producer.send_offsets_to_transaction(_kafka_offsets(offsets), membership)
                _flush(producer, self._call, self._deadline_seconds / 3)
                sent.require_all()
                # Only now: whoever finds the store's memory gone after this sees these records in the log, and waits
                # for what becomes of them.
                verify_before_commit()
                producer.commit_transaction()
        except Exception as error:
            # After a failed offset commit and an abort, kafka-python commits the old offsets with the next transaction:
            # a producer that failed once is never used again. Its transaction is aborted by the next one's start.
            self._discard()
            translated = sent.too_large or _translate(error)
            if isinstance(translated, Superseded | RecoveryNeeded | StoreUnavailable):
                # The broker is well: abort now, or readers of committed records wait until the transaction times out.
                self.start()
            if isinstance(translated, KafkaRefused):
                # The same; but what is told is why it refused, not that it refuses again.
                with suppress(QuestreamError):
                    self.start()
            raise translated from error
        return offsets

    def close(self) -> None:
        self._discard()

    def _ready_producer(self) -> KafkaProducer:
        if self._producer is None:
            with self._watchdog.limit("init_transactions", self._deadline_seconds):
                self._producer = self._make_producer()
                self._producer.init_transactions()
        return self._producer

    def _discard(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            _close_aside(producer)


class AtLeastOncePublisher(_Guarded):
    """Records first, then offsets: after a crash a record may be published again, with the same cluster id.

    `commit_offsets` is called once all records are acknowledged; it answers what is committed by now.
    """

    def __init__(
        self,
        make_producer: Callable[[], KafkaProducer],
        commit_offsets: Callable[[Offsets, Any], Offsets],
        watchdog: Watchdog,
        deadline_seconds: float,
    ) -> None:
        self._make_producer = make_producer
        self._commit_offsets = commit_offsets
        self._watchdog = watchdog
        self._deadline_seconds = deadline_seconds
        self._producer: KafkaProducer | None = None

    def start(self) -> None:
        try:
            if self._producer is None:
                self._producer = self._make_producer()
        except Exception as error:
            raise _translate(error) from error

    def publish(
        self, records: Sequence[Outgoing], offsets: Offsets, membership: Any, verify_before_commit: Callable[[], None]
    ) -> Offsets:
        sent, self._call = _Sent(), None
        try:
            self.start()
            producer = self._producer
            held_back = partial(held_back_seconds, producer)
            with self._watchdog.limit("publish", self._deadline_seconds, held_back) as self._call:
                verify_before_commit()
                sent.send(producer, records)
                _flush(producer, self._call, self._deadline_seconds / 3)
                sent.require_all()
                # Again, since only now the records have their place; without their offsets they are sent anew.
                verify_before_commit()
                return self._commit_offsets(offsets, membership) if offsets else {}
        except Exception as error:
            self.close()
            raise sent.too_large or _translate(error) from error

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            _close_aside(producer)


class _Null(bytes):
    """The kind of `NULL`."""


# Stands for null where kafka-python refuses None: as a header's value, and as a key beside a null value.
NULL = _Null()


class KeySerializer(Serializer):  # type: ignore[misc]  # kafka-python ships no types
    """The `key_serializer` of a producer for `send`."""

    def serialize(self, topic: str, headers: Any, data: Any) -> bytes | None:  # noqa: ARG002 - the serializer's signature
        """The key's bytes, or None."""
        return None if isinstance(data, _Null) else data


class _RecordsBuilder(MemoryRecordsBuilder):  # type: ignore[misc]  # kafka-python ships no types
    """Writes `NULL` as null."""

    __slots__ = ()

    def append(self, timestamp: Any, key: Any, value: Any, headers: Any = ()) -> Any:
        values = [(name, None if isinstance(header, _Null) else header) for name, header in headers]
        return super().append(timestamp, key, value, values)


# All that leads here asks each value for its length; a producer offers no other place to say null.
record_accumulator.MemoryRecordsBuilder = _RecordsBuilder


def send(producer: KafkaProducer, record: Outgoing) -> Any:
    """Send a record, whatever of it is null; returns kafka-python's future."""
    key = NULL if record.key is None and record.value is None else record.key
    headers = [(name, NULL if value is None else value) for name, value in record.headers]
    return producer.send(record.topic, value=record.value, key=key, headers=headers, partition=record.partition)


def _flush(producer: KafkaProducer, call: GuardedCall, spare_seconds: float) -> None:
    """Wait until all is acknowledged; gives up while the call has `spare_seconds` left to fail in, and say why.

    Not by the producer's own limit of a delivery, which counts the time that a quota holds it back.
    """
    while True:
        try:
            producer.flush(timeout=max(0.0, call.left_seconds - spare_seconds))
        except kafka_errors.KafkaTimeoutError:
            if call.left_seconds <= spare_seconds:
                raise
        else:
            return


class _Sent:
    """The records of one call: their futures, and which of them failed first."""

    def __init__(self) -> None:
        self.futures: list[Any] = []
        self._failed: list[tuple[int, BaseException]] = []

    def send(self, producer: KafkaProducer, records: Sequence[Outgoing]) -> None:
        """Send the records in their order."""
        for at, record in enumerate(records):
            future = send(producer, record)
            future.add_errback(lambda error, at=at: self._failed.append((at, error)))
            self.futures.append(future)

    def require_all(self) -> None:
        """Raise the error of a record that was not acknowledged."""
        for future in self.futures:
            future.get(timeout=0)

    @property
    def too_large(self) -> RecordsTooLarge | None:
        """The error where a topic did not take a record for its size, whatever the call failed with.

        kafka-python ends all others with the error of the first that is refused: only that one is told.
        """
        at, error = self._failed[0] if self._failed else (0, None)
        return RecordsTooLarge([at]) if isinstance(error, _TOO_LARGE) else None


def _kafka_offsets(offsets: Offsets) -> dict[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(*at): with_metadata(offset) for at, offset in offsets.items()}


def _translate(error: Exception) -> QuestreamError | Exception:
    if isinstance(error, QuestreamError):
        return error
    if isinstance(error, _SUPERSEDED):
        return Superseded(f"another worker has the partitions: {type(error).__name__}")
    refusal = refusal_of(error, "WRITE")
    if refusal is not None:
        return refusal
    if isinstance(error, kafka_errors.KafkaError | OSError | TimeoutError):
        return KafkaUnavailable(f"publishing failed: {type(error).__name__}")
    return error


def _close_aside(producer: KafkaProducer) -> None:
    """Close in a thread of its own: a producer whose broker is gone may never come back from it."""
    threading.Thread(target=_close_quietly, args=(producer,), name="producer-close", daemon=True).start()


def _close_quietly(producer: KafkaProducer) -> None:
    try:
        producer.close(timeout=0)
    except Exception as error:  # whatever it is, the producer is of no use any more
        logger.debug("closing a producer failed", extra={"error": type(error).__name__})
