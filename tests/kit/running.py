"""`questream run` as a process, as a user starts it."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
import time

from tests.kit.child import own_environment
from tests.kit.stream import metric_values

START_SECONDS = 120.0
STOP_SECONDS = 60.0
_METRICS_PORT = re.compile(r'worker started.*"metrics_port": (\d+)')


class RunningWorker:
    """`questream run` with these flags, and what it writes to stderr."""

    def __init__(self, *flags: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "questream", "run", "--metrics.port=0", "--metrics.host=127.0.0.1", *flags],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            env=own_environment(),
        )
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def said(self) -> str:
        """All of stderr so far."""
        return "".join(self._lines)

    @property
    def consumed(self) -> float:
        """How many records its workers have read."""
        ports = map(int, _METRICS_PORT.findall(self.said))
        return sum(metric_values(port)["questream_consumed_total"] for port in ports)

    def wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Return once stderr holds the pattern; fails if it ends or takes too long."""
        deadline = time.monotonic() + START_SECONDS
        while (found := pattern.search(self.said)) is None:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < deadline, self.said
            time.sleep(0.05)
        return found

    def signal(self, number: int) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        """Its exit code, once it has ended."""
        code = self.process.wait(STOP_SECONDS)
        self._reader.join()
        return code

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self._lines.append(line)

    def kill(self) -> None:
        """SIGKILL, if it still runs; returns once the processes that it started have ended too."""
        self.process.kill()
        self.process.wait()
        self._reader.join(STOP_SECONDS)
        if self.process.stderr is not None:
            self.process.stderr.close()
