"""Where reading goes on: at the group's offsets, at what Kafka retains, past what holds no record."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Literal

from kafka import KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.structs import OffsetAndMetadata

from questream.errors import KafkaUnavailable
from questream.kafka.publisher import Offsets
from questream.metrics import Metrics

logger = logging.getLogger(__name__)

Beginning = Literal["earliest", "latest"]
_LOOK_AGAIN_SECONDS = 1.0
_FIRST_MEMBER_SECONDS = 10.0


class Positions:
    """The positions of a consumer in its group. All but `published` belongs to the consumer's thread.

    `begin_at` is where a group that stands nowhere in the topic begins; a partition that is new to a group which does
    stand there begins at its beginning, whatever that says.
    """

    def __init__(
        self, consumer: KafkaConsumer, topic: str, begin_at: Beginning, metrics: Metrics, answer_seconds: float
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._begin_at = begin_at
        self._metrics = metrics
        self._answer_ms = int(answer_seconds * 1000)
        self._taken: dict[TopicPartition, int] = {}
        self._done: dict[TopicPartition, int] = {}

    def rewind(self) -> None:
        """Start each assigned partition where the group stands; a transaction that may move it is waited for.

        kafka-python keeps the position of a partition that it is assigned again: what was fetched before and dropped
        would never be read.
        Raises KafkaUnavailable where the broker does not tell.
        """
        assigned = sorted(self._consumer.assignment())
        committed = {partition: self._committed(partition) for partition in assigned}
        new = [partition for partition, offset in committed.items() if offset is None]
        retained: dict[TopicPartition, int] = self._consumer.beginning_offsets(assigned, timeout_ms=self._answer_ms)
        first = self._first_offsets(new, retained) if new else {}
        self._taken, self._done = {}, {}
        moved = dict(first)
        for partition in assigned:
            start = first[partition] if partition in first else committed[partition]
            assert start is not None  # noqa: S101 - one that is None is new
            if partition not in first:
                start = self._readable(partition, start, retained[partition])
                if start != committed[partition]:
                    moved[partition] = start
            self._consumer.seek(partition, start)
            self._taken[partition] = self._done[partition] = start
        # Else whoever came next after a crash would begin at an end that has moved past what was read, or tell of the
        # same gap again.
        if moved:
            self.commit(moved)
        logger.info("partitions assigned", extra={"partitions": len(assigned)})

    def lost_by_retention(self, partition: TopicPartition, position: int) -> None:
        """While it was read, Kafka removed what lay at this position: go on with what is retained.

        Raises KafkaUnavailable where the position lies behind the end: the topic was truncated or made anew.
        """
        retained = self._consumer.beginning_offsets([partition], timeout_ms=self._answer_ms)[partition]
        if retained <= position:
            raise KafkaUnavailable(f"partition {partition.partition} ends before what was read of it")
        self._tell_gap(partition, position, retained)
        self._consumer.seek(partition, retained)

    def taken(self, ends: Mapping[TopicPartition, int]) -> None:
        """Records up to these offsets are on their way."""
        self._taken.update(ends)

    def published(self, offsets: Offsets) -> None:
        """What was taken is published up to these offsets, and they are committed; safe from any thread."""
        self._done.update({TopicPartition(*at): offset for at, offset in offsets.items()})

    def commit_past_markers(self, positions: Mapping[TopicPartition, int | None]) -> None:
        """Where nothing is on its way, commit positions past what holds no record: marks and aborted records of
        transactions, which outside tools would count as lag for ever.
        """
        moved = {
            partition: position
            for partition, position in positions.items()
            if position is not None and self._taken.get(partition) == self._done.get(partition, -1) < position
        }
        if moved and self.commit(moved):
            self._taken.update(moved)
            self._done.update(moved)

    def commit(self, offsets: Mapping[TopicPartition, int]) -> bool:
        """Commit, unless the group has rebalanced: whoever comes next begins where it stood."""
        try:
            self._consumer.commit(
                {partition: OffsetAndMetadata(offset, "", -1) for partition, offset in offsets.items()},
                timeout_ms=self._answer_ms,
            )
        except (kafka_errors.CommitFailedError, kafka_errors.RebalanceInProgressError):
            logger.info("offsets not committed: the group has rebalanced; the next owner publishes again")
            return False
        return True

    def _committed(self, partition: TopicPartition) -> int | None:
        offset: int | None = self._consumer.committed(partition, timeout_ms=self._answer_ms)
        return offset

    def _first_offsets(
        self, new: list[TopicPartition], retained: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, int]:
        """Where partitions begin that the group has not committed anything in."""
        if self._begin_at == "earliest" or self._group_stands_elsewhere(new):
            return {partition: retained[partition] for partition in new}
        all_of_topic = self._all_partitions()
        if min(all_of_topic) not in new:
            # Its owner commits an end for all partitions at once, so that one that is added later is known as such.
            return self._ends_by_first_member(new)
        ends: dict[TopicPartition, int] = self._consumer.end_offsets(all_of_topic, timeout_ms=self._answer_ms)
        self.commit(ends)
        return {partition: ends[partition] for partition in new}

    def _all_partitions(self) -> list[TopicPartition]:
        numbers = self._consumer.partitions_for_topic(self._topic) or ()
        return [TopicPartition(self._topic, number) for number in sorted(numbers)]

    def _group_stands_elsewhere(self, new: list[TopicPartition]) -> bool:
        others = (partition for partition in self._all_partitions() if partition not in new)
        return any(self._committed(partition) is not None for partition in others)

    def _ends_by_first_member(self, new: list[TopicPartition]) -> dict[TopicPartition, int]:
        deadline = time.monotonic() + _FIRST_MEMBER_SECONDS
        while True:
            committed = {partition: self._committed(partition) for partition in new}
            found = {partition: offset for partition, offset in committed.items() if offset is not None}
            if len(found) == len(new):
                return found
            if time.monotonic() > deadline:
                raise KafkaUnavailable("no worker has begun the group in this topic yet")
            time.sleep(0.1)

    def _readable(self, partition: TopicPartition, committed: int, retained: int) -> int:
        """The committed offset, or the first that is retained where that lies behind it."""
        if committed < retained:
            self._tell_gap(partition, committed, retained)
            return retained
        # A new leader may know of its end a moment late.
        for _ in range(2):
            if committed <= self._consumer.end_offsets([partition], timeout_ms=self._answer_ms)[partition]:
                return committed
            time.sleep(_LOOK_AGAIN_SECONDS)
        logger.warning(
            "the topic ends before the group's offset: it was truncated or made anew; it is read from its beginning",
            extra={"topic": partition.topic, "partition": partition.partition, "offset": committed},
        )
        return retained

    def _tell_gap(self, partition: TopicPartition, position: int, retained: int) -> None:
        self._metrics.missed.labels(partition.topic, partition.partition).inc(retained - position)
        logger.warning(
            "records were removed before they were read: retention is shorter than the lag",
            extra={
                "topic": partition.topic,
                "partition": partition.partition,
                "first_offset": position,
                "last_offset": retained - 1,
                "offsets": retained - position,
            },
        )
