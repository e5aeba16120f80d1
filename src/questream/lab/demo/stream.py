"""The demo's own ends of the stream: it sends questions to the input topic and reads what came of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import orjson
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from questream.embedded import EMBEDDED_FETCH_MAX_WAIT_MS
from questream.errors import QuestreamError
from questream.lab.demo.tally import Place, Tally
from questream.lab.task import Task
from questream.records import dead_letter_origin, is_namespace_key
from questream.records.files import FileQuestion

# Large texts are the stream's to refuse, as dead letters, not the producer's.
_MAX_REQUEST_BYTES = 64 * 1024 * 1024
_SEND_SECONDS = 10.0
_POLL_MS = 50
_JOIN_SECONDS = 5.0


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
        consumer = KafkaConsumer(
            bootstrap_servers=self._bootstrap,
            isolation_level="read_committed",
            enable_auto_commit=False,
            fetch_max_wait_ms=EMBEDDED_FETCH_MAX_WAIT_MS,
        )
        try:
            partitions = [
                TopicPartition(topic, partition)
                for topic in (self._topics.decisions, self._topics.clusters, self._topics.dead_letters)
                for partition in consumer.partitions_for_topic(topic)
            ]
            consumer.assign(partitions)
            consumer.seek_to_beginning()
            while not self._stopping.is_set():
                for partition, records in consumer.poll(_POLL_MS).items():
                    for record in records:
                        self._take(partition.topic, record)
        finally:
            consumer.close()

    def _take(self, topic: str, record: Any) -> None:
        now = time.monotonic()
        if topic == self._topics.decisions:
            is_new = self._tally.add_decision(orjson.loads(record.value), time.time(), now)
        elif topic == self._topics.dead_letters:
            origin = dead_letter_origin(record.headers)
            is_new = self._tally.add_dead_letter((origin.partition, origin.offset), now)
        else:
            self._take_state(record)
            return
        if is_new:
            self._on_processed()

    def _take_state(self, record: Any) -> None:
        if is_namespace_key(record.key):
            return
        cluster_id = record.key.decode().partition("/")[2]
        self._tally.add_cluster_state(cluster_id, None if record.value is None else orjson.loads(record.value))


class Asker:
    """Sends questions to the input topic, as any producer would."""

    def __init__(self, bootstrap: str, topics: Topics) -> None:
        self._producer = KafkaProducer(bootstrap_servers=bootstrap, max_request_size=_MAX_REQUEST_BYTES)
        self._topic = topics.questions

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._producer.close(timeout=1)

    def send(self, question_id: str, text: str) -> Any:
        """Send a question; returns the future of its place."""
        value = orjson.dumps({"id": question_id, "text": text})
        return self._producer.send(self._topic, key=question_id.encode(), value=value)

    def ask(self, question_id: str, text: str) -> Place:
        """Send one question and wait until the broker has it; returns its place in the input topic."""
        metadata = self.send(question_id, text).get(timeout=_SEND_SECONDS)
        return metadata.partition, metadata.offset

    def flush(self) -> None:
        """Wait until the broker has all that was sent."""
        self._producer.flush(timeout=_SEND_SECONDS)


class Feeder(Task):
    """Sends all questions, never more than `in_flight` of them ahead of their decisions.

    So the stream runs as fast as the worker can, and latencies tell of the worker rather than of a queue before it.
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
            while not self._free.acquire(timeout=_POLL_MS / 1000) and not self._stopping.is_set():
                pass
            if self._stopping.is_set():
                return
            sending = self._asker.send(question.id, question.text)
            if question.gold is not None:
                sending.add_callback(self._remember, question.gold)
            sending.add_errback(self._fail)
            self.sent += 1
        self._asker.flush()
        self.finished.set()

    def _remember(self, gold: str, metadata: Any) -> None:
        self.gold[metadata.partition, metadata.offset] = gold

    def _fail(self, error: BaseException) -> None:
        self._error = QuestreamError(f"the embedded broker refused a question: {type(error).__name__}")
        self._stopping.set()
