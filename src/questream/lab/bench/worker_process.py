"""Workers as processes of their own, whose figures are read from outside: metrics page, processor time, memory."""

from __future__ import annotations

import os
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from prometheus_client.parser import text_string_to_metric_families

from questream.embedded import LOOPBACK, free_port
from questream.errors import ExitCode, QuestreamError
from questream.lab.bench.child import Child, ignore_interrupts, log_errors
from questream.lab.bench.machine import cpu_seconds, peak_resident_bytes, resident_bytes
from questream.lab.bench.questions import EncoderSource
from questream.metrics import STAGES
from questream.settings import Settings
from questream.stream.worker import Worker

_START_SECONDS = 180.0
_STOP_SECONDS = 20.0
_PROBE_SECONDS = 2.0
_POLL_SECONDS = 0.1
_LABELS = ("stage", "outcome", "reason")


class NoAnswer(QuestreamError):
    """A worker runs, and its metrics page did not answer in time."""


@dataclass(frozen=True, slots=True)
class Counts:
    """A worker's counts since its start, or between two readings; None where the system does not report one.

    `stage_seconds` is summed over all batches, by stage; `peak_bytes` is the most that was ever resident.
    """

    decided: int
    batches: int
    stale_retries: int
    merges: int
    clusters: int
    retired: int
    stage_seconds: Mapping[str, float]
    cpu_seconds: float | None
    resident_bytes: int | None
    peak_bytes: int | None

    def since(self, before: Counts) -> Counts:
        """The counts since `before`; of clusters and memory the present ones."""
        seconds = None
        if self.cpu_seconds is not None and before.cpu_seconds is not None:
            seconds = self.cpu_seconds - before.cpu_seconds
        return replace(
            self,
            decided=self.decided - before.decided,
            batches=self.batches - before.batches,
            stale_retries=self.stale_retries - before.stale_retries,
            merges=self.merges - before.merges,
            retired=self.retired - before.retired,
            stage_seconds={stage: self.stage_seconds[stage] - until for stage, until in before.stage_seconds.items()},
            cpu_seconds=seconds,
        )

    @property
    def cpu_microseconds(self) -> float | None:
        """Processor time for a question."""
        return None if self.cpu_seconds is None else self.cpu_seconds / self.decided * 1e6

    @property
    def questions_per_batch(self) -> float:
        """The mean number of questions in a micro-batch."""
        return self.decided / max(1, self.batches)


class WorkerProcess:
    """`questream run` in a child process, with an encoder of the benchmark's choice; leaving the context stops it.

    It dies with this process: the pipe between the two breaks.
    """

    def __init__(self, settings: Settings, source: EncoderSource) -> None:
        self._settings = settings
        self._source = source
        self._start()

    def _start(self) -> None:
        self._port = free_port()
        metrics = self._settings.metrics.model_copy(update={"host": LOOPBACK, "port": self._port})
        own = self._settings.model_copy(update={"metrics": metrics})
        self._child = Child("bench-worker", _run, own, self._source)

    def close(self) -> None:
        """Stop it, gracefully if it can."""
        self._child.close(_STOP_SECONDS)

    def restart_if_stuck(self) -> bool:
        """Start it again where it ended itself over a call that hung, as its supervisor would; returns whether it was.

        Raises QuestreamError if it has ended in any other way.
        """
        if self._child.process.exitcode != ExitCode.STUCK:
            self.check()
            return False
        self.close()
        self._start()
        return True

    def kill_and_restart(self) -> None:
        """Kill it as SIGKILL does, and start it again."""
        self._child.process.kill()
        self.close()
        self._start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._child.process.pid or 0

    def check(self) -> None:
        """Raise QuestreamError if it has ended."""
        if not self._child.process.is_alive():
            raise QuestreamError(f"a worker ended with code {self._child.process.exitcode}: its log is above")

    @property
    def is_ready(self) -> bool:
        """True if it has its model, its servers and its place in the group."""
        self.check()
        try:
            return bool(self._ask("/readyz"))
        except (urllib.error.URLError, OSError):
            return False

    def counts(self) -> Counts:
        """Its figures now. Raises NoAnswer if it does not answer, QuestreamError if it has ended."""
        self.check()
        try:
            page = self._ask("/metrics")
        except (urllib.error.URLError, OSError) as error:
            raise NoAnswer(f"a worker's metrics page does not answer: {type(error).__name__}") from error
        samples = {
            (sample.name, next((sample.labels[name] for name in _LABELS if name in sample.labels), None)): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }
        pid = self.pid
        return Counts(
            decided=int(sum(value for (name, _), value in samples.items() if name == "questream_assignments_total")),
            batches=int(samples["questream_batch_questions_count", None]),
            stale_retries=int(samples["questream_stale_retries_total", None]),
            merges=int(samples["questream_merges_total", None]),
            clusters=int(samples["questream_clusters", None]),
            retired=int(sum(value for (name, _), value in samples.items() if name == "questream_retired_total")),
            stage_seconds={stage: samples["questream_stage_seconds_sum", stage] for stage in STAGES},
            cpu_seconds=cpu_seconds(pid),
            resident_bytes=resident_bytes(pid),
            peak_bytes=peak_resident_bytes(pid),
        )

    def _ask(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{LOOPBACK}:{self._port}{path}", timeout=_PROBE_SECONDS) as answer:
            body: bytes = answer.read()
        return body.decode()


@contextmanager
def worker_processes(settings: Settings, sources: Sequence[EncoderSource]) -> Iterator[list[WorkerProcess]]:
    """A worker by each of `sources`, all of them ready; they are stopped at the end.

    Raises QuestreamError if one ends, or is not ready within 180 s.
    """
    with ExitStack() as started:
        workers = []
        for source in sources:
            worker = WorkerProcess(settings, source)
            started.callback(worker.close)
            workers.append(worker)
        wait_until(lambda: all(worker.is_ready for worker in workers), "the workers were ready", _START_SECONDS)
        yield workers


def wait_until(condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Raise QuestreamError unless the condition holds in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise QuestreamError(f"{seconds:.0f} s passed before {what}")
        time.sleep(_POLL_SECONDS)


def total_counts(workers: Sequence[WorkerProcess]) -> Counts:
    """Sums over all workers; of clusters and memory the largest, since each worker has all clusters."""
    each = [worker.counts() for worker in workers]
    seconds = [counts.cpu_seconds for counts in each if counts.cpu_seconds is not None]
    return Counts(
        decided=sum(counts.decided for counts in each),
        batches=sum(counts.batches for counts in each),
        stale_retries=sum(counts.stale_retries for counts in each),
        merges=sum(counts.merges for counts in each),
        clusters=max(counts.clusters for counts in each),
        retired=sum(counts.retired for counts in each),
        stage_seconds={stage: sum(counts.stage_seconds[stage] for counts in each) for stage in STAGES},
        cpu_seconds=sum(seconds) if seconds else None,
        resident_bytes=_largest(counts.resident_bytes for counts in each),
        peak_bytes=_largest(counts.peak_bytes for counts in each),
    )


def _largest(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _run(settings: Settings, source: EncoderSource, tie: Connection) -> None:
    """The child: a worker that stops when the other end of `tie` closes."""
    ignore_interrupts()
    log_errors(settings)
    worker = Worker(settings, source.open())
    threading.Thread(target=_stop_when_closed, args=(tie, worker), name="tie", daemon=True).start()
    worker.run()


def _stop_when_closed(tie: Connection, worker: Worker) -> None:
    try:
        tie.recv()
    except (EOFError, OSError):
        worker.stop()
        # Where even stopping hangs, nobody is left to kill it.
        time.sleep(_STOP_SECONDS)
        os._exit(1)
