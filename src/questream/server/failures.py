"""Failures of reads, kept and raised again for later requests."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from questream.errors import QuestreamError

logger = logging.getLogger(__name__)

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 10.0
_MOST_FAILURES = 64

E = TypeVar("E", bound=QuestreamError)


class CannotBeRead(QuestreamError):
    """An error of another library while something was read; it is tried again."""


def read_failure(error: Exception, what: str) -> QuestreamError:
    """The error of a failed read of `what`, to be kept.

    An error of another library is not quoted: its text may quote data.
    """
    if isinstance(error, QuestreamError):
        return without_traceback(error)
    logger.warning("something could not be found out", extra={"what": what, "error": type(error).__name__})
    return CannotBeRead(f"{what} cannot be read now", "ask again: the log of this server names the kind of error")


def without_traceback(error: E) -> E:
    """The same error without traceback and cause, to be kept, and each time that it is raised.

    These hold the frames that it went through, with all that was in hand there: half a table, or each request that
    got it.
    """
    fresh = type(error).__new__(type(error), *error.args)
    vars(fresh).update(vars(error))
    return fresh


@dataclass(frozen=True, slots=True)
class _Failure:
    """An error, how often it came in a row, and until when it is raised again without a new attempt."""

    error: QuestreamError
    times: int
    until: float


class Failures:
    """The last 64 failures of reads, by what was read. For any thread.

    It is left alone for a second, after the next failure for twice as long, ten seconds at most: of many requests one
    asks a store that does not answer.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._guard = threading.Lock()
        self._met: OrderedDict[str, _Failure] = OrderedDict()

    def check(self, name: str) -> None:
        """Raises the last failure during its pause."""
        with self._guard:
            known = self._met.get(name)
        if known is not None and self._now() < known.until:
            raise without_traceback(known.error)

    def add(self, name: str, error: QuestreamError) -> None:
        """Keep a failure, and begin its pause."""
        with self._guard:
            known = self._met.pop(name, None)
            times = 1 if known is None else known.times + 1
            # 2^9 seconds are more than the longest pause.
            pause = min(_FIRST_PAUSE_SECONDS * 2 ** min(times - 1, 9), _LONGEST_PAUSE_SECONDS)
            self._met[name] = _Failure(without_traceback(error), times, self._now() + pause)
            while len(self._met) > _MOST_FAILURES:
                self._met.popitem(last=False)

    def clear(self, name: str) -> None:
        """Forget the failure: it was read, or is to be tried at once."""
        with self._guard:
            self._met.pop(name, None)
