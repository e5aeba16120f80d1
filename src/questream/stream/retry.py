"""Repeats calls that `errors.POLICIES` says to retry: for as long as it takes, until the worker stops."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import tenacity

from questream.errors import DeserializerUnavailable, QuestreamError, Recourse, StoreUnavailable, recourse_of

logger = logging.getLogger(__name__)

P = ParamSpec("P")
T = TypeVar("T")

_FIRST_WAIT_SECONDS = 0.05
_LONGEST_WAIT_SECONDS = 5.0


class Retry:
    """Waits between tries are cut short by `stopping`. Safe from any thread.

    All is available while no call is being tried again: a read may work where no write does, and clears no write that
    fails.
    """

    def __init__(self, stopping: threading.Event) -> None:
        self._stopping = stopping
        self._failing: dict[object, QuestreamError] = {}

    @property
    def available(self) -> bool:
        """True if no call is being tried again."""
        return not self._failing

    @property
    def trouble(self) -> QuestreamError | None:
        """The reason why a call is being tried again, if one is."""
        return next(iter(list(self._failing.values())), None)

    def give_up(self) -> None:
        """End all calls that are being tried again, and whatever else waits for the same end."""
        self._stopping.set()

    def call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call until the answer is not one to try again. Raises the last error once the worker is stopping.

        A namespace that somebody holds is left to the caller: the others must not wait for it.
        """
        # Nearly every call is answered at once: tenacity's bookkeeping would then cost more than many a call itself.
        try:
            return call(*args, **kwargs)
        except Exception as error:
            if recourse_of(error) is not Recourse.RETRY:
                raise
            first = error
        return self._try_again(first, lambda: call(*args, **kwargs))

    def _try_again(self, first: Exception, call: Callable[[], T]) -> T:
        """Wait and call until the answer is not one to try again; `first` is the error of the try before.

        Raises the last error once the worker is stopping.
        """
        failed = [first]

        def attempt() -> T:
            # Tenacity sees the first try as well, or its first wait would come one try too late.
            if failed:
                raise failed.pop()
            return call()

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
            return retrying(attempt)
        finally:
            error = self._failing.pop(this, None)
            if error is not None and self.available:
                logger.info("%s works again", _server_of(error))

    def _note(self, call: object, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, StoreUnavailable | DeserializerUnavailable):
            if self.available:
                logger.warning(
                    "%s does not answer; trying until it does", _server_of(error), extra={"reason": str(error)}
                )
            self._failing[call] = error


def _server_of(error: QuestreamError) -> str:
    return "the store" if isinstance(error, StoreUnavailable) else "the server that the decoder asks"
