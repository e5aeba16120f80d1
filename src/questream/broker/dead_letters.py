"""Dead letters: reading them, and sending them back to where they came from, each at most once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256

from questream.broker.deadline import Watchdog
from questream.broker.port import Consumer, Message, NextOffset, Outgoing, Partition, Producer
from questream.broker.publisher import Sent
from questream.broker.reading import all_read, partitions_of, read_to_end, read_up_to
from questream.domain import Unread, count_bytes
from questream.errors import BadRecord, QuestreamError
from questream.records import (
    Origin,
    Reference,
    dead_letter_origin,
    dead_letter_reference,
    strip_dead_letter_headers,
)

# Kafka keeps at most 4096 bytes of metadata with an offset (offset.metadata.max.bytes).
_MOST_METADATA_BYTES = 4000
_TRANSACTION_RECORDS = 500
# Letters by reference bring what was too large for the dead-letter topic.
_TRANSACTION_BYTES = 16 * 1024 * 1024
# kafka-python hashes a key in Python: such a record goes back into the partition that it came from.
_LONG_KEY_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record of the dead-letter topic; `origin` is None where its headers do not say.

    With a `reference` it has no value of its own: the record is at its origin for as long as that is retained.
    `timestamp` in milliseconds since the epoch.
    """

    partition: int
    offset: int
    timestamp: int
    origin: Origin | None
    stage: str
    error: str
    reason: str
    attempts: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    reference: Reference | None = None

    @property
    def byte_count(self) -> int:
        """Bytes of key, value and header values."""
        return count_bytes(self.key, self.value, self.headers)


@dataclass(slots=True)
class Replayed:
    """The settled offsets of a partition: all below `below`, and the ranges [first, last] above it."""

    below: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def __contains__(self, offset: int) -> bool:
        return offset < self.below or any(first <= offset <= last for first, last in self.ranges)

    def add(self, first: int, last: int) -> None:
        """The offsets from `first` to `last`, both included, are settled."""
        if last < first:
            return
        merged: list[tuple[int, int]] = []
        for start, end in sorted([*self.ranges, (first, last)]):
            if merged and start <= merged[-1][1] + 1:
                merged[-1] = (merged[-1][0], max(merged[-1][1], end))
            else:
                merged.append((start, end))
        while merged and merged[0][0] <= self.below:
            self.below = max(self.below, merged.pop(0)[1] + 1)
        self.ranges = merged

    def encode(self) -> str:
        """The ranges as metadata of the committed offset: `17-19,23-23`.

        Raises QuestreamError if Kafka would not take so many.
        """
        text = ",".join(f"{first}-{last}" for first, last in self.ranges)
        if len(text) > _MOST_METADATA_BYTES:
            raise QuestreamError(
                "too many dead letters would be left out between those to replay", "replay some of the others first"
            )
        return text

    @classmethod
    def decode(cls, committed: NextOffset | None) -> Replayed:
        """The committed state; nothing is settled where nothing was committed, or where the metadata are not ours."""
        if committed is None:
            return cls()
        replayed = cls(committed)
        for part in committed.metadata.split(","):
            first, dash, last = part.partition("-")
            if dash and first.isdigit() and last.isdigit():
                replayed.add(int(first), int(last))
        return replayed


@dataclass(slots=True)
class ReplayCount:
    """The result of a replay: how many were sent, and how many were left for each reason."""

    sent: int = 0
    other_reason: int = 0
    other_topic: int = 0
    no_origin: int = 0
    gone: int = 0
    too_large: int = 0


def replay_group(group_id: str) -> str:
    """The consumer group whose offsets say what was replayed; also the transactional id of the replay."""
    return f"{group_id}.dead-letter-replay"


def read_dead_letters(consumer: Consumer) -> Iterator[DeadLetter]:
    """The dead letters from the consumer's positions up to the present end of the topic.

    Raises KafkaRefused for a batch that unpacks to more than `kafka.max_unpacked_bytes`.
    """
    for message in all_read(read_to_end(consumer)):
        yield _to_dead_letter(message)


def begin(consumer: Consumer, topic: str) -> dict[int, Replayed]:
    """Assign the topic from its beginning; returns by partition what the consumer's group has settled."""
    partitions = partitions_of(consumer, topic)
    consumer.assign(partitions)
    settled = {}
    for partition, beginning in consumer.beginning_offsets(partitions).items():
        consumer.seek(partition, beginning)
        settled[partition.partition] = Replayed.decode(consumer.committed(partition))
    return settled


def select(
    letters: Iterator[DeadLetter],
    settled: Mapping[int, Replayed],
    input_topic: str,
    reason: str | None,
    count: ReplayCount,
) -> Iterator[DeadLetter]:
    """The dead letters to replay: not settled yet, from the input topic, and of the reason if one is given.

    What never can be replayed, and offsets that hold no record, are settled on the way.
    """
    reached = dict.fromkeys(settled, 0)
    for letter in letters:
        done = settled[letter.partition]
        done.add(reached[letter.partition], letter.offset - 1)
        reached[letter.partition] = letter.offset + 1
        if letter.offset in done:
            continue
        if letter.origin is None:
            count.no_origin += 1
            done.add(letter.offset, letter.offset)
        elif letter.origin.topic != input_topic:
            count.other_topic += 1
        elif reason is not None and letter.reason != reason:
            count.other_reason += 1
        else:
            yield letter


def with_originals(letters: Iterator[DeadLetter], reader: Consumer, count: ReplayCount) -> Iterator[DeadLetter]:
    """The letters; those by reference have the record at their origin.

    `reader` is a consumer without a group. A letter whose record is gone, or is another by now, is counted and stays;
    so does one whose batch still unpacks to more than the reader holds. A letter without a digest is taken at its word.
    """
    for letter in letters:
        if letter.reference is None or letter.origin is None:
            yield letter
            continue
        original = _read_at(reader, letter.origin)
        if original is not None and isinstance(original.value, Unread):
            count.too_large += 1
        elif original is None or not _is_of(letter.reference, original.value):
            count.gone += 1
        else:
            yield replace(letter, key=original.key, value=original.value, headers=list(original.headers))


def _is_of(reference: Reference, value: bytes | None) -> bool:
    return reference.sha256 is None or sha256(value or b"").hexdigest() == reference.sha256


def _read_at(reader: Consumer, origin: Origin) -> Message | None:
    """The record at a place, or None where there is none any more."""
    partition = Partition(origin.topic, origin.partition)
    if partition not in partitions_of(reader, origin.topic):
        return None
    reader.assign([partition])
    beginning, end = reader.beginning_offsets([partition])[partition], reader.end_offsets([partition])[partition]
    if not beginning <= origin.offset < end:
        return None
    reader.seek(partition, origin.offset)
    first = next(iter(read_up_to(reader, {partition: origin.offset + 1})), None)
    return first if first is not None and first.offset == origin.offset else None


def replay(
    letters: Iterator[DeadLetter],
    settled: dict[int, Replayed],
    topic: str,
    group: str,
    producer: Producer,
    deadline_seconds: float,
    on_sent: Callable[[int], None],
) -> None:
    """Send the letters back and note them as settled, so many or so large per Kafka transaction: all of it or nothing.

    `producer` is transactional and ready. A call that outlasts `deadline_seconds` ends the
    process.
    """
    watchdog = Watchdog()
    batch: list[DeadLetter] = []
    byte_count = 0
    try:
        for letter in letters:
            batch.append(letter)
            byte_count += letter.byte_count
            if len(batch) == _TRANSACTION_RECORDS or byte_count >= _TRANSACTION_BYTES:
                _send(batch, settled, topic, group, producer, watchdog, deadline_seconds)
                on_sent(len(batch))
                batch, byte_count = [], 0
        _send(batch, settled, topic, group, producer, watchdog, deadline_seconds)
        on_sent(len(batch))
    finally:
        watchdog.stop()


def _send(
    batch: list[DeadLetter],
    settled: dict[int, Replayed],
    topic: str,
    group: str,
    producer: Producer,
    watchdog: Watchdog,
    deadline_seconds: float,
) -> None:
    for letter in batch:
        settled[letter.partition].add(letter.offset, letter.offset)
    offsets = {
        Partition(topic, partition): NextOffset(done.below, done.encode()) for partition, done in settled.items()
    }
    sent = Sent()
    with watchdog.limit("replay", deadline_seconds):
        producer.begin_transaction()
        sent.send(producer, [_outgoing(letter) for letter in batch])
        producer.send_offsets(offsets, group)
        producer.commit_transaction()
        sent.require_all()


def _outgoing(letter: DeadLetter) -> Outgoing:
    assert letter.origin is not None  # noqa: S101 - `select` passes none without
    partition = letter.origin.partition if len(letter.key or b"") > _LONG_KEY_BYTES else None
    headers = strip_dead_letter_headers(letter.headers)
    return Outgoing(letter.origin.topic, letter.key, letter.value, headers, partition)


def _to_dead_letter(message: Message) -> DeadLetter:
    headers = {name: value.decode(errors="replace") for name, value in message.headers if value is not None}
    try:
        origin = dead_letter_origin(message.headers)
    except BadRecord:
        origin = None
    return DeadLetter(
        partition=message.partition,
        offset=message.offset,
        timestamp=message.timestamp,
        origin=origin,
        stage=headers.get("questream-stage", ""),
        error=headers.get("questream-error", ""),
        reason=headers.get("questream-reason", ""),
        attempts=headers.get("questream-attempts", ""),
        key=message.key,
        value=message.value,
        headers=list(message.headers),
        reference=dead_letter_reference(message.headers),
    )
