"""Questions into the input topic, and the decisions that a read_committed reader sees of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Self

import orjson

from questream.broker.connect import open_producer, open_reader
from questream.broker.port import Outgoing
from questream.broker.publisher import Sent
from questream.broker.reading import start_at
from questream.errors import QuestreamError
from questream.lab.task import Task
from questream.settings import Settings

_POLL_SECONDS = 0.05
_STANDSTILL_SECONDS = 60.0
_CHECK_SECONDS = 0.02
_LINGER_SECONDS = 0.02

Questions = Sequence[tuple[str, str]]


def send_all(settings: Settings, questions: Questions) -> None:
    """Send (id, text) pairs as fast as it goes; returns when all are acknowledged."""
    sent = Sent()
    with open_producer(settings, linger=_LINGER_SECONDS) as producer:
        sent.send(producer, (_record(settings, *question) for question in questions))
        producer.flush()
    sent.require_all()


def send_paced(settings: Settings, questions: Questions, arrivals: Iterable[float]) -> dict[str, float]:
    """Send each question so many seconds after the start; returns when each was due (time.perf_counter) by id.

    A question is due at its time whether or not those before it were answered: a slow stream does not slow the asking,
    and what a late start costs counts as latency.
    """
    due_at: dict[str, float] = {}
    sent = Sent()
    with open_producer(settings, linger=0.0) as producer:
        started = time.perf_counter()
        for (question_id, text), after in zip(questions, arrivals, strict=True):
            due = due_at[question_id] = started + after
            time.sleep(max(0.0, due - time.perf_counter()))
            sent.send(producer, [_record(settings, question_id, text)])
        producer.flush()
    sent.require_all()
    return due_at


def _record(settings: Settings, question_id: str, text: str) -> Outgoing:
    value = orjson.dumps({"id": question_id, "text": text})
    return Outgoing(settings.kafka.input_topic, question_id.encode(), value)


class Reader(Task):
    """Reads the output topic on a thread of its own and notes when each decision was first seen, and how often.

    `seen_at` is by question id (the record's key), in time.perf_counter. It reads committed records only.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__("bench-reader")
        self._settings = settings
        self._started = threading.Event()
        self.seen_at: dict[str, float] = {}
        self.records = 0

    def __enter__(self) -> Self:
        super().__enter__()
        while not self._started.wait(_CHECK_SECONDS):
            self.check()
        return self

    @property
    def decided(self) -> int:
        """The number of different questions with a decision."""
        return len(self.seen_at)

    @property
    def duplicates(self) -> int:
        """The number of records beyond the first of their question."""
        return self.records - len(self.seen_at)

    def wait_for(self, count: int, check: Callable[[], None]) -> None:
        """Return once `count` different questions have a decision; `check` is called meanwhile and may raise.

        Raises QuestreamError if none comes for 60 s.
        """
        moved_at, decided = time.monotonic(), self.decided
        while decided < count:
            self.check()
            check()
            time.sleep(_CHECK_SECONDS)
            if decided != (decided := self.decided):
                moved_at = time.monotonic()
            elif time.monotonic() - moved_at > _STANDSTILL_SECONDS:
                raise QuestreamError(f"{decided} of {count} are decided, and none for {_STANDSTILL_SECONDS:.0f} s")

    def _work(self) -> None:
        with open_reader(self._settings, fetch_wait=_POLL_SECONDS) as consumer:
            start_at(consumer, self._settings.kafka.output_topic, "beginning")
            self._started.set()
            while not self._stopping.is_set():
                for messages in consumer.poll(_POLL_SECONDS).values():
                    now = time.perf_counter()
                    self.records += len(messages)
                    for message in messages:
                        self.seen_at.setdefault((message.key or b"").decode(), now)
