"""More input than a worker can do, whose encoder takes a fixed time per text.

It is watched from outside while it falls behind and while the lag is drained.
"""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import orjson
from kafka import KafkaProducer

from tests.kit.stream import Stream, WorkerProcess, metric_values, probe, wait_until
from tests.kit.vectors import question_of

PARTITIONS = 8
TEXT_SECONDS = 0.01
TIMES_TOO_MUCH = 3.0
BATCH_QUESTIONS = 32
# Heavy records and few clusters: what grows is what piles up.
PADDING = "x" * 4000
TOPICS_ASKED = 200
VARIANTS = 97
BACKLOG_LIMIT = 3 * BATCH_QUESTIONS
FETCHED_AHEAD = 10 * BATCH_QUESTIONS
# The worker asks every 5 s how far behind it is.
LAG_AGE_SECONDS = 6.0
GROWTH_BYTES = 32 * 1024 * 1024
TICK_SECONDS = 0.1


@dataclass(frozen=True, slots=True)
class Sample:
    """The worker as it is seen from outside, `at_seconds` after the input began."""

    at_seconds: float
    resident_bytes: int
    lag: float
    backlog: float
    published: float
    joins: int
    sessions: float
    dropped: float
    probes: tuple[int, int]

    def __str__(self) -> str:
        return (
            f"{self.at_seconds:6.0f} s  RSS {self.resident_bytes / 1e6:5.0f} MB  lag {self.lag:7.0f}  "
            f"waiting {self.backlog:4.0f}  published {self.published:7.0f}  joins {self.joins}"
        )


@dataclass(slots=True)
class Watched:
    """All that was seen: `during` the overload, and `after` it until the lag was drained."""

    sent: int = 0
    during: list[Sample] = field(default_factory=list)
    after: list[Sample] = field(default_factory=list)
    decided: int = 0
    twice: int = 0

    def broken_promises(self) -> list[str]:
        """What did not hold, in words."""
        samples = self.during + self.after
        last = self.during[-1]
        seen_at_seconds = last.at_seconds - LAG_AGE_SECONDS
        least_lag = (TIMES_TOO_MUCH - 1.2) / TEXT_SECONDS * seen_at_seconds - FETCHED_AHEAD
        promises = {
            f"memory grew by {self.growth_bytes / 1e6:.0f} MB": self.growth_bytes <= GROWTH_BYTES,
            "more was fetched than may wait": max(sample.backlog for sample in samples) <= BACKLOG_LIMIT,
            f"the lag reported was {last.lag:.0f}, not {least_lag:.0f} or more": last.lag >= least_lag,
            f"a lag of {self.after[-1].lag:.0f} is left": self.after[-1].lag == 0,
            "the group rebalanced": {sample.joins for sample in self.during} == {1},
            "a session with Kafka was lost": {sample.sessions for sample in samples} == {1},
            "fetched records were dropped": {sample.dropped for sample in self.during} == {0},
            "a probe failed": {sample.probes for sample in samples} == {(200, 200)},
            f"{self.decided} of {self.sent} records were decided": self.decided == self.sent,
            f"{self.twice} records were decided twice": self.twice == 0,
        }
        return [words for words, kept in promises.items() if not kept]

    @property
    def growth_bytes(self) -> float:
        """By how much the last quarter of the overload needs more memory than the second one."""
        quarter = max(1, len(self.during) // 4)
        second, last = self.during[quarter : 2 * quarter] or self.during, self.during[-quarter:]
        return statistics.median(s.resident_bytes for s in last) - statistics.median(s.resident_bytes for s in second)


class Observer:
    """Samples one worker."""

    def __init__(self, worker: WorkerProcess) -> None:
        self._worker = worker
        self._port = worker.port
        self.began = time.monotonic()

    def sample(self) -> Sample:
        """The worker now."""
        seen = metric_values(self._port)
        return Sample(
            time.monotonic() - self.began,
            self._worker.resident_bytes,
            sum(value for name, value in seen.items() if name.startswith("questream_consumer_lag{")),
            seen["questream_backlog_questions"],
            seen["questream_published_total"],
            self._worker.log.read_text(errors="replace").count("partitions assigned"),
            seen["questream_kafka_sessions_total"],
            seen["questream_dropped_total"],
            (probe(self._port, "livez")[0], probe(self._port, "readyz")[0]),
        )


def overload(
    stream: Stream,
    folder: Path,
    seconds: float,
    helpers: int = 0,
    every_seconds: float = 1.0,
    on_sample: Callable[[Sample], object] = lambda _: None,
) -> Watched:
    """Send three times what one worker can do for so long, then have the lag drained, by `helpers` more workers too.

    `stream` has BATCH_QUESTIONS as its `batch_questions`. `on_sample` gets each sample, one every `every_seconds`.
    """
    watched = Watched()

    def watch(samples: list[Sample]) -> None:
        samples.append(observer.sample())
        on_sample(samples[-1])

    with ExitStack() as started:
        worker = started.enter_context(WorkerProcess(folder, stream.overrides(), text_seconds=TEXT_SECONDS))
        observer = Observer(worker)
        wait_until(lambda: (now := observer.sample()).probes == (200, 200) and now.joins == 1, "the worker is ready")
        observer.began = time.monotonic()
        next_sample = 0.0
        for now, sent in _sending(stream, seconds):
            watched.sent = sent
            if now >= next_sample:
                watch(watched.during)
                next_sample = now + every_seconds
        watch(watched.during)
        for _ in range(helpers):
            started.enter_context(WorkerProcess(folder, stream.overrides(), text_seconds=TEXT_SECONDS))
        watch(watched.after)
        deadline = time.monotonic() + 60 + 3 * TIMES_TOO_MUCH * seconds
        while sum(stream.committed().values()) < watched.sent or watched.after[-1].lag:
            watch(watched.after)
            assert time.monotonic() < deadline, f"the lag is not drained: {watched.after[-1]}\n{worker.end_of_log()}"
            time.sleep(every_seconds)
    watched.decided, watched.twice = _decided(stream)
    return watched


def _sending(stream: Stream, seconds: float) -> Iterator[tuple[float, int]]:
    """Send at the pace; yields after each tick how long it has been and how many records went out."""
    pace = TIMES_TOO_MUCH / TEXT_SECONDS
    producer = KafkaProducer(bootstrap_servers=stream.bootstrap_servers, linger_ms=20)
    began = time.monotonic()
    sent = 0
    try:
        while (now := time.monotonic() - began) < seconds:
            for number in range(sent, int(pace * now)):
                text = question_of(number % TOPICS_ASKED, number % VARIANTS, repeats=2)
                value = {"id": f"q{number}", "text": text, "padding": PADDING}
                producer.send(stream.topics.input_topic, json.dumps(value).encode(), partition=number % PARTITIONS)
                sent = number + 1
            yield now, sent
            time.sleep(TICK_SECONDS)
        producer.flush(timeout=60)
        yield time.monotonic() - began, sent
    finally:
        producer.close(timeout=5)


def _decided(stream: Stream) -> tuple[int, int]:
    """How many records have a decision, and how many have another beside it."""
    seen: set[tuple[int, int]] = set()
    count = 0
    with stream.decisions() as reader:
        for record in reader.rest():
            source = orjson.loads(record.value)["source"]
            seen.add((source["partition"], source["offset"]))
            count += 1
    return len(seen), count - len(seen)
