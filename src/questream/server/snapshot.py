"""Something that takes seconds to find out: found out in the background, and kept for a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

from questream.errors import QuestreamError
from questream.server.failures import Failures, read_failure, without_traceback
from questream.server.problems import loading

T = TypeVar("T")


class Found(NamedTuple, Generic[T]):
    """A result and its time, in ms since the epoch."""

    value: T
    at: int


class Snapshot(Generic[T]):
    """The result of `find_out`, computed again once it is older than that. For any thread; one computes at a time.

    What it raises is raised again for a while, before another call.
    """

    def __init__(
        self, what: str, find_out: Callable[[], T], max_age_seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._find_out = find_out
        self._max_age_seconds = max_age_seconds
        self._failures = Failures(now)
        self._guard = threading.Lock()
        self._found: Found[T] | None = None
        self._found_at = 0.0
        self._failure: QuestreamError | None = None
        self._done: threading.Event | None = None

    def get(self, wait_seconds: float = 3.0) -> Found[T]:
        """The last result, while the next is computed in the background.

        Raises Refused where that takes longer and nothing is known, and what `find_out` raised last.
        """
        with self._guard:
            if self._found is not None and time.monotonic() - self._found_at < self._max_age_seconds:
                return self._found
            self._failures.check(self._what)
            done, known = self._begin(), self._found
        # A known result is shown without a wait, unless it is very old.
        is_recent = known is not None and time.monotonic() - self._found_at < 2 * self._max_age_seconds
        if not done.wait(0.0 if is_recent else wait_seconds) and known is None:
            raise loading(self._what)
        with self._guard:
            if self._failure is not None:
                raise without_traceback(self._failure)
            found = self._found or known
        if found is None:
            raise loading(self._what)
        return found

    def forget(self) -> None:
        """Something changed: what is asked next is found out anew."""
        with self._guard:
            self._failures.clear(self._what)
            self._found, self._done = None, None

    def _begin(self) -> threading.Event:
        if self._done is None or self._done.is_set():
            self._done = threading.Event()
            threading.Thread(target=self._run, args=(self._done,), name=self._what, daemon=True).start()
        return self._done

    def _run(self, done: threading.Event) -> None:
        found: Found[T] | None = None
        failure: QuestreamError | None = None
        try:
            found = Found(self._find_out(), int(time.time() * 1000))
        except Exception as error:
            failure = read_failure(error, self._what)
        with self._guard:
            if self._done is done:
                self._failure = failure
                if failure is not None:
                    self._failures.add(self._what, failure)
                if found is not None:
                    self._failures.clear(self._what)
                    self._found, self._found_at = found, time.monotonic()
            done.set()
