"""What a measurement was made on: without it a figure means nothing."""

from __future__ import annotations

import os
import platform
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TypedDict

_PACKAGES = ("questream", "numpy", "torch", "kafka-python", "redis", "orjson")
_GIB = 1024**3


class Machine(TypedDict):
    """Processor, memory and versions. `load_average` is that of the minute before; None where the system has none."""

    processor: str
    cores: int
    avx512: bool
    memory_gib: float | None
    system: str
    python: str
    packages: dict[str, str]
    load_average: float | None


def describe_machine() -> Machine:
    """The machine that this process runs on."""
    told = _cpu_info()
    return Machine(
        processor=told.get("model name") or platform.processor() or platform.machine(),
        cores=usable_cores(),
        avx512="avx512f" in told.get("flags", "").split(),
        memory_gib=_memory_gib(),
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
    """Processor time that a process has used so far, all its threads; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    # Fields 14 and 15 of proc(5), user and system time; field 3 is the first after the name.
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int | None:
    """Memory of a process that is in RAM now; None where the system does not tell."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def thread_count(pid: int) -> int | None:
    """Threads of a process; None where the system does not tell."""
    return _entries(Path(f"/proc/{pid}/task"))


def open_file_count(pid: int) -> int | None:
    """Open files and sockets of a process; None where the system does not tell."""
    return _entries(Path(f"/proc/{pid}/fd"))


def peak_resident_bytes(pid: int) -> int | None:
    """The most memory that a process has ever had in RAM; None where the system does not tell."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:")), None)


def forget_peak() -> None:
    """Let `peak_resident_bytes` of this process count from what it holds now, where the system can."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _entries(folder: Path) -> int | None:
    try:
        return sum(1 for _ in folder.iterdir())
    except OSError:
        return None


def _cpu_info() -> dict[str, str]:
    """What Linux says of the first processor."""
    try:
        lines = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0].splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / _GIB, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
