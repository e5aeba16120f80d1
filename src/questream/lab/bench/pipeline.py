"""The whole path, measured from outside: questions into Kafka, decisions read back by a read_committed reader.

Workers run as processes of their own, as `questream run` would. Each measurement has its own topics and namespace, and
warms up first: connections, the broker's and Python's caches and the mean of the stream are learned before the clock
starts. The reader and the sender share the machine with all else; sending is over before a rate is taken.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from questream.encoder import Encoder
from questream.encoder.tokens import Tokens
from questream.errors import QuestreamError
from questream.lab.bench.machine import load_average
from questream.lab.bench.questions import EncoderSource
from questream.lab.bench.servers import own_stream
from questream.lab.bench.traffic import Questions, Reader, send_all, send_paced
from questream.lab.bench.worker_process import Counts, WorkerProcess, total_counts, worker_processes
from questream.settings import Settings
from questream.settings.tree import Client

_LEAST_PARTITIONS = 4
_WARM_UPS = 10
_STRAGGLER_SECONDS = 0.5
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class Throughput:
    """A rate and what it cost. `questions` were decided in `seconds`; `duplicates` counts records beyond one each.

    Microseconds are per question, processor time that of the workers alone; `stage_microseconds` add up to more than
    the time between two questions, since the stages overlap. `decisions_per_retry` is None where nothing was retried;
    resident memory is the largest worker's. A figure that the system does not report is None.
    """

    delivery: str
    workers: int
    questions: int
    seconds: float
    questions_per_second: float
    duplicates: int
    questions_per_batch: float
    decisions: int
    stale_retries: int
    decisions_per_retry: float | None
    merges: int
    clusters: int
    cpu_microseconds: float | None
    stage_microseconds: dict[str, float]
    resident_mib_before: float | None
    resident_mib_after: float | None
    load_average: float | None


@dataclass(frozen=True, slots=True)
class ModelRound:
    """One turn of each: the encoder alone, and the pipeline with it, on the same texts; questions per second."""

    alone: float
    pipeline: float

    @property
    def ratio(self) -> float:
        """The share of the encoder's rate that is left end to end."""
        return self.pipeline / self.alone


@dataclass(frozen=True, slots=True)
class ModelRatio:
    """The pipeline against its own encoder. The medians are those of the rounds, `ratio` the median of their ratios."""

    model: str
    device: str
    dtype: str
    questions_per_round: int
    tokens_per_question: float
    rounds: list[ModelRound]
    alone_per_second: float
    pipeline_per_second: float
    ratio: float
    throughput: Throughput


@dataclass(frozen=True, slots=True)
class Latency:
    """From the moment a question was due to be sent until a reader had its decision, in milliseconds."""

    delivery: str
    asked_per_second: float
    answered_per_second: float
    questions: int
    p50: float
    p95: float
    p99: float
    longest: float
    load_average: float | None


@contextmanager
def warm_stream(
    settings: Settings, sources: Sequence[EncoderSource], texts: Sequence[str], outside: Client | None = None
) -> Iterator[WarmStream]:
    """A stream of its own with a worker by each of `sources`, which have all answered some of `texts`; all is gone at
    the end.

    Questions are sent and decisions read by the client `outside`, where it is given another than the workers'.
    Raises QuestreamError if a worker ends, or gets nothing to do.
    """
    with own_stream(settings, max(_LEAST_PARTITIONS, len(sources))) as own, ExitStack() as opened:
        kafka = own.kafka.model_copy(update={"client": outside or own.kafka.client})
        seen = own.model_copy(update={"kafka": kafka})
        processes = opened.enter_context(worker_processes(own, sources))
        stream = WarmStream(seen, processes, opened.enter_context(Reader(seen)))
        stream.warm_up(texts)
        yield stream


class WarmStream:
    """Workers on a stream of their own; sends questions and waits for what a reader sees."""

    def __init__(self, settings: Settings, processes: Sequence[WorkerProcess], reader: Reader) -> None:
        self._settings = settings
        self._processes = processes
        self._reader = reader
        self._sent = 0

    def counts(self) -> Counts:
        """The counts of all workers so far, together."""
        return total_counts(self._processes)

    @property
    def duplicates(self) -> int:
        """Records beyond the first of their question, those that come late included."""
        time.sleep(_STRAGGLER_SECONDS)
        self._reader.check()
        return self._reader.duplicates

    def warm_up(self, texts: Sequence[str]) -> None:
        """Send `texts` until all workers have their share: the group may take a while to settle."""
        for _ in range(_WARM_UPS):
            send_all(self._settings, self._numbered(texts))
            self._wait()
            if all(process.counts().decided for process in self._processes):
                return
        raise QuestreamError(f"{_WARM_UPS} times {len(texts)} questions, and a worker still has no partition")

    def answer_all(self, texts: Sequence[str]) -> tuple[int, float]:
        """Send `texts`; (questions, seconds) from the last one sent, if most were still open then, to the last answer.

        Where the workers keep up with the sender, it is from the first one sent.
        """
        window = time.perf_counter(), self._sent
        send_all(self._settings, self._numbered(texts))
        fed = time.perf_counter(), self._reader.decided
        if self._sent - fed[1] > len(texts) / 2:
            window = fed
        self._wait()
        since, decided = window
        return self._sent - decided, max(self._reader.seen_at.values()) - since

    def answer_paced(self, texts: Sequence[str], arrivals: Sequence[float]) -> list[float]:
        """Send each text so many seconds after the start; the seconds from then until each was answered."""
        due_at = send_paced(self._settings, self._numbered(texts), arrivals)
        self._wait()
        return [self._reader.seen_at[question_id] - due for question_id, due in due_at.items()]

    def _numbered(self, texts: Sequence[str]) -> Questions:
        first = self._sent
        self._sent += len(texts)
        return [(f"q{number}", text) for number, text in enumerate(texts, start=first)]

    def _wait(self) -> None:
        self._reader.wait_for(self._sent, self._check)

    def _check(self) -> None:
        for process in self._processes:
            process.check()


def measure_throughput(
    settings: Settings, source: EncoderSource, texts: Sequence[str], warm_up: int, workers: int = 1
) -> Throughput:
    """The questions per second that `workers` answer; the first `warm_up` of `texts` are not counted."""
    with warm_stream(settings, [source] * workers, texts[:warm_up]) as stream:
        before = stream.counts()
        questions, seconds = stream.answer_all(texts[warm_up:])
        return _throughput(settings, workers, questions, seconds, before, stream)


def measure_against_encoder(settings: Settings, source: EncoderSource, texts: Sequence[str], rounds: int) -> ModelRatio:
    """The pipeline's rate with an encoder against the encoder alone, in turns on the same texts and batches.

    The encoder alone tokenises and embeds, one micro-batch after the other, in this process, while the worker idles.
    """
    encoder = source.open()
    done: list[ModelRound] = []
    with warm_stream(settings, [source], texts[: len(texts) // 2]) as stream:
        _rate_alone(encoder, texts[: len(texts) // 2], settings)
        before = stream.counts()
        windows: list[tuple[int, float]] = []

        def pipeline() -> float:
            questions, seconds = stream.answer_all(texts)
            windows.append((questions, seconds))
            return questions / seconds

        for number in range(rounds):
            # Turns swap places, so that a drift of the machine favours neither.
            if number % 2 == 0:
                alone = _rate_alone(encoder, texts, settings)
                done.append(ModelRound(alone, pipeline()))
            else:
                piped = pipeline()
                done.append(ModelRound(_rate_alone(encoder, texts, settings), piped))
        questions, seconds = sum(window[0] for window in windows), sum(window[1] for window in windows)
        throughput = _throughput(settings, 1, questions, seconds, before, stream)
    return ModelRatio(
        model=encoder.name,
        device=encoder.device,
        dtype=encoder.dtype,
        questions_per_round=len(texts),
        tokens_per_question=sum(map(len, encoder.tokenise(texts))) / len(texts),
        rounds=done,
        alone_per_second=statistics.median(turn.alone for turn in done),
        pipeline_per_second=statistics.median(turn.pipeline for turn in done),
        ratio=statistics.median(turn.ratio for turn in done),
        throughput=throughput,
    )


def measure_latency(
    settings: Settings, source: EncoderSource, texts: Sequence[str], rate: float, seconds: float
) -> Latency:
    """The latency of questions that arrive evenly at `rate` per second for `seconds`; `texts` are sent repeatedly."""
    asked = list(islice(cycle(texts), max(1, int(rate * seconds))))
    with warm_stream(settings, [source], texts) as stream:
        started = time.perf_counter()
        waits = stream.answer_paced(asked, [number / rate for number in range(len(asked))])
        took = time.perf_counter() - started
    p50, p95, p99, longest = (float(wait) * 1000 for wait in np.quantile(waits, [0.5, 0.95, 0.99, 1.0]))
    return Latency(settings.delivery, rate, len(waits) / took, len(waits), p50, p95, p99, longest, load_average())


def _rate_alone(encoder: Encoder, texts: Sequence[str], settings: Settings) -> float:
    """Texts per second of the encoder by itself, in the micro-batches that the worker would make of a full topic."""
    started = time.perf_counter()
    for first in range(0, len(texts), settings.batch_questions):
        for tokens in _within_budget(
            encoder.tokenise(texts[first : first + settings.batch_questions]), settings.batch_tokens
        ):
            encoder.encode_tokens(tokens)
    return len(texts) / (time.perf_counter() - started)


def _within_budget(tokens: Sequence[Tokens], batch_tokens: int) -> Iterator[Sequence[Tokens]]:
    start, total = 0, 0
    for at, one in enumerate(tokens):
        if at > start and total + len(one) > batch_tokens:
            yield tokens[start:at]
            start, total = at, 0
        total += len(one)
    yield tokens[start:]


def _throughput(
    settings: Settings, workers: int, questions: int, seconds: float, before: Counts, stream: WarmStream
) -> Throughput:
    spent = stream.counts().since(before)
    decisions, retries = spent.decided, spent.stale_retries
    return Throughput(
        delivery=settings.delivery,
        workers=workers,
        questions=questions,
        seconds=seconds,
        questions_per_second=questions / seconds,
        duplicates=stream.duplicates,
        questions_per_batch=spent.questions_per_batch,
        decisions=decisions,
        stale_retries=retries,
        decisions_per_retry=decisions / retries if retries else None,
        merges=spent.merges,
        clusters=spent.clusters,
        cpu_microseconds=spent.cpu_microseconds,
        stage_microseconds={stage: seconds / decisions * 1e6 for stage, seconds in spent.stage_seconds.items()},
        resident_mib_before=_mib(before.resident_bytes),
        resident_mib_after=_mib(spent.resident_bytes),
        load_average=load_average(),
    )


def _mib(resident_bytes: int | None) -> float | None:
    return None if resident_bytes is None else resident_bytes / _MIB
