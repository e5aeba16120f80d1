"""The demo's own ends of the stream: it sends questions to the input topic and reads what came of them."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from functools import partial
from typing import NamedTuple, Self

import orjson

from questream.broker.connect import open_producer, open_reader
from questream.broker.port import Message, OnDelivery, Outgoing
from questream.broker.reading import partitions_of
from questream.embedded import for_embedded_broker
from questream.errors import QuestreamError
from questream.lab.demo.tally import Place, Tally
from questream.lab.task import Task
from questream.records import dead_letter_origin, is_cluster_key, is_namespace_key
from questream.records.files import FileQuestion
from questream.settings import KafkaSettings, Settings

_SEND_SECONDS = 10.0
_POLL_SECONDS = 0.05
_JOIN_SECONDS = 5.0
# Decisions carry the headers of their question: so its text comes back with what became of it.
_TEXT_HEADER = "questream-demo-text"
_SHOWN_CHARACTERS = 200


class Topics(NamedTuple):
    """The topics of the stream."""

    questions: str
    decisions: str
    clusters: str
    dead_letters: str


class Reader(Task):
    """Reads decisions, cluster states and dead letters from their beginning into a tally.

    `on_processed` is called once for each question that got its decision or became a dead letter.
    """

    def __init__(self, bootstrap: str, topics: Topics, tally: Tally, on_processed: Callable[[], None]) -> None:
        super().__init__("demo-reader", _JOIN_SECONDS)
        self._bootstrap = bootstrap
        self._topics = topics
        self._tally = tally
        self._on_processed = on_processed

    def _work(self) -> None:
        with open_reader(_settings(self._bootstrap)) as consumer:
            topics = (self._topics.decisions, self._topics.clusters, self._topics.dead_letters)
            # Without a group they are read from their beginning.
            consumer.assign([partition for topic in topics for partition in partitions_of(consumer, topic)])
            while not self._stopping.is_set():
                for partition, records in consumer.poll(_POLL_SECONDS).items():
                    for record in records:
                        self._take(partition.topic, record)

    def _take(self, topic: str, record: Message) -> None:
        now = time.monotonic()
        if topic == self._topics.decisions:
            text = dict(record.headers).get(_TEXT_HEADER)
            is_new = self._tally.add_decision(
                orjson.loads(record.value or b""), time.time(), now, None if text is None else text.decode()
            )
        elif topic == self._topics.dead_letters:
            origin = dead_letter_origin(record.headers)
            is_new = self._tally.add_dead_letter((origin.partition, origin.offset), now)
        else:
            self._take_state(record)
            return
        if is_new:
            self._on_processed()

    def _take_state(self, record: Message) -> None:
        key = record.key or b""
        if is_namespace_key(key):
            if record.value is not None:
                self._tally.add_namespace_state(orjson.loads(record.value))
            return
        if not is_cluster_key(key):
            return
        cluster_id = key.decode().partition("/")[2]
        self._tally.add_cluster_state(cluster_id, None if record.value is None else orjson.loads(record.value))


class Asker:
    """Sends questions to the input topic, as any producer would."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._opened = ExitStack()
        self._producer = self._opened.enter_context(open_producer(_settings(bootstrap), linger=0.0))
        self._topic = topics.questions

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def send(self, question_id: str, text: str, on_delivery: OnDelivery) -> None:
        """Send a question that may represent its cluster; its place is known later."""
        self._send(question_id, text, [(_TEXT_HEADER, text[:_SHOWN_CHARACTERS].encode())], on_delivery)

    def ask(self, question_id: str, text: str) -> Place:
        """Send one question and wait until the broker has it; returns its place in the input topic."""
        outcomes: queue.SimpleQueue[Place | Exception] = queue.SimpleQueue()
        self._send(question_id, text, [], outcomes.put)
        self.flush()
        outcome = outcomes.get(timeout=_SEND_SECONDS)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def flush(self) -> None:
        """Wait until the broker has all that was sent."""
        self._producer.flush(_SEND_SECONDS)

    def _send(
        self, question_id: str, text: str, headers: list[tuple[str, bytes | None]], on_delivery: OnDelivery
    ) -> None:
        value = orjson.dumps({"id": question_id, "text": text})
        self._producer.send(Outgoing(self._topic, question_id.encode(), value, headers), on_delivery)


def _settings(bootstrap: str) -> Settings:
    return Settings(kafka=for_embedded_broker(KafkaSettings(), bootstrap))


class Feeder(Task):
    """Sends all questions, never more than `in_flight` of them ahead of their decisions.

    So the stream runs as fast as the worker can, and latencies are those of the worker, not of a queue before it.
    `gold` holds the gold group of each sent question that has one, by its place.
    """

    def __init__(self, asker: Asker, questions: Iterable[FileQuestion], in_flight: int) -> None:
        super().__init__("demo-feeder", _JOIN_SECONDS)
        self._asker = asker
        self._questions = questions
        self._free = threading.Semaphore(in_flight)
        self.gold: dict[Place, str] = {}
        self.sent = 0
        self.started_at = 0.0
        self.finished = threading.Event()

    def on_processed(self) -> None:
        """Make room for one more question."""
        self._free.release()

    def _work(self) -> None:
        self.started_at = time.monotonic()
        for question in self._questions:
            while not self._free.acquire(timeout=_POLL_SECONDS) and not self._stopping.is_set():
                pass
            if self._stopping.is_set():
                return
            self._asker.send(question.id, question.text, partial(self._note, question.gold))
            self.sent += 1
        self._asker.flush()
        self.finished.set()

    def _note(self, gold: str | None, outcome: Place | Exception) -> None:
        if isinstance(outcome, Exception):
            self._error = QuestreamError(f"the embedded broker refused a question: {outcome}")
            self._stopping.set()
        elif gold is not None:
            self.gold[outcome] = gold
