"""Questions into the input topic, and the decisions that a read_committed reader sees of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Self

import orjson

from questream.broker.kafka_python.connect import open_producer, open_reader
from questream.broker.kafka_python.reading import start_at
from questream.errors import QuestreamError
from questream.lab.task import Task
from questream.settings import Settings

_POLL_MS = 50
_STANDSTILL_SECONDS = 60.0
_CHECK_SECONDS = 0.02
_BATCH_BYTES = 262_144
_LINGER_MS = 20

Questions = Sequence[tuple[str, str]]


def send_all(settings: Settings, questions: Questions) -> None:
    """Send (id, text) pairs as fast as it goes; returns when all are acknowledged."""
    with open_producer(settings, linger_ms=_LINGER_MS, batch_size=_BATCH_BYTES) as producer:
        futures = [
            producer.send(settings.kafka.input_topic, key=question_id.encode(), value=_value(question_id, text))
            for question_id, text in questions
        ]
        producer.flush()
        for future in futures:
            future.get(timeout=0)


def send_paced(settings: Settings, questions: Questions, rate: float) -> dict[str, float]:
    """Send `rate` questions per second, evenly; returns when each was due (time.perf_counter) by id.

    A question is due at its time whether or not those before it were answered: a slow stream does not slow the asking,
    and what a late start costs counts as latency.
    """
    due_at: dict[str, float] = {}
    with open_producer(settings, linger_ms=0) as producer:
        started = time.perf_counter()
        for number, (question_id, text) in enumerate(questions):
            due = due_at[question_id] = started + number / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            producer.send(settings.kafka.input_topic, key=question_id.encode(), value=_value(question_id, text))
        producer.flush()
    return due_at


def _value(question_id: str, text: str) -> bytes:
    return orjson.dumps({"id": question_id, "text": text})


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
        """How many different questions have a decision."""
        return len(self.seen_at)

    @property
    def duplicates(self) -> int:
        """How many records were more than the first of their question."""
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
        with open_reader(self._settings, fetch_max_wait_ms=_POLL_MS) as consumer:
            start_at(consumer, self._settings.kafka.output_topic, "beginning")
            self._started.set()
            while not self._stopping.is_set():
                for messages in consumer.poll(timeout_ms=_POLL_MS).values():
                    now = time.perf_counter()
                    self.records += len(messages)
                    for message in messages:
                        self.seen_at.setdefault(message.key.decode(), now)
