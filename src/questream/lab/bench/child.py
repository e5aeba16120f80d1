"""A process that a benchmark starts, and that dies with the benchmark: the pipe between the two breaks."""

from __future__ import annotations

import multiprocessing
import signal
from collections.abc import Callable
from typing import Any

from questream.errors import QuestreamError
from questream.interrupts import kept_from_children
from questream.logs import Redactor, configure_quiet_logging, secrets_of
from questream.settings import LogSettings, Settings

# Forking a process that has threads and a GPU open deadlocks; and what travels is pickled through a pipe, so that no
# password is in a list of processes.
SPAWN = multiprocessing.get_context("spawn")

_END_SECONDS = 120.0


class Child:
    """`work(*args, tie)` in a process of its own; its `tie` is the other end of this one."""

    def __init__(self, name: str, work: Callable[..., None], *args: object) -> None:
        self.tie, childs_tie = SPAWN.Pipe()
        self.process = SPAWN.Process(target=work, args=(*args, childs_tie), name=name, daemon=True)
        with kept_from_children():
            self.process.start()
        childs_tie.close()

    def receive(self) -> Any:
        """The next object that the child sends. Raises QuestreamError where it has ended instead."""
        try:
            return self.tie.recv()
        except EOFError:
            self.process.join(_END_SECONDS)
            raise QuestreamError(f"a process ended with code {self.process.exitcode}: its log is above") from None

    def close(self, seconds: float) -> None:
        """Break the pipe, and kill it if it has not ended after so many seconds."""
        self.tie.close()
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


def log_errors(settings: Settings) -> None:
    """In a child: log errors alone, without secrets."""
    configure_quiet_logging(LogSettings(level="error", format="console"), Redactor(secrets_of(settings)))


def ignore_interrupts() -> None:
    """In a child: Ctrl-C reaches the whole terminal, and the parent alone decides when to stop."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
