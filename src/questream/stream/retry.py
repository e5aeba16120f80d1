"""How calls to the store are tried again: for as long as it takes, until the worker stops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tenacity

from questream.errors import Recourse, StoreUnavailable, recourse_of

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 5.0


class Retry:
    """Waits between tries are cut short by `stopping`. Safe from any thread.

    The store is available while no call to it is being tried again: one that reads may work where none that writes
    does, and says nothing about that one.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._failing: dict[object, StoreUnavailable] = {}

    @property
    def available(self) -> bool:
        """Whether the store does what it is asked for."""
        return not self._failing

    @property
    def trouble(self) -> StoreUnavailable | None:
        """Why a call is being tried again, if one is."""
        return next(iter(list(self._failing.values())), None)

    def give_up(self) -> None:
        """End all calls that are being tried again, and whatever else waits for the same end."""
        self._stopping.set()

    def store(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call until the store answers. Raises the last error once the worker is stopping.

        A namespace that somebody holds is left to the caller: the others must not wait for it.
        """
        this = object()
        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(lambda error: recourse_of(error) is Recourse.RETRY),
            wait=tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_SECONDS, max=_LONGEST_WAIT_SECONDS),
            sleep=tenacity.sleep_using_event(self._stopping),
            stop=tenacity.stop_when_event_set(self._stopping),
            before_sleep=lambda state: self._note(this, state),
            reraise=True,
        )
        try:
            return retrying(call, *args, **kwargs)
        finally:
            if self._failing.pop(this, None) is not None and self.available:
                logger.info("the store does again what it is asked for")

    def _note(self, call: object, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, StoreUnavailable):
            if self.available:
                logger.warning("the store does not answer; trying until it does", extra={"reason": str(error)})
            self._failing[call] = error
