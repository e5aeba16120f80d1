"""Questions that go on and on, from a seed: clusters are opened, joined and merged, in two namespaces, amid poison."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from random import Random

from kafka import KafkaProducer
from kafka.errors import KafkaError

from tests.kit.stream import MAX_REQUEST_BYTES, Message, wait_until

NAMESPACES = ("shop", "bank")
BURST_QUESTIONS = 20
BURST_SECONDS = 0.25
TEXTS_KEPT = 2000
# So many questions are asked about a topic at a time; a new topic comes up with every so many questions.
OPEN_TOPICS = 12
QUESTIONS_OF_A_TOPIC = 25
# Two texts that share k of n words have a cosine near k/n. The first two stand apart until the third draws them
# together: a merge.
SHAPES = ("a{t} b{t}", "b{t} c{t}", "a{t} b{t} c{t}", "a{t} b{t} c{t} v{n}")
POISON: tuple[bytes | None, ...] = (
    b'{"id": "p", "text": ',
    b'{"id": "p", "text": 7}',
    b'{"id": "p", "text": "  "}',
    b'{"id": "p", "text": "x", "namespace": "no such/name"}',
    b"\xff\xfe\x00",
    None,
)


def burst(number: int, random: Random) -> Iterator[tuple[bytes, bytes | None]]:
    """Key and value of each record of a burst: questions, and one record of poison among them."""
    poisoned = random.randrange(BURST_QUESTIONS)
    for at in range(BURST_QUESTIONS):
        name = f"q{number * BURST_QUESTIONS + at}"
        if at == poisoned:
            yield name.encode(), random.choice(POISON)
        newest = (number * BURST_QUESTIONS + at) // QUESTIONS_OF_A_TOPIC
        topic = max(0, newest - random.randrange(OPEN_TOPICS))
        # A namespace has topics of its own: what is alike in two of them must not meet.
        text = random.choice(SHAPES).format(t=topic, n=number)
        yield name.encode(), question_value(name, text, random.choice(NAMESPACES))


def question_value(name: str, text: str, namespace: str) -> bytes:
    """The value of a record that asks a question."""
    return json.dumps({"id": name, "text": text, "namespace": namespace}).encode()


class Traffic:
    """Sends a burst every `BURST_SECONDS`, whatever happens around it; a context manager with a thread of its own."""

    def __init__(self, bootstrap_servers: str, topic: str, partitions: int, random: Random) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._topic = topic
        self._partitions = partitions
        self._random = random
        self._producer = KafkaProducer(
            bootstrap_servers=bootstrap_servers,
            enable_idempotence=True,
            # A dead broker is waited for: what was asked must arrive.
            delivery_timeout_ms=600_000,
            max_block_ms=600_000,
            linger_ms=5,
            # A partition that is added shall be known soon.
            metadata_max_age_ms=1000,
        )
        self._going = threading.Event()
        self._ended = threading.Event()
        self._at_rest = threading.Condition()
        self._sending = False
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._failure: BaseException | None = None
        self.places: set[tuple[int, int]] = set()
        # Of the last questions, by partition and offset.
        self._texts: OrderedDict[tuple[int, int], str] = OrderedDict()

    def __enter__(self) -> Traffic:
        self._going.set()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._going.set()
        # What could not be sent hides no error that ended the round.
        with suppress(KafkaError):
            self._producer.close(timeout=1)
        self._thread.join(10)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing is sent meanwhile, and all that was sent has arrived."""
        self._going.clear()
        with self._at_rest:
            if not self._at_rest.wait_for(lambda: not self._sending or self._failure is not None, 120):
                raise TimeoutError("the producer does not come to rest")
        if self._failure is not None:
            raise self._failure
        yield
        self._going.set()

    def add_partition(self) -> None:
        """Send to one partition more, once the producer knows it."""
        wanted = self._partitions + 1
        wait_until(lambda: len(self._producer.partitions_for(self._topic)) >= wanted, "the producer knows it")
        self._partitions = wanted

    def begin_anew(self) -> None:
        """The topic was made anew: nothing has been sent to it. Only while it is paused."""
        self.places.clear()
        self._texts.clear()

    def text_at(self, partition: int, offset: int) -> str | None:
        """The text of a question that was sent lately; None where there is none at this place."""
        return self._texts.get((partition, offset))

    def send_besides(self, records: Iterable[Message]) -> None:
        """Send these too, compressed, from the caller's own thread; returns once they have arrived."""
        producer = KafkaProducer(
            bootstrap_servers=self._bootstrap_servers,
            compression_type="gzip",
            max_request_size=MAX_REQUEST_BYTES,
            delivery_timeout_ms=600_000,
            max_block_ms=600_000,
            retries=1000,
        )
        try:
            futures = [producer.send(self._topic, r.value, r.key, list(r.headers)) for r in records]
            sent = [future.get(timeout=600) for future in futures]
        finally:
            producer.close(timeout=5)
        self.places.update((record.partition, record.offset) for record in sent)

    def _run(self) -> None:
        number = 0
        try:
            while not self._ended.is_set():
                self._mark(sending=False)
                self._going.wait()
                self._mark(sending=True)
                if not self._ended.is_set():
                    self._send(number)
                    number += 1
                    self._ended.wait(BURST_SECONDS)
        except BaseException as error:  # raised again in the thread that waits for the traffic
            if not self._ended.is_set():
                self._failure = error
        finally:
            self._mark(sending=False)

    def _mark(self, *, sending: bool) -> None:
        with self._at_rest:
            self._sending = sending
            self._at_rest.notify_all()

    def _send(self, number: int) -> None:
        records = list(burst(number, self._random))
        futures = [
            self._producer.send(self._topic, key=key, value=value, partition=self._random.randrange(self._partitions))
            for key, value in records
        ]
        for (_, value), future in zip(records, futures, strict=True):
            sent = future.get(timeout=600)
            self.places.add((sent.partition, sent.offset))
            if value not in POISON:
                self._texts[sent.partition, sent.offset] = json.loads(value or b"")["text"]
        while len(self._texts) > TEXTS_KEPT:
            self._texts.popitem(last=False)
