"""A worker's start, reported part by part from within its process; each part does its own imports."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from questream.settings import Settings
    from questream.stream.worker import Worker

_LOOK_SECONDS = 0.005
_MIB = 1024**2


@dataclass(frozen=True, slots=True)
class StartPart:
    """A part of a start, by the clock and in processor time of all threads; and the process's memory at its end.

    `mapped_mib` of the `resident_mib` are of files that processes share, such as libraries. A figure is None
    where the system does not report it.
    """

    name: str
    seconds: float
    cpu_seconds: float
    resident_mib: float | None
    mapped_mib: float | None


def start_and_report(settings: Settings, started_at: float, tie: Connection) -> None:
    """Start a worker as `questream run` does, and send each part through `tie` as it is done, from `started_at` on.

    It ends with its first decision, or when the other end of `tie` closes. `started_at` is time.time().
    """
    report = _reporter(tie, started_at)
    report("python, settings")
    from questream.stream.starting import try_servers

    try_servers(settings)
    report("topics and logins")
    import torch  # noqa: F401 - its import is the part

    report("torch")
    from questream.encoder import load_encoder

    encoder = load_encoder(settings.model)
    report("model")
    from questream.stream.worker import Worker

    worker = Worker(settings, encoder)
    report("worker")
    threading.Thread(target=_watch, args=(worker, report, tie), name="watch", daemon=True).start()
    worker.run()


def _watch(worker: Worker, report: Callable[[str], None], tie: Connection) -> None:
    try:
        _wait(lambda: worker.condition.ready() is None, tie)
        report("place in the group")
        _wait(lambda: next(iter(worker.metrics.published.collect())).samples[0].value > 0, tie)
        report("first decision")
    finally:
        worker.stop()


def _wait(condition: Callable[[], bool], tie: Connection) -> None:
    while not condition():
        if tie.poll(_LOOK_SECONDS):
            raise EOFError


def _reporter(tie: Connection, started_at: float) -> Callable[[str], None]:
    clock, cpu = started_at, 0.0

    def report(name: str) -> None:
        nonlocal clock, cpu
        clock_now, cpu_now = time.time(), time.process_time()
        resident, mapped = _memory()
        tie.send(StartPart(name, clock_now - clock, cpu_now - cpu, resident, mapped))
        clock, cpu = clock_now, cpu_now

    return report


def _memory() -> tuple[float | None, float | None]:
    """MiB that this process has in RAM, and how much of that is of files."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()
    except OSError:
        return None, None
    resident, mapped = (int(count) * os.sysconf("SC_PAGE_SIZE") / _MIB for count in pages[1:3])
    return resident, mapped
