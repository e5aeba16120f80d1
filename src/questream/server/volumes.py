"""The questions of each cluster in the last two weeks, counted from the newest decisions of the output topic."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from questream.broker.port import Consumer, Message, Partition
from questream.broker.reading import partitions_of, read_to_end
from questream.domain import parse_cluster_id
from questream.watch.counting import counted

DAYS = 14
_SLOT_MS = 6 * 3_600_000
_DAILY = 4
_SLOTS = DAYS * _DAILY
_DAY_MS = _DAILY * _SLOT_MS
_MOST_CLUSTERS = 200_000
_FIRST_CAPACITY = 1024


@dataclass(frozen=True, slots=True)
class Volume:
    """Questions by day, the oldest of 14 first; a day ends with the running six hours.

    `known_days` says of how many of the newest all are counted: what came before may have been more. `doubtful` of them
    joined at a close call. The last day ends at `ends_at`, in ms since the epoch.
    """

    days: tuple[int, ...]
    known_days: int
    doubtful: int = 0
    ends_at: int = 0

    @property
    def week(self) -> int:
        """Questions of the last seven days."""
        return sum(self.days[DAYS // 2 :])

    @property
    def week_before(self) -> int | None:
        """Questions of the seven days before, None where not all of them are counted."""
        return sum(self.days[: DAYS // 2]) if self.known_days == DAYS else None

    @property
    def doubtful_share(self) -> float | None:
        """The share of its questions that joined at a close call, in [0, 1]; None where it had none."""
        total = sum(self.days)
        return self.doubtful / total if total else None

    def day_of(self, time_ms: int) -> int | None:
        """The index of the day that a time is in, None where it is in none of them."""
        ago = (self.ends_at - 1 - time_ms) // _DAY_MS
        return DAYS - 1 - ago if 0 <= ago < DAYS else None


@dataclass(frozen=True, slots=True)
class Weeks:
    """Questions of the last seven days by the id that they were given, both (count,), and of the seven before.

    `before` is None where not all of them are counted.
    """

    ids: NDArray[np.int64]
    week: NDArray[np.int64]
    before: NDArray[np.int64] | None


class Volumes:
    """Counts by cluster and six hours, for at most 200,000 clusters; the one asked for longest ago is let go.

    `start` and `take` are for the thread that follows the output topic, the rest for any. Memory: 448 bytes a cluster
    and its key.
    """

    def __init__(
        self, records: int, close: float, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000
    ) -> None:
        """Counts the newest `records` of each partition, and what comes.

        A call is close where the similarity is less than `close` above the threshold.
        """
        self._records = records
        self._close = close
        self._now_ms = now_ms
        self._guard = threading.Lock()
        self._row_of: OrderedDict[tuple[str, int], int] = OrderedDict()
        # All questions, and those of close calls.
        self._counts: NDArray[np.uint32] = np.zeros((_FIRST_CAPACITY, _SLOTS, 2), np.uint32)
        self._newest = 0
        self._next: dict[Partition, int] = {}
        # From when on all questions of a partition are counted; None until one of them was read.
        self._known_from: dict[Partition, int | None] = {}
        self._is_read = False

    def start(self, consumer: Consumer, topic: str) -> None:
        """Assign the topic's partitions and count what they hold, but for what was counted before.

        Raises KafkaUnavailable or KafkaRefused.
        """
        partitions = partitions_of(consumer, topic)
        consumer.assign(partitions)
        starts, ends = consumer.beginning_offsets(partitions), consumer.end_offsets(partitions)
        for partition in partitions:
            offset = max(starts[partition], ends[partition] - self._records)
            counted_up_to = self._next.get(partition, -1)
            if not offset <= counted_up_to <= ends[partition]:
                self._known_from[partition] = None if offset else 0
                # A topic that was made anew begins below what was counted.
                counted_up_to = self._next[partition] = offset
            consumer.seek(partition, counted_up_to)
        for message in read_to_end(consumer):
            self.take(message)
        self._is_read = True

    def take(self, message: Message) -> None:
        """A record of the output topic."""
        partition = Partition(message.topic, message.partition)
        if message.offset < self._next.get(partition, 0):
            return
        self._next[partition] = message.offset + 1
        question = counted(message, "question", self._now_ms())
        if question is None:
            return
        if self._known_from.get(partition) is None:
            self._known_from[partition] = question.time_ms
        slot = question.time_ms // _SLOT_MS
        with self._guard:
            self._pass_time(slot)
            if slot > self._newest - _SLOTS:
                # First, as the counts may have to grow for it.
                row = self._row(question.namespace, parse_cluster_id(question.cluster))
                is_close = question.above is not None and question.above < self._close
                self._counts[row, slot % _SLOTS, : 1 + is_close] += 1

    def of(self, namespace: str, cluster_ids: Iterable[int]) -> Volume | None:
        """The questions of a cluster, under all these ids; None while the topic is being read."""
        if not self._is_read:
            return None
        now_ms = self._now_ms()
        with self._guard:
            self._pass_time(now_ms // _SLOT_MS)
            rows = [self._row_of[namespace, one] for one in cluster_ids if (namespace, one) in self._row_of]
            found = self._counts[rows][:, self._slots()].sum(axis=0, dtype=np.int64)
        days = found[:, 0].reshape(DAYS, _DAILY).sum(axis=1)
        ends_at = (self._newest + 1) * _SLOT_MS
        return Volume(tuple(days.tolist()), self._known_days(), int(found[:, 1].sum()), ends_at)

    def weeks(self, namespace: str) -> Weeks | None:
        """The questions of all clusters of a namespace; None while the topic is being read."""
        if not self._is_read:
            return None
        now_ms = self._now_ms()
        with self._guard:
            self._pass_time(now_ms // _SLOT_MS)
            known = {number: row for (name, number), row in self._row_of.items() if name == namespace}
            counts, slots = self._counts[list(known.values()), :, 0], self._slots()
        half = _SLOTS // 2
        week, before = (counts[:, part].sum(axis=1, dtype=np.int64) for part in (slots[half:], slots[:half]))
        ids = np.array(list(known), np.int64)
        return Weeks(ids, week, before if self._known_days() == DAYS else None)

    def _slots(self) -> NDArray[np.int64]:
        """The indexes of the slots of two weeks, the oldest first."""
        slots: NDArray[np.int64] = np.arange(self._newest - _SLOTS + 1, self._newest + 1) % _SLOTS
        return slots

    def _known_days(self) -> int:
        known_from = list(self._known_from.values())
        if None in known_from:
            return 0
        begins = (self._newest + 1) * _SLOT_MS
        return int(min(DAYS, max(0, begins - max([one or 0 for one in known_from], default=0)) // _DAY_MS))

    def _pass_time(self, slot: int) -> None:
        """Empty the slots that begin now; those of two weeks ago were there."""
        if slot <= self._newest:
            return
        passed = min(slot - self._newest, _SLOTS)
        self._counts[:, np.arange(slot - passed + 1, slot + 1) % _SLOTS] = 0
        self._newest = slot

    def _row(self, namespace: str, cluster_id: int) -> int:
        key = (namespace, cluster_id)
        row = self._row_of.get(key)
        if row is None:
            if len(self._row_of) == _MOST_CLUSTERS:
                _, row = self._row_of.popitem(last=False)
                self._counts[row] = 0
            else:
                row = len(self._row_of)
                if row == len(self._counts):
                    self._counts = np.concatenate([self._counts, np.zeros_like(self._counts)])
            self._row_of[key] = row
        self._row_of.move_to_end(key)
        return row
