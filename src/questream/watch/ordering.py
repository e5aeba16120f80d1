"""The questions of all partitions in the order of their times, while they come and while a backlog is read."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from questream.broker.port import Consumer, Partition
from questream.watch.counting import Asker, Counted, counted

# Questions of a partition that wait for those of the others; a poll may bring some more.
_MOST_WAITING = 2000
_MOST_AT_ONCE = 2000


class Placed(NamedTuple):
    """A question and the place of its decision."""

    partition: Partition
    offset: int
    question: Counted


class TimeOrder:
    """Merges the partitions that a consumer is assigned, which is its own from then on.

    First come the questions below the offsets `seen`, then all others. No question is handed out while an earlier one
    may be in another partition that was not read to its end.
    Within a partition the order stays. Memory: what waits is bounded for each partition.
    """

    def __init__(self, consumer: Consumer, asker: Asker, seen: Mapping[Partition, int]) -> None:
        self._consumer = consumer
        self._asker = asker
        self.seen = seen
        self._partitions = sorted(consumer.assignment())
        self._waiting: dict[Partition, deque[Placed]] = {partition: deque() for partition in self._partitions}
        self._positions: dict[Partition, int] = {}
        self._ends: dict[Partition, int] = {}

    def take(self, timeout: float) -> list[Placed]:
        """The next questions, some thousands at most; none where none came within `timeout` seconds.

        Raises KafkaUnavailable or KafkaRefused.
        """
        now_ms = time.time_ns() // 1_000_000
        for partition, messages in self._consumer.poll(timeout).items():
            waiting = self._waiting[partition]
            for message in messages:
                question = counted(message, self._asker, now_ms)
                if question is not None:
                    waiting.append(Placed(partition, message.offset, question))
        # After the poll: a partition that ends where it was read holds nothing earlier than what waits elsewhere.
        self._positions = {partition: self._consumer.position(partition) or 0 for partition in self._partitions}
        self._ends = self._consumer.end_offsets(self._partitions)
        taken = self._merge()
        full = {partition for partition, waiting in self._waiting.items() if len(waiting) >= _MOST_WAITING}
        paused = self._consumer.paused()
        self._consumer.pause(full - paused)
        self._consumer.resume(paused - full)
        return taken

    def next_offsets(self) -> dict[Partition, int]:
        """The first offset of each partition that was not handed out yet."""
        return {
            partition: waiting[0].offset if waiting else self._positions.get(partition, 0)
            for partition, waiting in self._waiting.items()
        }

    @property
    def lag(self) -> dict[Partition, int]:
        """Offsets of each partition that were not handed out yet, as far as it was committed at the last call."""
        return {at: max(0, self._ends.get(at, offset) - offset) for at, offset in self.next_offsets().items()}

    def was_seen(self, placed: Placed) -> bool:
        """True if a question is below the offsets `seen`."""
        return placed.offset < self.seen[placed.partition]

    @property
    def is_learning(self) -> bool:
        """True if questions below the offsets `seen` are still to come."""
        return any(offset < self.seen[at] for at, offset in self.next_offsets().items())

    def _merge(self) -> list[Placed]:
        taken: list[Placed] = []
        learning = self.is_learning
        ends = self.seen if learning else self._ends
        while len(taken) < _MOST_AT_ONCE:
            heads = [line[0] for line in self._waiting.values() if line and (not learning or self.was_seen(line[0]))]
            if not heads or any(not line and self._positions[at] < ends[at] for at, line in self._waiting.items()):
                break
            first = min(heads, key=lambda head: head.question.time_ms)
            taken.append(self._waiting[first.partition].popleft())
        return taken
