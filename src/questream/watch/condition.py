"""Liveness and readiness of a process that publishes or delivers events."""

from __future__ import annotations

import time
from typing import Literal


class WatchCondition:
    """Set by the process's own thread, asked by any. A loop that does not turn for `stall_seconds` stalls.

    `work` is what such a process does with events.
    """

    def __init__(self, work: Literal["publishes", "delivers"], stall_seconds: float) -> None:
        self._work = work
        self._stall_seconds = stall_seconds
        self._trouble: str | None = "not a member of the consumer group yet"
        self._remark: str | None = None
        self._turned_at: float | None = None

    def note_waiting(self, *, is_member: bool) -> None:
        """Another process does the work, as far as is known."""
        trouble = None if is_member else "not a member of the consumer group yet"
        self._turn(trouble, f"another process {self._work} events")

    def note_learning(self) -> None:
        """Note that the past decisions are read."""
        self._turn("learning from the decisions that were looked at before", None)

    def note_working(self) -> None:
        """Events are published, or delivered, as they happen."""
        self._turn(None, None)

    def note_remark(self, remark: str) -> None:
        """It goes on, with something to be said about it."""
        self._turn(None, remark)

    def note_turn(self) -> None:
        """The loop turned; all else is as it was."""
        self._turned_at = time.monotonic()

    def note_lost(self, error: Exception) -> None:
        """A session was lost."""
        self._turn(str(error), None)

    def note_end(self) -> None:
        """No session runs, so that none can stall."""
        self._turned_at = None

    def live(self) -> str | None:
        """None while the loop turns."""
        turned_at = self._turned_at
        if turned_at is None or time.monotonic() - turned_at < self._stall_seconds:
            return None
        return "nothing was read for longer than kafka.max_poll_interval_seconds"

    def ready(self) -> str | None:
        """None if this process does the work, or would if the one that does so ended; else the reason."""
        return self._trouble

    def remark(self) -> str | None:
        """The remark of `/readyz` on a process that is ready."""
        return self._remark

    def _turn(self, trouble: str | None, remark: str | None) -> None:
        self._trouble, self._remark, self._turned_at = trouble, remark, time.monotonic()
