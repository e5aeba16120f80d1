"""The positions to read on from: the group's offsets, the first retained ones, past offsets without a record."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Literal

from questream.broker.port import Consumer, Message, NextOffset, Offsets, Partition
from questream.broker.reading import RecordCheck, record_of
from questream.errors import KafkaUnavailable, Superseded
from questream.metrics import Metrics
from questream.records.fingerprint import LastRecord

logger = logging.getLogger(__name__)

Beginning = Literal["earliest", "latest"]
_FIRST_MEMBER_SECONDS = 10.0


class Positions:
    """The positions of a consumer in its group. They belong to the consumer's thread.

    `begin_at` is the first position of a group without offsets in the topic; a partition that is new to another group
    begins at its beginning, whatever that says.

    A log that lost records (an unclean election, a disk, a restored backup) gives their offsets to others. It is known
    by its end, which lies before the group's offset, or by the record before that offset, which is another than the
    offset's metadata names. Then it is read from its beginning, and `on_replaced` gets the offset from which on its
    records are newer than what was decided last.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        begin_at: Beginning,
        metrics: Metrics,
        answer_seconds: float,
        check: RecordCheck,
        on_replaced: Callable[[Partition, int], None],
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._begin_at = begin_at
        self._metrics = metrics
        self._answer_seconds = answer_seconds
        self._check = check
        self._taken: dict[Partition, int] = {}
        self._done: dict[Partition, int] = {}
        self._on_replaced = on_replaced
        self._last: dict[Partition, tuple[int, LastRecord]] = {}

    def rewind(self) -> None:
        """Start each assigned partition at the group's offset; a transaction that may move it is waited for.

        kafka-python keeps the position of a partition that it is assigned again: what was fetched before and dropped
        would never be read.
        Raises KafkaUnavailable where the broker does not answer.
        """
        assigned = sorted(self._consumer.assignment())
        committed = {partition: self._committed(partition) for partition in assigned}
        new = [partition for partition, at in committed.items() if at is None]
        retained = self._consumer.beginning_offsets(assigned, self._answer_seconds)
        ends = self._consumer.end_offsets(assigned, self._answer_seconds)
        moved = self._first_offsets(new, retained) if new else {}
        self._taken, self._done, self._last = {}, {}, {}
        for partition in assigned:
            at = committed[partition]
            if at is None:
                start = moved[partition]
            else:
                last = LastRecord.parse(at.metadata)
                start = self._readable(partition, at, last, retained[partition], ends[partition])
                if start != at:
                    moved[partition] = start
                elif last is not None and start > retained[partition]:
                    self._last[partition] = (start, last)
            # The record before it is read once more, and compared.
            self._consumer.seek(partition, start - (partition in self._last))
            self._taken[partition] = self._done[partition] = start
        # Else the next worker after a crash would begin at an end that has moved past what was read, or report the same
        # gap again.
        if moved:
            self.commit(moved)
        logger.info("partitions assigned", extra={"partitions": len(assigned)})

    def without_last(self, fetched: Mapping[Partition, list[Message]]) -> dict[Partition, list[Message]]:
        """The fetched records, without those before the group's offsets.

        Of a partition with another record there than was decided last it has nothing: that is read from its
        beginning.
        """
        kept = dict(fetched)
        for partition in fetched.keys() & self._last.keys():
            offset, last = self._last.pop(partition)
            found = fetched[partition][0]
            # At a transaction's mark there is no record to compare.
            if found.offset >= offset:
                continue
            kept[partition] = fetched[partition][1:]
            if LastRecord.of(record_of(found)) not in (None, last):
                kept[partition] = []
                (start,) = self._consumer.beginning_offsets([partition], self._answer_seconds).values()
                self._replaced(partition, offset, last)
                self._consumer.seek(partition, start)
                self._taken[partition] = self._done[partition] = start
                self.commit({partition: start})
        return {partition: records for partition, records in kept.items() if records}

    def lost_by_retention(self, partition: Partition, position: int) -> None:
        """While it was read, Kafka removed what lay at this position: go on with what is retained.

        Raises KafkaUnavailable where the position lies behind the end: the topic was truncated or made anew.
        """
        retained = self._consumer.beginning_offsets([partition], self._answer_seconds)[partition]
        if retained <= position:
            raise KafkaUnavailable(f"partition {partition.partition} ends before what was read of it")
        self._report_gap(partition, position, retained)
        self._consumer.seek(partition, retained)

    def taken(self, ends: Mapping[Partition, int]) -> None:
        """Records up to these offsets are on their way."""
        self._taken.update(ends)

    def published(self, offsets: Offsets) -> None:
        """Note that records are published up to these offsets, and that these are committed."""
        for partition, offset in offsets.items():
            self._done[partition] = max(offset, self._done.get(partition, -1))

    def commit_past_markers(self, positions: Mapping[Partition, int | None]) -> None:
        """Of idle partitions, commit positions past offsets without a record: marks and aborted records of
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

    def commit(self, offsets: Offsets) -> bool:
        """Commit, unless the group has rebalanced: the next owner begins at its offsets."""
        try:
            self._consumer.commit(offsets, self._answer_seconds)
        except Superseded:
            logger.info("offsets not committed: the group has rebalanced; the next owner publishes again")
            return False
        return True

    def _committed(self, partition: Partition) -> NextOffset | None:
        return self._consumer.committed(partition, self._answer_seconds)

    def _first_offsets(self, new: list[Partition], retained: Mapping[Partition, int]) -> dict[Partition, int]:
        """The first positions of partitions in which the group has committed nothing."""
        if self._begin_at == "earliest" or self._has_committed_others(new):
            return {partition: retained[partition] for partition in new}
        all_of_topic = self._consumer.partitions(self._topic)
        if min(all_of_topic) not in new:
            # Its owner commits an end for all partitions at once, so that one that is added later is known as such.
            return self._ends_by_first_member(new)
        ends = self._consumer.end_offsets(all_of_topic, self._answer_seconds)
        self.commit(ends)
        return {partition: ends[partition] for partition in new}

    def _has_committed_others(self, new: list[Partition]) -> bool:
        others = (partition for partition in self._consumer.partitions(self._topic) if partition not in new)
        return any(self._committed(partition) is not None for partition in others)

    def _ends_by_first_member(self, new: list[Partition]) -> dict[Partition, int]:
        deadline = time.monotonic() + _FIRST_MEMBER_SECONDS
        while True:
            committed = {partition: self._committed(partition) for partition in new}
            found = {partition: int(at) for partition, at in committed.items() if at is not None}
            if len(found) == len(new):
                return found
            if time.monotonic() > deadline:
                raise KafkaUnavailable("no worker has begun the group in this topic yet")
            time.sleep(0.1)

    def _readable(self, partition: Partition, committed: int, last: LastRecord | None, retained: int, end: int) -> int:
        """The committed offset, or the first that is retained where that lies behind it, or the log before it."""
        if committed < retained:
            self._report_gap(partition, committed, retained)
            return retained
        # An end of committed records, which a group that was set to the latest offset may be past.
        if committed <= end or not self._check.ends_before(partition, committed):
            return committed
        self._replaced(partition, committed, last)
        return retained

    def _replaced(self, partition: Partition, committed: int, last: LastRecord | None) -> None:
        logger.warning(
            "the topic lost records before the group's offset: it was truncated or restored; it is read from its"
            " beginning",
            extra={"topic": partition.topic, "partition": partition.partition, "offset": committed},
        )
        if last is not None and last.timestamp >= 0:
            start = self._consumer.offset_at(partition, last.timestamp + 1, self._answer_seconds)
            if start is None:
                start = self._consumer.end_offsets([partition], self._answer_seconds)[partition]
            self._on_replaced(partition, start)

    def _report_gap(self, partition: Partition, position: int, retained: int) -> None:
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
