"""The queue of decoded and tokenised questions in front of the device."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from questream.broker.quota import Pace
from questream.stream.question import Pending, Queued

S = TypeVar("S", covariant=True)
T = TypeVar("T")

# One in each step that follows: the device, the decider, the publisher.
_STEPS = 3


@dataclass(frozen=True, slots=True)
class Batch(Generic[S]):
    """Questions in the order of their arrival, all in the same kind of state.

    They were fetched in the assignment `assignment_id` under the consumer group membership `membership`;
    `oldest_put_at` is when the first of them was put (time.perf_counter).
    """

    items: Sequence[S]
    assignment_id: int
    membership: Any
    oldest_put_at: float

    def of(self, items: Sequence[T]) -> Batch[T]:
        """The same questions, a step further."""
        return Batch(items, self.assignment_id, self.membership, self.oldest_put_at)


class _Waiting(NamedTuple):
    """An item with its weight for the budgets."""

    item: Queued
    byte_count: int
    token_count: int
    put_at: float


class Backlog:
    """A queue between the thread that fetches and the one that feeds the device.

    `take` gives all that waits, up to the budgets of tokens, questions and bytes. It waits for no more to come, but
    where each step that follows has a batch already: one more would wait between two steps. Until one of them is
    through, `take` gives a full batch only, and what is less grows meanwhile.
    An assignment is a stretch of time with the same partitions, each read from the group's offset on. Between the end
    of one and the beginning of the next nothing is taken in: what a consumer still fetches then may lie behind records
    that were dropped. `pace` limits a batch further, where a quota of the broker does.
    """

    def __init__(self, batch_questions: int, batch_tokens: int, batch_bytes: int, pace: Pace | None = None) -> None:
        self._pace = pace or Pace(batch_questions, math.inf)
        self._batch_questions = batch_questions
        self._batch_tokens = batch_tokens
        self._batch_bytes = batch_bytes
        self._bytes = 0
        self._tokens = 0
        self._in_work = 0
        self._record_bytes = 0.0
        self._items: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._assignment_id = 0
        self._begun = True
        self._superseded_at: float | None = None
        self._membership: Any = None
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    @property
    def assignment_id(self) -> int:
        """The number of the current assignment."""
        return self._assignment_id

    @property
    def full(self) -> bool:
        """True if two batches wait already, by records or by bytes: time to stop fetching."""
        return len(self._items) >= 2 * self._batch_questions or self._bytes >= 2 * self._batch_bytes

    @property
    def room(self) -> int:
        """The number of records to ask for at once: as many as a batch may have, of the size that the last ones had.

        What is fetched is decoded and tokenised in one go, between two polls of the consumer.
        """
        if not self._record_bytes:
            return self._batch_questions
        return max(1, min(self._batch_questions, int(self._batch_bytes / self._record_bytes)))

    @property
    def begun(self) -> bool:
        """True if the current assignment has begun, so that items are taken in."""
        return self._begun

    @property
    def superseded_at(self) -> float | None:
        """When the broker refused a batch of the assignment before (time.monotonic), until the next one begins."""
        return self._superseded_at

    def end_assignment(self, assignment_id: int) -> int:
        """This assignment has ended, if it is the current one: what waits, and what is in work, is dropped.

        Returns how many waiting records are dropped. Nothing is taken in until the next assignment begins.
        """
        with self._changed:
            if assignment_id != self._assignment_id:
                return 0
            dropped = len(self._items)
            self._items.clear()
            self._bytes = self._tokens = 0
            self._assignment_id += 1
            self._begun = False
            self._superseded_at = None
            return dropped

    def supersede(self, assignment_id: int) -> int:
        """A batch of this assignment was refused, since its partitions are another worker's: end it at once.

        A batch may be of several partitions, and those that stay with this worker must not be decided behind the
        refused batch, whose records would then never be. The group must be about to rebalance.
        Returns how many waiting records are dropped.
        """
        with self._changed:
            is_current = assignment_id == self._assignment_id
            dropped = self.end_assignment(assignment_id)
            if is_current:
                self._superseded_at = time.monotonic()
            return dropped

    def begin_assignment(self) -> None:
        """The partitions of the current assignment are read from the group's offsets on."""
        with self._changed:
            self._begun = True
            self._superseded_at = None

    def put(self, items: Sequence[Queued], membership: Any, assignment_id: int) -> None:
        """Add items that were fetched under `membership` in this assignment; dropped if that has ended meanwhile."""
        now = time.perf_counter()
        waiting = [
            _Waiting(item, item.record.byte_count, len(item.tokens) if isinstance(item, Pending) else 0, now)
            for item in items
        ]
        byte_count = sum(one.byte_count for one in waiting)
        with self._changed:
            if assignment_id != self._assignment_id or not self._begun:
                return
            # Large records seldom come alone: their size is forgotten by halves.
            self._record_bytes = max(byte_count / max(1, len(items)), self._record_bytes / 2)
            self._items.extend(waiting)
            self._bytes += byte_count
            self._tokens += sum(one.token_count for one in waiting)
            self._membership = membership
            self._changed.notify()

    def take(self, timeout_seconds: float) -> Batch[Queued] | None:
        """All that waits within the budgets, at least one item; None after `timeout_seconds` or once closed.

        Each batch is in work until `finish` is called for it.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._closed or self._may_take, timeout_seconds) or self._closed:
                return None
            oldest_put_at = self._items[0].put_at
            taken: list[Queued] = []
            tokens = byte_count = 0
            while self._items and len(taken) < self._pace.limit:
                first = self._items[0]
                tokens += first.token_count
                if taken and (tokens > self._batch_tokens or byte_count + first.byte_count > self._batch_bytes):
                    break
                byte_count += first.byte_count
                taken.append(self._items.popleft().item)
                self._tokens -= first.token_count
            self._bytes -= byte_count
            self._in_work += 1
            return Batch(taken, self._assignment_id, self._membership, oldest_put_at)

    def finish(self) -> None:
        """A batch that was taken is published or dropped; safe from any thread."""
        with self._changed:
            self._in_work -= 1
            self._changed.notify()

    @property
    def _may_take(self) -> bool:
        return bool(self._items) and (self._in_work < _STEPS or self._is_batch_full)

    @property
    def _is_batch_full(self) -> bool:
        return (
            len(self._items) >= self._pace.limit
            or self._tokens >= self._batch_tokens
            or self._bytes >= self._batch_bytes
        )

    @property
    def closed(self) -> bool:
        """True if nothing is to be taken any more."""
        return self._closed

    def close(self) -> None:
        """Nothing is taken any more; what waits stays in Kafka."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
