"""The time from question to decision, at shares of a worker's capacity: open-loop, by two kinds of arrivals.

Questions arrive whether or not those before them are answered, and each is timed from the moment it was due, so that
no slow answer hides those that it kept waiting (coordinated omission: Tene, "How NOT to measure latency", 2015). All
waits are kept, so that each percentile is one of them; a histogram would round them to its buckets.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from questream.lab.bench.machine import load_average
from questream.lab.bench.pipeline import WarmStream, warm_stream
from questream.lab.bench.questions import EncoderSource
from questream.settings import Settings

Arrivals = Literal["poisson", "bursts"]
ARRIVALS: tuple[Arrivals, ...] = ("poisson", "bursts")

_QUESTIONS_OF_A_BURST = 16.0
_QUANTILES = (0.5, 0.99, 0.999, 1.0)
# More than a fetch ever gives, so that the broker waits out its time; the most that librdkafka takes.
_UNREACHED_BYTES = 100_000_000


@dataclass(frozen=True, slots=True)
class LatencyFigures:
    """From the moment a question was due until a reader of committed records saw its decision, in milliseconds.

    `share` of the worker's capacity was asked for; of a worker that had the broker collect records for
    `wait_milliseconds`, 0 for questream's own way. `batches_of_p99` is p99 in units of `batch_milliseconds`, the time
    of a full micro-batch at capacity. `stage_milliseconds` are per micro-batch; the stages overlap.
    """

    arrivals: Arrivals
    wait_milliseconds: int
    share: float
    asked_per_second: float
    answered_per_second: float
    questions: int
    p50: float
    p99: float
    p999: float
    longest: float
    batches_of_p99: float
    questions_per_batch: float
    stage_milliseconds: dict[str, float]
    cpu_microseconds: float | None
    load_average: float | None


@dataclass(frozen=True, slots=True)
class LatencyReport:
    """`capacity_per_second` is what one worker answers of a queue that is always full, in full micro-batches."""

    capacity_per_second: float
    questions_per_batch: float
    batch_milliseconds: float
    loads: list[LatencyFigures]


def measure_latencies(
    settings: Settings,
    source: EncoderSource,
    texts: Sequence[str],
    shares: Sequence[float],
    seconds: float,
    announce: Callable[[str], None],
    seed: int = 0,
    waits: Sequence[int] = (),
) -> LatencyReport:
    """One worker's capacity, then the latency at `shares` of it, `seconds` each by each kind of arrivals.

    `texts` are sent over and over. For each of `waits`, in milliseconds, a further worker that waits so long for a
    micro-batch to fill answers the same arrivals, in turns with the first.
    Raises QuestreamError if servers or a worker fail.
    """
    rng = np.random.default_rng(seed)
    with ExitStack() as opened:
        streams: dict[int, WarmStream] = {}
        for wait in (0, *waits):
            announce(f"a worker that waits for {wait} ms: {len(texts):,} questions before the first turn")
            streams[wait] = opened.enter_context(warm_stream(_waiting(settings, wait), [source], texts))
        announce(f"capacity: {len(texts):,} questions")
        before = streams[0].counts()
        questions, took = streams[0].answer_all(texts)
        capacity = questions / took
        batch = streams[0].counts().since(before).questions_per_batch
        report = LatencyReport(capacity, batch, 1000 * batch / capacity, [])
        for share in shares:
            for kind in ARRIVALS:
                due = _ARRIVALS[kind](rng, share * capacity, seconds)
                asked = list(islice(cycle(texts), len(due)))
                for wait, stream in streams.items():
                    announce(f"{share:.0%} of {capacity:,.0f} questions/s, {kind}, wait {wait} ms, {seconds:.0f} s")
                    report.loads.append(_measure(stream, asked, due, kind, wait, share, report))
        return report


def _waiting(settings: Settings, milliseconds: int) -> Settings:
    """Settings of a worker whose broker collects records for so long before it answers, by Kafka's own options."""
    if not milliseconds:
        return settings
    collecting = {"fetch_min_bytes": _UNREACHED_BYTES, "fetch_max_wait_ms": milliseconds}
    kafka = settings.kafka.model_copy(update={"options": {**settings.kafka.options, **collecting}})
    return settings.model_copy(update={"kafka": kafka})


def _measure(
    stream: WarmStream,
    asked: Sequence[str],
    due: NDArray[np.float64],
    kind: Arrivals,
    wait: int,
    share: float,
    report: LatencyReport,
) -> LatencyFigures:
    before = stream.counts()
    waits = np.asarray(stream.answer_paced(asked, due.tolist()))
    spent = stream.counts().since(before)
    p50, p99, p999, longest = (float(wait) * 1000 for wait in np.quantile(waits, _QUANTILES))
    return LatencyFigures(
        arrivals=kind,
        wait_milliseconds=wait,
        share=share,
        asked_per_second=len(due) / float(due[-1]),
        answered_per_second=len(due) / float((due + waits).max()),
        questions=len(due),
        p50=p50,
        p99=p99,
        p999=p999,
        longest=longest,
        batches_of_p99=p99 / report.batch_milliseconds,
        questions_per_batch=spent.questions_per_batch,
        stage_milliseconds={
            stage: 1000 * seconds / max(1, spent.batches) for stage, seconds in spent.stage_seconds.items()
        },
        cpu_microseconds=spent.cpu_microseconds,
        load_average=load_average(),
    )


def poisson_arrivals(rng: np.random.Generator, rate: float, seconds: float) -> NDArray[np.float64]:
    """When questions that know nothing of one another arrive, in seconds: (n,) for `rate` a second."""
    count = max(1, round(rate * seconds))
    return np.cumsum(rng.exponential(1 / rate, count))


def bursty_arrivals(rng: np.random.Generator, rate: float, seconds: float) -> NDArray[np.float64]:
    """The same rate in bursts, each all at once, 16 questions in the mean by a geometric law: (n,) seconds."""
    count = max(1, round(rate * seconds))
    sizes = rng.geometric(1 / _QUESTIONS_OF_A_BURST, count)
    bursts = np.cumsum(rng.exponential(_QUESTIONS_OF_A_BURST / rate, count))
    return np.repeat(bursts, sizes)[:count]


_ARRIVALS: Mapping[Arrivals, Callable[[np.random.Generator, float, float], NDArray[np.float64]]] = {
    "poisson": poisson_arrivals,
    "bursts": bursty_arrivals,
}
