"""What a run left behind: the records of its topics, the offsets of its group, and its clusters in Redis."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from tests.kit.checker.stored import Stored, read_stored

_STANDSTILL_SECONDS = 60.0

Place = tuple[int, int]
Headers = tuple[tuple[str, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A record as a topic holds it; `timestamp` in ms since the epoch."""

    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: Headers = ()

    @property
    def place(self) -> Place:
        """Partition and offset."""
        return self.partition, self.offset


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that the checks look at. Topics are in order of offset within each partition, committed records only.

    `input_begins` is the first offset that each partition of the input still holds, `committed` the group's offset.
    `stored` has the clusters of every namespace in Redis. `operations` and `corrections` are None where nobody looked.
    """

    input_topic: str
    input: list[Entry]
    input_begins: Mapping[int, int]
    output: list[Entry]
    dead_letters: list[Entry]
    cluster_states: list[Entry]
    committed: Mapping[int, int]
    stored: Mapping[str, Stored]
    operations: list[Entry] | None = None
    corrections: list[Entry] | None = None


def collect(
    bootstrap_servers: str,
    redis_client_or_url: Any,
    group_id: str,
    input_topic: str,
    output_topic: str,
    cluster_topic: str,
    dead_letter_topic: str,
    *,
    operation_topic: str | None = None,
    correction_topic: str | None = None,
    kafka_options: Mapping[str, Any] | None = None,
) -> Evidence:
    """Read everything, up to where it ends now.

    `redis_client_or_url` is a client that answers bytes, or a URL; `kafka_options` are further settings of consumers,
    such as those of security. Raises TimeoutError if a topic's end does not come within reach: a transaction is open.
    """
    options = {"bootstrap_servers": bootstrap_servers, "enable_auto_commit": False, **(kafka_options or {})}
    topics = (input_topic, output_topic, dead_letter_topic, cluster_topic)
    others = [topic for topic in (operation_topic, correction_topic) if topic is not None]
    ends = _read_ends(options, (*topics, *others))
    consumer = KafkaConsumer(
        isolation_level="read_committed", auto_offset_reset="earliest", fetch_max_wait_ms=50, **options
    )
    try:
        asked, output, dead_letters, cluster_states = (_read(consumer, topic, ends) for topic in topics)
        operations, corrections = (
            None if topic is None else _read(consumer, topic, ends) for topic in (operation_topic, correction_topic)
        )
        begins = consumer.beginning_offsets(_partitions(consumer, input_topic))
    finally:
        consumer.close(autocommit=False)
    return Evidence(
        input_topic=input_topic,
        input=asked,
        input_begins={partition.partition: offset for partition, offset in begins.items()},
        output=output,
        dead_letters=dead_letters,
        cluster_states=cluster_states,
        committed=_read_committed_offsets(options, group_id, input_topic),
        stored=read_stored(redis_client_or_url),
        operations=operations,
        corrections=corrections,
    )


def _partitions(consumer: KafkaConsumer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in sorted(consumer.partitions_for_topic(topic) or ())]


def _read_ends(options: Mapping[str, Any], topics: Iterable[str]) -> dict[TopicPartition, int]:
    """Where the partitions end, open transactions included: what was committed behind one is hidden until it ends."""
    consumer = KafkaConsumer(isolation_level="read_uncommitted", **options)
    try:
        ends: dict[TopicPartition, int] = {}
        for topic in topics:
            ends |= consumer.end_offsets(_partitions(consumer, topic))
        return ends
    finally:
        consumer.close(autocommit=False)


def _read(consumer: KafkaConsumer, topic: str, all_ends: Mapping[TopicPartition, int]) -> list[Entry]:
    partitions = _partitions(consumer, topic)
    consumer.assign(partitions)
    ends = {partition: all_ends[partition] for partition in partitions}
    consumer.seek_to_beginning(*partitions)
    entries: list[Entry] = []
    positions: dict[TopicPartition, int] = {}
    moved_at = time.monotonic()
    # Positions and not offsets: the markers of transactions take offsets too, and no record passes them.
    while any(consumer.position(partition) < end for partition, end in ends.items()):
        for messages in consumer.poll(timeout_ms=200).values():
            entries += [
                Entry(m.partition, m.offset, m.timestamp, m.key, m.value, tuple(m.headers))
                for m in messages
                if m.offset < ends[TopicPartition(topic, m.partition)]
            ]
        before, positions = positions, {partition: consumer.position(partition) for partition in ends}
        if positions != before:
            moved_at = time.monotonic()
        elif time.monotonic() - moved_at > _STANDSTILL_SECONDS:
            raise TimeoutError(f"the end of topic {topic} is not in reach")
    return sorted(entries, key=lambda entry: entry.place)


def _read_committed_offsets(options: Mapping[str, Any], group_id: str, topic: str) -> dict[int, int]:
    consumer = KafkaConsumer(group_id=group_id, **options)
    try:
        found = {p.partition: consumer.committed(p) for p in _partitions(consumer, topic)}
        return {partition: offset for partition, offset in found.items() if offset is not None}
    finally:
        consumer.close(autocommit=False)
