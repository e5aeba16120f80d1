"""A day of a drifting stream in as little time as the workers take for it: does anything grow that should not?

Record timestamps advance by the day while the clock advances by an hour or so, so that clusters are born, go idle and
retire as they would in a day. What depends on the clock instead is there more than it would be in a real day: the
tombstones that wait a minute, and what a retired cluster leaves behind for ten minutes.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from questream.broker.connect import open_producer
from questream.broker.port import Outgoing, Place
from questream.errors import QuestreamError, StoreRefused, StoreUnavailable
from questream.interrupts import settle_interrupt
from questream.lab.bench.drift import Asked, DriftingQuestions
from questream.lab.bench.machine import open_file_count, resident_bytes, thread_count
from questream.lab.bench.servers import own_stream
from questream.lab.bench.trend import Trend, trend
from questream.lab.bench.worker_process import Counts, NoAnswer, WorkerProcess, worker_processes
from questream.lab.task import Task
from questream.settings import Settings
from questream.store.redis.client import connect_redis
from questream.store.redis.failures import translated
from questream.store.redis.keys import Keys

Announce = Callable[[str], None]

_MIB = 1024**2
_HOUR_MS = 3_600_000
# A machine that is busy with other things may leave a soak aside for minutes.
_STANDSTILL_SECONDS = 600.0
_PATIENCE_SECONDS = _STANDSTILL_SECONDS
_LINGER_SECONDS = 0.02
_LAG_QUESTIONS = 20_000
_SENT_AT_ONCE = 2_000
_PARTITIONS = 4
# So that ten million questions need a few GB of the broker's disk at most.
_TOPIC_CONFIGS = {"segment.bytes": str(32 * _MIB), "retention.bytes": str(256 * _MIB)}
# A rise over the window beyond which a figure is not flat: a share of its median, and the least that counts at all.
# The number of open files of clients varies by a few, the number of live clusters with the stream.
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
    """The plan of a run: `questions`, by `workers`; figures count from `warm_up_share` of the questions on."""

    questions: DriftingQuestions
    workers: int = 2
    warm_up_share: float = 0.4
    sample_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """A sample, `seconds` after the start, with stream time at `stream_hours`. Of workers the largest figure counts.

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
    """The result of a run; `trends` are over the samples after the warm-up.

    `decided` is less than `questions` where the run was interrupted. `gaps` counts the looks at a worker or at Redis
    that got no answer, `restarts` the workers that ended over a call that hung and were started again.
    """

    questions: int
    decided: int
    seconds: float
    questions_per_second: float
    opened: int
    retired: int
    window_seconds: float
    gaps: int
    restarts: int
    trends: dict[str, Trend]
    samples: list[Sample] = field(repr=False)

    @property
    def is_flat(self) -> bool:
        """The verdict: nothing grew."""
        return all(one.is_flat for one in self.trends.values())


def measure_soak(settings: Settings, plan: SoakPlan, announce: Announce) -> Soak:
    """Run the plan on the servers of the settings, whose `clusters` say what retires; all traces are removed.

    Ctrl-C ends it with what it has by then. Raises QuestreamError if a worker ends for another reason than a call that
    hung, or none decides anything for ten minutes.
    """
    start_ms = int(time.time() * 1000) - int(plan.questions.hours * _HOUR_MS)
    samples: list[Sample] = []
    with (
        own_stream(settings, _PARTITIONS, _TOPIC_CONFIGS) as own,
        worker_processes(own, [plan.questions] * plan.workers) as workers,
        _Sender(own, plan.questions.ask(start_ms)) as sender,
    ):
        crew = _Crew(workers)
        try:
            samples.extend(_sampled(own, plan, crew, sender, announce))
        except KeyboardInterrupt:
            settle_interrupt()
            announce("soak: interrupted")
    return _verdict(plan, samples, crew)


class _Crew:
    """The workers, whose figures stay as they were last seen while one of them does not answer."""

    def __init__(self, workers: Sequence[WorkerProcess]) -> None:
        self._workers = workers
        self._latest: list[Counts | None] = [None] * len(workers)
        self._retired_before = 0
        self.gaps = 0
        self.restarts = 0

    def look(self) -> None:
        """Ask all of them. Raises QuestreamError if one has ended for another reason than a call that hung."""
        for at, worker in enumerate(self._workers):
            latest = self._latest[at]
            if worker.restart_if_stuck():
                self.restarts += 1
                self._retired_before += latest.retired if latest else 0
                self._latest[at] = None
                continue
            try:
                self._latest[at] = worker.counts()
            except NoAnswer:
                self.gaps += 1

    @property
    def retired(self) -> int:
        """The number of clusters that the workers have retired."""
        return self._retired_before + sum(one.retired for one in self._latest if one)

    def figures(self) -> dict[str, float]:
        """Of each figure the largest of all workers."""
        pids = [worker.pid for worker in self._workers]
        return {
            "worker_mib": max((resident_bytes(pid) or 0) / _MIB for pid in pids),
            "threads": float(max(thread_count(pid) or 0 for pid in pids)),
            "open_files": float(max(open_file_count(pid) or 0 for pid in pids)),
            "mirrored": float(max((one.clusters for one in self._latest if one), default=0)),
        }


class _Sender(Task):
    """Sends on a thread of its own, never more than 20,000 ahead of what the workers have decided."""

    def __init__(self, settings: Settings, asked: Iterator[Asked]) -> None:
        super().__init__("soak-sender")
        self._settings = settings
        self._asked = asked
        self.sent = 0
        self.decided = 0

    def _note(self, outcome: Place | BaseException) -> None:
        if isinstance(outcome, BaseException):
            self._error = outcome

    def _work(self) -> None:
        topic = self._settings.kafka.input_topic
        with open_producer(self._settings, linger=_LINGER_SECONDS, patience=_PATIENCE_SECONDS) as producer:
            for number, asked in enumerate(self._asked):
                if number % _SENT_AT_ONCE == 0:
                    producer.flush()
                    self.sent = number
                    while self.sent - self.decided > _LAG_QUESTIONS and not self._stopping.wait(0.05):
                        pass
                if self._stopping.is_set():
                    return
                value = orjson.dumps({"id": f"q{number}", "text": asked.text})
                record = Outgoing(topic, None, value, (), number % _PARTITIONS, asked.timestamp)
                producer.send(record, self._note)
                self.sent = number + 1
            producer.flush()


def _sampled(settings: Settings, plan: SoakPlan, crew: _Crew, sender: _Sender, announce: Announce) -> Iterator[Sample]:
    """A sample every few seconds until all questions are decided; where Redis does not answer, one is left out."""
    started = moved_at = next_at = time.monotonic()
    decided = 0
    with contextlib.closing(connect_redis(settings.redis)) as client:
        while decided < plan.questions.count:
            # The sender waits for these figures: they are taken more often than samples are.
            time.sleep(0.2)
            sender.check()
            crew.look()
            now, before = time.monotonic(), decided
            if now - moved_at > _STANDSTILL_SECONDS:
                raise QuestreamError(f"{decided} are decided, and none for {_STANDSTILL_SECONDS:.0f} s")
            try:
                with translated():
                    decided = sender.decided = _decided(client, settings)
                    if decided > before:
                        moved_at = now
                    if now < next_at and decided < plan.questions.count:
                        continue
                    figures = {**crew.figures(), **_redis_figures(client, settings)}
                    opened = int(client.hget(_keys(settings)("meta"), "next") or 1) - 1
            except (StoreUnavailable, StoreRefused):
                crew.gaps += 1
                continue
            next_at = now + plan.sample_seconds
            hours = plan.questions.hours * decided / plan.questions.count
            announce(
                f"soak: {decided:,} of {plan.questions.count:,} questions, hour {hours:.1f} of the stream; a worker has"
                f" {figures['worker_mib']:,.0f} MiB, Redis {figures['redis_mib']:,.0f} MiB, {opened:,} opened"
            )
            yield Sample(now - started, hours, decided, opened, crew.retired, figures)


def _keys(settings: Settings) -> Callable[[str], str]:
    keys, namespace = Keys(settings.redis.prefix), settings.clusters.namespace
    return lambda name: keys.named(namespace, name)


def _ledger(settings: Settings, partition: int) -> str:
    return _keys(settings)(f"ledger:{settings.kafka.input_topic}:{partition}")


def _decided(client: Any, settings: Settings) -> int:
    """The number of decided questions by the ledgers: no worker's end or silence changes it."""
    entries = [client.lindex(_ledger(settings, partition), -1) for partition in range(_PARTITIONS)]
    # An entry begins with its batch's number and the offset up to which all is decided.
    return sum(int(entry.split(b" ", 2)[1]) + 1 for entry in entries if entry)


def _redis_figures(client: Any, settings: Settings) -> dict[str, float]:
    of = _keys(settings)
    memory = client.info("memory")
    # A cluster answers for each of its nodes.
    nodes = [memory] if "used_memory" in memory else list(memory.values())
    return {
        "redis_mib": sum(node["used_memory"] for node in nodes) / _MIB,
        "clusters": float(client.zcard(of("idle"))),
        "aliases": float(client.zcard(of("aliases"))),
        "outbox": float(client.zcard(of("outbox"))),
        "log_entries": float(client.xlen(of("log"))),
        "ledger_entries": float(sum(client.llen(_ledger(settings, partition)) for partition in range(_PARTITIONS))),
    }


def _verdict(plan: SoakPlan, samples: list[Sample], crew: _Crew) -> Soak:
    reached = samples[-1].decided if samples else 0
    window = [sample for sample in samples if sample.decided >= plan.warm_up_share * reached]
    if len(window) < 3:
        raise QuestreamError("too few samples after the warm-up for a verdict: more questions, or a sample more often")
    last = samples[-1]
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
        gaps=crew.gaps,
        restarts=crew.restarts,
        trends=trends,
        samples=samples,
    )
