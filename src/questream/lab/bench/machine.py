"""The machine of a measurement: without it a figure means nothing."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict, TypeVar

import psutil

_PACKAGES = ("questream", "numpy", "torch", "kafka-python", "redis", "orjson")
_GIB = 1024**3

T = TypeVar("T")


class Machine(TypedDict):
    """Processor, memory and versions. `load_average` is that of the minute before; None where the system has none."""

    processor: str
    cores: int
    avx512: bool
    memory_gib: float
    system: str
    python: str
    packages: dict[str, str]
    load_average: float | None


def describe_machine() -> Machine:
    """The machine that this process runs on."""
    cpu = _cpu_info()
    return Machine(
        processor=cpu.get("model name") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        avx512="avx512f" in cpu.get("flags", "").split(),
        memory_gib=round(psutil.virtual_memory().total / _GIB, 1),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        packages={name: found for name in _PACKAGES if (found := _version(name)) is not None},
        load_average=load_average(),
    )


def usable_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_average() -> float | None:
    """Processes that ran or waited for a core in the last minute: above the number of cores, others slow us."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def cpu_seconds(pid: int) -> float | None:
    """Processor time that a process has used so far, all its threads; None where the system does not report it."""
    return _figure(lambda: sum(psutil.Process(pid).cpu_times()[:2]))


def resident_bytes(pid: int) -> int | None:
    """Memory of a process that is in RAM now; None where the system does not report it."""
    return _figure(lambda: psutil.Process(pid).memory_info().rss)


def thread_count(pid: int) -> int | None:
    """Threads of a process; None where the system does not report them."""
    return _figure(lambda: psutil.Process(pid).num_threads())


def open_file_count(pid: int) -> int | None:
    """Open files and sockets of a process; None where the system does not report them."""
    return _figure(lambda: psutil.Process(pid).num_fds())


def peak_resident_bytes(pid: int) -> int | None:
    """The most memory that a process has ever had in RAM; None where the system does not report it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def forget_peak() -> None:
    """Let `peak_resident_bytes` of this process count from what it holds now, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _figure(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except psutil.Error:
        return None


def _cpu_info() -> dict[str, str]:
    """Linux' description of the first processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
