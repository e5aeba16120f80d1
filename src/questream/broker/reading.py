"""Reading a topic outside of the stream: from one of its ends, on and on or up to where it ends now."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Literal

from questream.broker.port import Consumer, Message, Partition
from questream.domain import Record, Source, Unread
from questream.errors import KafkaRefused, KafkaTimeout, KafkaUnavailable
from questream.records.fingerprint import fingerprint

_POLL_SECONDS = 0.2
_DENIAL_SECONDS = 2.0
_STANDSTILL_SECONDS = 15.0
_LOOKUP_SECONDS = 5.0
_LOOK_AGAIN_SECONDS = 1.0
_REACH_SECONDS = 1.0


def record_of(message: Message, stream: str = "") -> Record:
    """A message of a consumer as a record; `stream` as in Source."""
    source = Source(message.topic, message.partition, message.offset, message.timestamp, stream)
    return Record(source, message.key, message.value, tuple(message.headers))


def partitions_of(consumer: Consumer, topic: str) -> list[Partition]:
    """The partitions of a topic.

    Raises KafkaRefused if it may not be read, KafkaUnavailable if it does not exist.
    """
    partitions = consumer.partitions(topic)
    if not partitions:
        # A topic that may not be seen has no partitions either; only a question about one of them is denied.
        with suppress(KafkaTimeout):
            consumer.end_offsets([Partition(topic, 0)], _DENIAL_SECONDS)
        raise KafkaUnavailable(f"topic {topic} does not exist", "create it with: questream topics create")
    return partitions


def start_at(consumer: Consumer, topic: str, end: Literal["beginning", "end"]) -> int:
    """Assign all partitions of a topic, at one end of each; returns how many there are.

    What is written after the return is read. Raises KafkaUnavailable if the topic does not exist.
    """
    partitions = partitions_of(consumer, topic)
    consumer.assign(partitions)
    offsets = consumer.end_offsets(partitions) if end == "end" else consumer.beginning_offsets(partitions)
    for partition, offset in offsets.items():
        consumer.seek(partition, offset)
    return len(partitions)


class RecordLookup:
    """Reads single records of a topic again, by their places; the consumer is its own from then on."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer
        self._next: tuple[Partition, int] | None = None

    def find(self, topic: str, partition: int, offset: int) -> Record | None:
        """The record at this place, None where the topic holds it no longer or does not hold it within seconds."""
        at = Partition(topic, partition)
        if self._next != (at, offset):
            # Places that follow each other are read on; all else is jumped to.
            self._consumer.assign([at])
            if not self._consumer.beginning_offsets([at])[at] <= offset < self._consumer.end_offsets([at])[at]:
                self._next = None
                return None
            self._consumer.seek(at, offset)
        self._next = None
        deadline = time.monotonic() + _LOOKUP_SECONDS
        while time.monotonic() < deadline:
            for messages in self._consumer.poll(_POLL_SECONDS, max_records=1).values():
                self._next = (at, messages[0].offset + 1)
                return record_of(messages[0]) if messages[0].offset == offset else None
        return None


class RecordCheck:
    """Checks that records are still at their places.

    Its reader is opened for the first check. It reads uncommitted records too: what a reader of committed ones sees
    ends before an open transaction. A broker has `answer_seconds` to name an end.
    """

    def __init__(self, open_reader: Callable[[], AbstractContextManager[Consumer]], answer_seconds: float) -> None:
        self._open_reader = open_reader
        self._answer_seconds = answer_seconds
        self._opened = ExitStack()
        self._consumer: Consumer | None = None

    def ends_before(self, partition: Partition, offset: int) -> bool:
        """True if a partition surely ends before this offset.

        A new leader, which may know of its end a moment late, is asked twice. What can be read counts for more than the
        end that is named: Tansu names one that lies within the last batch.
        """
        reader = self._reader()
        for pause_seconds in (_LOOK_AGAIN_SECONDS, 0.0):
            end = reader.end_offsets([partition], self._answer_seconds)[partition]
            if offset <= end or _reaches(reader, partition, offset):
                return False
            time.sleep(pause_seconds)
        return True

    def is_another(self, topic: str, partition: int, offset: int, known: str) -> bool:
        """True if the record with the fingerprint `known`, empty where it is not known, has surely gone from its place:
        another is there, or the partition ends before it.
        """
        if self.ends_before(Partition(topic, partition), offset + 1):
            return True
        found = RecordLookup(self._reader()).find(topic, partition, offset)
        # One that was not unpacked may be any.
        if not known or found is None or isinstance(found.value, Unread):
            return False
        return fingerprint(found) != known

    def close(self) -> None:
        """Close the reader, if there is one."""
        self._opened.close()

    def _reader(self) -> Consumer:
        if self._consumer is None:
            self._consumer = self._opened.enter_context(self._open_reader())
        return self._consumer


def _reaches(reader: Consumer, partition: Partition, offset: int) -> bool:
    """True if there is a record or the mark of a transaction right before this offset, or one behind it."""
    reader.assign([partition])
    reader.seek(partition, offset - 1)
    reader.take_out_of_range()
    deadline = time.monotonic() + _REACH_SECONDS
    while time.monotonic() < deadline:
        reader.poll(_POLL_SECONDS, max_records=1)
        if reader.take_out_of_range():
            return False
        if (reader.position(partition) or 0) >= offset:
            return True
    return False


def start_before_end(consumer: Consumer, topic: str, records: int) -> None:
    """Assign all partitions of a topic, so many offsets before the end of each.

    Raises KafkaUnavailable if the topic does not exist.
    """
    partitions = partitions_of(consumer, topic)
    consumer.assign(partitions)
    starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
    for partition in partitions:
        consumer.seek(partition, max(starts[partition], ends[partition] - records))


def follow(consumer: Consumer) -> Iterator[Message]:
    """The records of the assigned partitions as they come, for ever."""
    while True:
        for messages in consumer.poll(_POLL_SECONDS).values():
            yield from messages


def read_to_end(consumer: Consumer) -> Iterator[Message]:
    """The records of the assigned partitions from their positions up to where the topic ends now.

    Raises KafkaUnavailable if that end is not reached: the broker fails, or a transaction is open before it.
    """
    yield from read_up_to(consumer, consumer.end_offsets(list(consumer.assignment())))


def all_read(messages: Iterable[Message]) -> Iterator[Message]:
    """The messages of a topic that questream itself writes, of which none may be left out.

    Raises KafkaRefused where one was not read, since its compressed batch unpacks to too much.
    """
    for message in messages:
        if isinstance(message.value, Unread):
            raise KafkaRefused(
                f"a record (topic {message.topic}, partition {message.partition}, offset {message.offset}) is in a "
                "compressed batch that unpacks to more than kafka.max_unpacked_bytes",
                "raise that",
            )
        yield message


def read_up_to(
    consumer: Consumer,
    ends: Mapping[Partition, int],
    standstill_seconds: float = _STANDSTILL_SECONDS,
    given_up: Callable[[], bool] = lambda: False,
) -> Iterator[Message]:
    """The records of the assigned partitions from their positions up to `ends`.

    Raises KafkaUnavailable if the ends are not reached: nothing was read for `standstill_seconds`, as before an open
    transaction, or reading was `given_up`.
    """
    positions = {partition: consumer.position(partition) or 0 for partition in ends}
    moved_at = time.monotonic()
    while any(positions[partition] < end for partition, end in ends.items()):
        for partition, messages in consumer.poll(_POLL_SECONDS).items():
            yield from (message for message in messages if message.offset < ends[partition])
        # Not the records' offsets: the markers of transactions take offsets too, and no record passes them.
        before, positions = positions, {partition: consumer.position(partition) or 0 for partition in ends}
        if positions != before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > standstill_seconds:
            raise KafkaUnavailable(
                f"nothing was read for {standstill_seconds:.0f} s: the broker fails, or a transaction is open"
            )
        if given_up():
            raise KafkaUnavailable("reading was given up")
