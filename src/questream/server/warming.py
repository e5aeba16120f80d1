"""What the first pages need, made ready from the start on, so that no request has to wait for it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from questream.errors import QuestreamError
from questream.server.problems import Refused

logger = logging.getLogger(__name__)


class Warming:
    """Takes steps one after the other, in the background. For any thread.

    A step that fails is left to the requests that need it, and the next one is taken.
    """

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps: Sequence[Callable[[], object]] = steps
        self._done = threading.Event()
        if not steps:
            self._done.set()

    def start(self) -> None:
        """Begin."""
        threading.Thread(target=self._run, name="warming", daemon=True).start()

    @property
    def is_done(self) -> bool:
        """Whether all steps were taken."""
        return self._done.is_set()

    def _run(self) -> None:
        try:
            for step in self._steps:
                try:
                    step()
                except (QuestreamError, Refused) as error:
                    logger.warning("a page could not be made ready", extra={"reason": str(error)})
        finally:
            self._done.set()
