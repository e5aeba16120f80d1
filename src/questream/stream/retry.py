"""How calls to the store are tried again: for as long as it takes, until the worker stops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tenacity

from questream.errors import Contended, StoreUnavailable

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 5.0


class Retry:
    """Waits between tries are cut short by `stopping`. `available` tells whether the store answered the last time."""

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self.available = True

    def store(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call until the store answers. Raises the last error once the worker is stopping."""
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((StoreUnavailable, Contended)),
            wait=tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS),
            sleep=tenacity.sleep_using_event(self._stopping),
            stop=tenacity.stop_when_event_set(self._stopping),
            before_sleep=self._note,
            reraise=True,
        )
        answer = retrying(call, *args, **kwargs)
        if not self.available:
            self.available = True
            logger.info("the store answers again")
        return answer

    def _note(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, StoreUnavailable) and self.available:
            self.available = False
            logger.warning("the store does not answer; trying until it does", extra={"reason": str(error)})
