"""Preloads the data of the first pages at the start, so that no request has to wait for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from questream.errors import QuestreamError, StoreUnavailable
from questream.server.problems import Refused

logger = logging.getLogger(__name__)

_PAUSE_SECONDS = 1.0


class Warming:
    """Takes steps one after the other, in the background. For any thread.

    A step that the store does not answer is taken again until it does. One that fails otherwise is left to the requests
    that need it, and the next one is taken.
    """

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps: Sequence[Callable[[], object]] = steps
        self._done = threading.Event()
        self._closed = threading.Event()
        if not steps:
            self._done.set()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="warming", daemon=True).start()

    def close(self) -> None:
        """Take no step again."""
        self._closed.set()

    @property
    def is_done(self) -> bool:
        """True if all steps were taken."""
        return self._done.is_set()

    def _run(self) -> None:
        try:
            for step in self._steps:
                self._take(step)
        finally:
            self._done.set()

    def _take(self, step: Callable[[], object]) -> None:
        is_logged = False
        while not self._closed.is_set():
            try:
                step()
                return
            except StoreUnavailable as error:
                if not is_logged:
                    logger.warning("a page is made ready once the store answers", extra={"reason": str(error)})
                is_logged = True
                self._closed.wait(_PAUSE_SECONDS)
            except (QuestreamError, Refused) as error:
                logger.warning("a page could not be made ready", extra={"reason": str(error)})
                return
            except Exception as error:
                # Its text is not shown: a client's error may quote what it read.
                logger.warning("a page could not be made ready", extra={"error": type(error).__name__})
                return
