"""Workers around one model: what the device does, what the host does for a question, and how many processes it takes.

The device is what this machine has. The rest is measured with vectors that are made up beforehand, as by a device that
takes no time, so that the host's own cost is seen on any machine.
"""

from __future__ import annotations

import math
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from multiprocessing.connection import Pipe

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.encoder import Encoder
from questream.encoder.sharing.exchange import Exchange
from questream.encoder.sharing.owner import ModelOwner
from questream.encoder.sharing.remote import Channel, portable
from questream.lab.bench.machine import cpu_seconds, load_average
from questream.lab.bench.owner_process import OwnerProcess
from questream.lab.bench.pipeline import WarmStream, warm_stream
from questream.lab.bench.questions import ModelSource, SyntheticQuestions
from questream.settings import Settings

_TOGETHER = (1, 4, 16)
_ROUNDS = 3
_HAND_OVERS = 200


@dataclass(frozen=True, slots=True)
class DeviceFigures:
    """The figures of the device where `requests` workers ask together, for `questions` in all.

    Medians of rounds; `cpu_microseconds` is processor time of this process for a question, on a CPU the model's own.
    """

    model: str
    device: str
    dtype: str
    requests: int
    questions: int
    tokens_per_question: float
    questions_per_second: float
    cpu_microseconds: float

    @property
    def on_gpu(self) -> bool:
        """True if it is a GPU."""
        return self.device.partition(":")[0] not in ("cpu", "mps")


@dataclass(frozen=True, slots=True)
class HostFigures:
    """Microseconds of processor time for a question: to tokenise it, and to hand it over and its vector back."""

    tokens_per_question: float
    tokenise: float
    hand_over_by_worker: float
    hand_over_by_owner: float


@dataclass(frozen=True, slots=True)
class ProcessFigures:
    """The whole path with vectors made up beforehand; medians of turns.

    `workers` is 1 for a worker that has the model itself, else there is an owner beside them. Microseconds are of
    processor time for a question; `rate_ratio` and `cpu_ratio` compare with the worker that has the model, by turns.
    """

    workers: int
    owner: bool
    questions: int
    questions_per_second: float
    rate_ratio: float
    worker_microseconds: float
    owner_microseconds: float
    cpu_ratio: float
    duplicates: int
    load_average: float | None


@dataclass(frozen=True, slots=True)
class Needed:
    """Computed from what was measured: worker processes that each use a core to the full, for so many questions/s.

    `owner_cores` is what the owner's hand-over takes of its one core; what it takes to start work on a GPU comes to it.
    """

    questions_per_second: int
    worker_microseconds: float
    processes: int
    owner_cores: float


def measure_device(settings: Settings, texts: Sequence[str]) -> Iterator[DeviceFigures]:
    """The model on its device, for one micro-batch and for several together. Raises ModelError."""
    encoder = ModelSource(settings.model).open()
    for requests in _TOGETHER:
        asked = _repeated(texts, requests * settings.batch_questions)
        ids = [tokens.ids for tokens in encoder.tokenise(asked)]
        encoder.encode_ids(ids)
        seconds, cpu = [], []
        for _ in range(_ROUNDS):
            started, cpu_started = time.perf_counter(), time.process_time()
            encoder.encode_ids(ids)
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() - cpu_started)
        yield DeviceFigures(
            model=encoder.name,
            device=encoder.device,
            dtype=encoder.dtype,
            requests=requests,
            questions=len(ids),
            tokens_per_question=sum(map(len, ids)) / len(ids),
            questions_per_second=len(ids) / statistics.median(seconds),
            cpu_microseconds=statistics.median(cpu) / len(ids) * 1e6,
        )


def measure_host(settings: Settings, texts: Sequence[str]) -> HostFigures:
    """The cost of a question outside the model, which the whole path does not show. Raises ModelError."""
    encoder = ModelSource(settings.model).open()
    asked = _repeated(texts, settings.batch_questions)
    encoder.tokenise(asked)
    started = time.process_time()
    for _ in range(_ROUNDS * 10):
        tokens = encoder.tokenise(asked)
    tokenising = (time.process_time() - started) / (_ROUNDS * 10 * len(asked)) * 1e6
    worker, owner = _hand_over(encoder, [one.ids for one in tokens])
    return HostFigures(sum(map(len, tokens)) / len(tokens), tokenising, worker, owner)


def measure_processes(
    settings: Settings, questions: SyntheticQuestions, processes: Sequence[int], turns: int
) -> Iterator[ProcessFigures]:
    """One worker that has the model, and so many around one owner, in turns on the same questions.

    Those of the first turn, which is not counted, open clusters that the others join. Raises QuestreamError if a worker
    or the owner ends.
    """
    texts = questions.texts()
    with ExitStack() as opened:
        streams = [_Turns(0, opened.enter_context(warm_stream(settings, [questions], texts)), None)]
        for count in processes:
            owner = opened.enter_context(OwnerProcess(settings, questions, count))
            streams.append(_Turns(count, opened.enter_context(warm_stream(settings, owner.sources, texts)), owner))
        for number in range(turns):
            # Turns swap places, so that a drift of the machine favours none.
            for stream in streams[:: 1 if number % 2 == 0 else -1]:
                stream.answer(texts)
        for stream in streams:
            yield stream.figures(streams[0], len(texts))


def needed(rate: int, host: HostFigures, figures: Sequence[ProcessFigures]) -> Needed:
    """Processes for `rate` questions a second, by the costs of the largest number of processes that was measured."""
    largest = max(figures, key=lambda one: one.workers)
    # Made-up vectors are looked up by the text, in the place of tokenising.
    microseconds = largest.worker_microseconds + host.tokenise
    return Needed(rate, microseconds, math.ceil(rate * microseconds / 1e6), rate * largest.owner_microseconds / 1e6)


class _Turns:
    """The turns of one number of workers."""

    def __init__(self, workers: int, stream: WarmStream, owner: OwnerProcess | None) -> None:
        self._workers = workers
        self._stream = stream
        self._owner = owner
        self._rates: list[float] = []
        self._costs: list[tuple[float, float]] = []

    def answer(self, texts: Sequence[str]) -> None:
        before, owner_before = self._stream.counts(), self._owner_seconds()
        questions, seconds = self._stream.answer_all(texts)
        spent, owner_after = self._stream.counts().since(before), self._owner_seconds()
        self._rates.append(questions / seconds)
        self._costs.append((spent.cpu_microseconds or math.nan, (owner_after - owner_before) / spent.decided * 1e6))

    def figures(self, first: _Turns, questions: int) -> ProcessFigures:
        """The medians, compared turn by turn with the first."""
        totals = zip(self._costs, first._costs, strict=True)
        return ProcessFigures(
            workers=max(1, self._workers),
            owner=self._owner is not None,
            questions=questions,
            questions_per_second=statistics.median(self._rates),
            rate_ratio=statistics.median(np.divide(self._rates, first._rates).tolist()),
            worker_microseconds=statistics.median(worker for worker, _ in self._costs),
            # The system counts processor time in steps of 10 ms, which is long for the owner: over all turns.
            owner_microseconds=statistics.mean(owner for _, owner in self._costs),
            cpu_ratio=statistics.median(sum(own) / sum(other) for own, other in totals),
            duplicates=self._stream.duplicates,
            load_average=load_average(),
        )

    def _owner_seconds(self) -> float:
        return 0.0 if self._owner is None else cpu_seconds(self._owner.pid) or math.nan


def _hand_over(encoder: Encoder, ids: Sequence[NDArray[np.int32]]) -> tuple[float, float]:
    """Microseconds of processor time for a question that a worker and the owner spend on an exchange."""
    ours, theirs = Pipe()
    exchange = Exchange.create(len(ids), sum(map(len, ids)), encoder.dimension)
    owner = ModelOwner([replace(encoder, forward=_NoForward(encoder.dimension))])
    owner.admit(ours, exchange)
    spent: list[float] = []

    def ask() -> None:
        remote = Channel(theirs, exchange).encoder(0, portable(encoder))
        started = time.thread_time()
        for _ in range(_HAND_OVERS):
            remote.encode_ids(ids)
        spent.append(time.thread_time() - started)
        theirs.close()

    asking = threading.Thread(target=ask)
    asking.start()
    started = time.thread_time()
    while owner.connections:
        owner.turn()
    spent.append(time.thread_time() - started)
    asking.join()
    by_worker, by_owner = (seconds / (_HAND_OVERS * len(ids)) * 1e6 for seconds in spent)
    return by_worker, by_owner


class _NoForward:
    """A device that takes no time and gives no sensible vectors."""

    batch_tokens = 16_384

    def __init__(self, dimension: int) -> None:
        self._dimension = dimension

    def __call__(self, batches: Sequence[Sequence[NDArray[np.int32]]]) -> Matrix:
        return np.zeros((sum(map(len, batches)), self._dimension), np.float32)


def _repeated(texts: Sequence[str], count: int) -> list[str]:
    return [texts[at % len(texts)] for at in range(count)]
