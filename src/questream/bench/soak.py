"""A day of a drifting stream in as little time as the workers take for it: does anything grow that should not?

Record timestamps advance by the day while the clock advances by an hour or so, so that clusters are born, go idle and
retire as they would in a day. What depends on the clock instead is there more than it would be in a real day: the
tombstones that wait a minute, and what a retired cluster leaves behind for ten minutes.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from questream.bench.drift import Asked, DriftingQuestions
from questream.bench.machine import open_file_count, resident_bytes, thread_count
from questream.bench.servers import own_stream
from questream.bench.trend import Trend, trend
from questream.bench.worker_process import WorkerProcess, worker_processes
from questream.errors import QuestreamError
from questream.kafka.connect import open_producer
from questream.settings import Settings
from questream.store.connect import connect_redis
from questream.store.wire import Keys

Announce = Callable[[str], None]

_MIB = 1024**2
_HOUR_MS = 3_600_000
_STANDSTILL_SECONDS = 120.0
_LAG_QUESTIONS = 20_000
_SENT_AT_ONCE = 2_000
_PARTITIONS = 4
# So that ten million questions need a few GB of the broker's disk at most.
_TOPIC_CONFIGS = {"segment.bytes": str(32 * _MIB), "retention.bytes": str(256 * _MIB)}
# A rise over the window beyond which a figure is not flat: a share of its median, and the least that counts at all.
# What Kafka and Redis clients keep open varies by a few; how many clusters live varies with the stream.
_ALLOWED: dict[str, tuple[float, float]] = {
    "worker_mib": (0.05, 8.0),
    "threads": (0.0, 1.0),
    "open_files": (0.0, 3.0),
    "redis_mib": (0.05, 2.0),
    "clusters": (0.10, 50.0),
    "mirrored": (0.10, 50.0),
    "aliases": (0.25, 200.0),
    "outbox": (0.25, 500.0),
    "log_entries": (0.10, 200.0),
    "ledger_entries": (0.0, 8.0),
}


@dataclass(frozen=True, slots=True)
class SoakPlan:
    """What to run: `questions`, by `workers`; figures count from `warm_up_share` of the questions on."""

    questions: DriftingQuestions
    workers: int = 2
    warm_up_share: float = 0.4
    sample_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """How it stood `seconds` after the start, with stream time at `stream_hours`. Of workers the largest figure counts.

    `clusters` are those of Redis, `mirrored` those of the workers; `outbox` and the rest are lengths in Redis.
    """

    seconds: float
    stream_hours: float
    decided: int
    opened: int
    retired: int
    figures: dict[str, float]


@dataclass(frozen=True, slots=True)
class Soak:
    """What came of it; `trends` are over the samples after the warm-up."""

    questions: int
    decided: int
    seconds: float
    questions_per_second: float
    opened: int
    retired: int
    window_seconds: float
    trends: dict[str, Trend]
    samples: list[Sample] = field(repr=False)

    @property
    def is_flat(self) -> bool:
        """The verdict: nothing grew."""
        return all(one.is_flat for one in self.trends.values())


def measure_soak(settings: Settings, plan: SoakPlan, announce: Announce) -> Soak:
    """Run the plan on the servers of the settings, whose `clusters` say what retires; all traces are removed.

    Raises QuestreamError if a worker ends, or none decides anything for two minutes.
    """
    start_ms = int(time.time() * 1000) - int(plan.questions.hours * _HOUR_MS)
    with (
        own_stream(settings, _PARTITIONS, _TOPIC_CONFIGS) as own,
        worker_processes(own, plan.questions, plan.workers) as workers,
        _Sender(own, plan.questions.ask(start_ms)) as sender,
    ):
        samples = list(_sampled(own, plan, workers, sender, announce))
    return _verdict(plan, samples)


class _Sender:
    """Sends on a thread of its own, never more than 20,000 ahead of what the workers have decided."""

    def __init__(self, settings: Settings, asked: Iterator[Asked]) -> None:
        self._settings = settings
        self._asked = asked
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._guard, name="soak-sender", daemon=True)
        self.sent = 0
        self.decided = 0

    def __enter__(self) -> _Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def check(self) -> None:
        """Raise what ended the sending."""
        if self._failure is not None:
            raise self._failure

    def _guard(self) -> None:
        try:
            self._send()
        except BaseException as error:  # carried to whoever checks
            self._failure = error

    def _send(self) -> None:
        with open_producer(self._settings, linger_ms=20, batch_size=262_144) as producer:
            for number, asked in enumerate(self._asked):
                if number % _SENT_AT_ONCE == 0:
                    producer.flush()
                    self.sent = number
                    while self.sent - self.decided > _LAG_QUESTIONS and not self._stopping.wait(0.05):
                        pass
                if self._stopping.is_set():
                    return
                producer.send(
                    self._settings.kafka.input_topic,
                    value=orjson.dumps({"id": f"q{number}", "text": asked.text}),
                    partition=number % _PARTITIONS,
                    timestamp_ms=asked.timestamp,
                )
                self.sent = number + 1
            producer.flush()


def _sampled(
    settings: Settings, plan: SoakPlan, workers: Sequence[WorkerProcess], sender: _Sender, announce: Announce
) -> Iterator[Sample]:
    """A sample every few seconds until all questions are decided."""
    started = moved_at = next_at = time.monotonic()
    decided = 0
    with contextlib.closing(connect_redis(settings.redis)) as client:
        while decided < plan.questions.count:
            # The sender waits for these figures: they are taken more often than samples are.
            time.sleep(0.2)
            sender.check()
            counts = [worker.counts() for worker in workers]
            now, before = time.monotonic(), decided
            decided = sender.decided = sum(one.decided for one in counts)
            if decided > before:
                moved_at = now
            elif now - moved_at > _STANDSTILL_SECONDS:
                raise QuestreamError(f"{decided} are decided, and none for {_STANDSTILL_SECONDS:.0f} s")
            if now < next_at and decided < plan.questions.count:
                continue
            next_at = now + plan.sample_seconds
            hours = plan.questions.hours * decided / plan.questions.count
            announce(f"soak: {decided:,} of {plan.questions.count:,} questions, hour {hours:.1f} of the stream")
            figures = {**_worker_figures(workers), **_redis_figures(client, settings)}
            figures["mirrored"] = float(max(one.clusters for one in counts))
            opened = (
                int(client.hget(Keys(settings.redis.prefix).of(settings.clusters.namespace, "meta"), "next") or 1) - 1
            )
            yield Sample(now - started, hours, decided, opened, sum(one.retired for one in counts), figures)


def _worker_figures(workers: Sequence[WorkerProcess]) -> dict[str, float]:
    pids = [worker.pid for worker in workers]
    return {
        "worker_mib": max((resident_bytes(pid) or 0) / _MIB for pid in pids),
        "threads": float(max(thread_count(pid) or 0 for pid in pids)),
        "open_files": float(max(open_file_count(pid) or 0 for pid in pids)),
    }


def _redis_figures(client: Any, settings: Settings) -> dict[str, float]:
    namespace, topic, keys = settings.clusters.namespace, settings.kafka.input_topic, Keys(settings.redis.prefix)
    memory = client.info("memory")
    # A cluster answers for each of its nodes.
    nodes = [memory] if "used_memory" in memory else list(memory.values())
    ledgers = [client.llen(keys.of(namespace, f"ledger:{topic}:{partition}")) for partition in range(_PARTITIONS)]
    return {
        "redis_mib": sum(node["used_memory"] for node in nodes) / _MIB,
        "clusters": float(client.zcard(keys.of(namespace, "idle"))),
        "aliases": float(client.zcard(keys.of(namespace, "aliases"))),
        "outbox": float(client.zcard(keys.of(namespace, "outbox"))),
        "log_entries": float(client.xlen(keys.of(namespace, "log"))),
        "ledger_entries": float(sum(ledgers)),
    }


def _verdict(plan: SoakPlan, samples: list[Sample]) -> Soak:
    last = samples[-1]
    window = [sample for sample in samples if sample.decided >= plan.warm_up_share * plan.questions.count]
    if len(window) < 3:
        raise QuestreamError("too few samples after the warm-up for a verdict: more questions, or a sample more often")
    times = [sample.seconds for sample in window]
    trends = {
        name: trend(times, [sample.figures[name] for sample in window], share, least)
        for name, (share, least) in _ALLOWED.items()
    }
    return Soak(
        questions=plan.questions.count,
        decided=last.decided,
        seconds=last.seconds,
        questions_per_second=last.decided / last.seconds,
        opened=last.opened,
        retired=last.retired,
        window_seconds=times[-1] - times[0],
        trends=trends,
        samples=samples,
    )
