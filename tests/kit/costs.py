"""The processor time of each test file, with all that it starts, and of each kind of process: `make test ARGS=--costs`.

A server that tests share counts to the files that ran beside it in the process that started it. A process that was
started and has ended between two looks counts as one of the rest.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from typing import Any

import psutil
import pytest

_BY_FILE, _BY_KIND = "processor seconds", "processor seconds by kind"
_SHOWN = 60
# By what stands in the command; the first that fits.
_KINDS = {
    "kafka.Kafka": "Apache Kafka",
    "redis-": "Redis and Sentinel",
    "chrom": "Chromium",
    "tests.kit.nursery": "forked workers",
    "-m questream": "commands of questream",
}
_ITSELF, _COLLECTION, _REST = "tests themselves", "start and collection", "the rest"

# Children by process id and time of their start: the kind, and what was used with all below when it was last seen.
_seen: dict[tuple[int, float], tuple[str, float]] = {}
_before: dict[str, float] = {}
_files = defaultdict[str, float](float)
_kinds = defaultdict[str, float](float)


def pytest_collection_finish() -> None:
    """What was used until now is no test's."""
    _before.update(_used())
    _before[_COLLECTION] = -sum(_before.values())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Add what was used since the last test to the last report of this one."""
    report = yield
    # At each step of a test: what it has started has often ended at the last.
    used = _used()
    if report.when == "teardown":
        kinds = {kind: used.get(kind, 0.0) - _before.get(kind, 0.0) for kind in used.keys() | _before.keys()}
        report.user_properties.append((_BY_FILE, sum(kinds.values()) - kinds.get(_COLLECTION, 0.0)))
        report.user_properties.append((_BY_KIND, kinds))
        _before.clear()
        _before.update(used)
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up by file and by kind, in the process that hears of all tests."""
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
    own = me.cpu_times()
    whole = own.children_user + own.children_system
    for child in me.children():
        try:
            key = child.pid, child.create_time()
            command = " ".join(child.cmdline())
            seconds = sum(_of(process) for process in [child, *child.children(recursive=True)])
        except psutil.NoSuchProcess:
            continue
        _seen[key] = next((kind for part, kind in _KINDS.items() if part in command), _REST), seconds
        whole += seconds
    used = {_ITSELF: own.user + own.system, _REST: whole - sum(seconds for _, seconds in _seen.values())}
    for kind, seconds in _seen.values():
        used[kind] = used.get(kind, 0.0) + seconds
    return used


def _of(process: psutil.Process) -> float:
    """Seconds that a process and those it has waited for have used; none where it has ended meanwhile."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)
