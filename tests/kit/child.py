"""A program of ours as a process of its own, which a test may kill."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.kit.forked import Forked


class ChildProcess:
    """What all of them have; `_process` is the one that runs, once it was started."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | Forked | None = None

    @property
    def running(self) -> bool:
        """True if it has not ended."""
        return self._process is not None and self._process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            if self._process.stdin is not None:
                self._process.stdin.close()
            self._process = None


def own_environment() -> dict[str, str]:
    """The environment without settings of questream, which the process is given otherwise."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUESTREAM_")}
    # Set, it would have every process compile sentence-transformers anew.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    return environment
