"""The processor time of each test file, with all that it starts, and of each kind of process: `make test ARGS=--costs`.

A server that tests share counts to the files that ran beside it in the process that started it. A process that was
started and has ended between two looks counts as one of the rest. A look goes through all processes of the machine and
takes as long as a short test: what short tests use counts to the first after them that is looked after.
"""

from __future__ import annotations

import contextlib
import time
from collections import defaultdict
from collections.abc import Generator
from typing import Any

import psutil
import pytest

_BY_FILE, _BY_KIND = "processor seconds", "processor seconds by kind"
_SHOWN = 60
_LOOK_EVERY_SECONDS = 0.2
# By words of the command; the first that fits.
_KINDS = {
    "kafka.Kafka": "Apache Kafka",
    "redis-": "Redis and Sentinel",
    "chrom": "Chromium",
    "tests.kit.nursery": "forked workers",
    "-m questream": "commands of questream",
}
_ITSELF, _COLLECTION, _REST = "tests themselves", "start and collection", "the rest"

# Children: the kind, and what was used with all below when it was last seen.
_seen: dict[psutil.Process, tuple[str, float]] = {}
_collection: dict[str, float] = {}
_files = defaultdict[str, float](float)
_kinds = defaultdict[str, float](float)


class _Meter:
    """What was used by kind until the last look."""

    def __init__(self) -> None:
        self._used = dict[str, float]()
        self._taken = dict[str, float]()
        self._look_at = 0.0

    def look(self) -> None:
        """Note what was used until now, unless there was a look a moment ago."""
        if time.monotonic() >= self._look_at:
            self._used = _used()
            self._look_at = time.monotonic() + _LOOK_EVERY_SECONDS

    def take(self) -> dict[str, float]:
        """What of it was not taken before."""
        untaken = {kind: seconds - self._taken.get(kind, 0.0) for kind, seconds in self._used.items()}
        self._taken = self._used
        return untaken


_meter = _Meter()


def pytest_collection_finish() -> None:
    """What was used until now is no test's."""
    _meter.look()
    _collection[_COLLECTION] = sum(_meter.take().values())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Add what was used and not reported yet to the last report of this test."""
    report = yield
    # At each step of a test: what it has started has often ended at the last.
    _meter.look()
    if report.when == "teardown":
        kinds = _meter.take()
        report.user_properties.append((_BY_FILE, sum(kinds.values())))
        report.user_properties.append((_BY_KIND, kinds | _collection))
        _collection.clear()
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up by file and by kind, in the process that gets the reports of all tests."""
    if report.when == "teardown":
        properties: dict[str, Any] = dict(report.user_properties)
        _files[report.nodeid.partition("::")[0]] += properties.get(_BY_FILE, 0.0)
        for kind, seconds in properties.get(_BY_KIND, {}).items():
            _kinds[kind] += seconds


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """All kinds, and the files that cost most."""
    terminalreporter.section(f"processor time, {sum(_kinds.values()):,.0f} s in all")
    for name, seconds in [*_most(_kinds), *_most(_files)[:_SHOWN]]:
        terminalreporter.write_line(f"{seconds:8.1f} s  {name}")


def _most(seconds: dict[str, float]) -> list[tuple[str, float]]:
    return sorted(seconds.items(), key=lambda one: -one[1])


def _used() -> dict[str, float]:
    """Seconds by kind that this process, those it has waited for, and all that live below it have used."""
    me = psutil.Process()
    # By process id: the child that a process is, or is below.
    children: dict[int, psutil.Process] = {}
    living = defaultdict[psutil.Process, float](float)
    # Parents come first.
    for process in me.children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess), process.oneshot():
            parent = process.ppid()
            child = process if parent == me.pid else children.get(parent, process)
            children[process.pid] = child
            times = process.cpu_times()
            living[child] += times.user + times.system + times.children_user + times.children_system
    for child, seconds in living.items():
        with contextlib.suppress(psutil.NoSuchProcess):
            command = " ".join(child.cmdline())
            _seen[child] = next((kind for part, kind in _KINDS.items() if part in command), _REST), seconds
    own = me.cpu_times()
    whole = own.children_user + own.children_system + sum(living.values())
    used = {_ITSELF: own.user + own.system, _REST: whole - sum(seconds for _, seconds in _seen.values())}
    for kind, seconds in _seen.values():
        used[kind] = used.get(kind, 0.0) + seconds
    return used
