"""The processor time of each test file, with all that it starts: `make test ARGS=--costs` ends with it.

A server that tests share counts to the files that ran beside it in the process that started it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator
from typing import Any

import psutil
import pytest

_NAME = "processor seconds"
_SHOWN = 60

_before = [0.0]
_seconds: defaultdict[str, float] = defaultdict(float)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """Add what was used since the last test to the last report of this one."""
    report = yield
    if report.when == "teardown":
        now = _used()
        report.user_properties.append((_NAME, now - _before[0]))
        _before[0] = now
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Add up by file, in the process that hears of all tests."""
    if report.when == "teardown":
        properties: dict[str, Any] = dict(report.user_properties)
        _seconds[report.nodeid.partition("::")[0]] += properties.get(_NAME, 0.0)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The files that cost most."""
    terminalreporter.section(f"processor time, {sum(_seconds.values()):,.0f} s in all")
    for file, seconds in sorted(_seconds.items(), key=lambda one: -one[1])[:_SHOWN]:
        terminalreporter.write_line(f"{seconds:8.1f} s  {file}")


def _used() -> float:
    """Seconds that this process, those it has waited for, and all that live below it have used."""
    me = psutil.Process()
    total = 0.0
    for process in [me, *me.children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system + times.children_user + times.children_system
    return total
