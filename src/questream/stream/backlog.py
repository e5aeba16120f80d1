"""What is decoded and tokenised and waits for the device."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from questream.broker.quota import Pace
from questream.domain import Decision, Question, Record
from questream.encoder import Encoder, Tokens
from questream.errors import BadRecord


@dataclass(slots=True)
class Item:
    """A record on its way: it holds an `error`, or a `recorded` decision, or `tokens` that await a vector.

    `store_epoch` is that of the namespace in which its decision was recorded, `encoder` that of the namespace's model.
    `fresh`: when it was read, the ledger of its partition ended before it. `by_reference`: its dead letter refers to
    it, since no topic takes it as it is.
    """

    record: Record
    question: Question | None = None
    tokens: Tokens | None = None
    recorded: Decision | None = None
    store_epoch: str = ""
    encoder: Encoder | None = None
    fresh: bool = False
    error: BadRecord | None = None
    by_reference: bool = False
    put_at: float = 0.0
    byte_count: int = field(init=False)

    def __post_init__(self) -> None:
        self.byte_count = self.record.byte_count

    @property
    def token_count(self) -> int:
        """Real tokens that the device has to take."""
        return len(self.tokens) if self.tokens is not None else 0


@dataclass(slots=True)
class Batch:
    """Items in the order of their arrival, with the consumer group membership that they were fetched under.

    `oldest_put_at` is when the first of them was put (time.perf_counter).
    """

    items: list[Item]
    assignment_id: int
    membership: Any
    oldest_put_at: float


class Backlog:
    """A queue between the thread that fetches and the one that feeds the device.

    Whoever takes gets all that waits, up to the budgets of tokens, questions and bytes; nobody waits for more to come.
    An epoch is a stretch of time with the same assigned partitions, each read from the group's offset on. Between the
    end of one and the beginning of the next nothing is taken in: what a consumer still fetches then may lie behind
    records that were dropped. `pace` limits a batch further, where a quota of the broker does.
    """

    def __init__(self, batch_questions: int, batch_tokens: int, batch_bytes: int, pace: Pace | None = None) -> None:
        self._pace = pace or Pace(batch_questions, math.inf)
        self._batch_questions = batch_questions
        self._batch_tokens = batch_tokens
        self._batch_bytes = batch_bytes
        self._bytes = 0
        self._record_bytes = 0.0
        self._items: deque[Item] = deque()
        self._changed = threading.Condition()
        self._assignment_id = 0
        self._begun = True
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
        """Whether two batches wait already, by records or by bytes: time to stop fetching."""
        return len(self._items) >= 2 * self._batch_questions or self._bytes >= 2 * self._batch_bytes

    @property
    def room(self) -> int:
        """How many records to ask for at once: as many as a batch may have, of the size that the last ones had.

        What is fetched is decoded and tokenised in one go, between two polls of the consumer.
        """
        if not self._record_bytes:
            return self._batch_questions
        return max(1, min(self._batch_questions, int(self._batch_bytes / self._record_bytes)))

    @property
    def begun(self) -> bool:
        """Whether the current epoch has begun, so that items are taken in."""
        return self._begun

    def end_assignment(self, assignment_id: int) -> int:
        """This epoch has ended, if it is the current one: what waits, and what is in work, is dropped.

        Returns how many waiting records are dropped. Nothing is taken in until the next epoch begins.
        """
        with self._changed:
            if assignment_id != self._assignment_id:
                return 0
            dropped = len(self._items)
            self._items.clear()
            self._bytes = 0
            self._assignment_id += 1
            self._begun = False
            return dropped

    def begin_assignment(self) -> None:
        """The partitions of the current epoch are read from the group's offsets on."""
        with self._changed:
            self._begun = True

    def put(self, items: Sequence[Item], membership: Any, assignment_id: int) -> None:
        """Add items that were fetched under `membership` in `epoch`; dropped if that has ended meanwhile."""
        now = time.perf_counter()
        for item in items:
            item.put_at = now
        with self._changed:
            if assignment_id != self._assignment_id or not self._begun:
                return
            byte_count = sum(item.byte_count for item in items)
            # Large records seldom come alone: their size is forgotten by halves.
            self._record_bytes = max(byte_count / max(1, len(items)), self._record_bytes / 2)
            self._items.extend(items)
            self._bytes += byte_count
            self._membership = membership
            self._changed.notify()

    def take(self, timeout_seconds: float) -> Batch | None:
        """All that waits within the budgets, at least one item; None after `timeout_seconds` or once closed."""
        with self._changed:
            if not self._items and not self._closed:
                self._changed.wait(timeout_seconds)
            if not self._items or self._closed:
                return None
            taken: list[Item] = []
            tokens = byte_count = 0
            while self._items and len(taken) < self._pace.limit:
                item = self._items[0]
                tokens += item.token_count
                byte_count += item.byte_count
                if taken and (tokens > self._batch_tokens or byte_count > self._batch_bytes):
                    break
                taken.append(self._items.popleft())
            self._bytes -= sum(item.byte_count for item in taken)
            return Batch(taken, self._assignment_id, self._membership, taken[0].put_at)

    @property
    def closed(self) -> bool:
        """Whether nothing is to be taken any more."""
        return self._closed

    def close(self) -> None:
        """Nothing is taken any more; what waits stays in Kafka."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
