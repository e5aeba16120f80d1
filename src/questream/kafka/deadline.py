"""A deadline for calls that can wait for ever: when it passes, the process ends.

kafka-python's `commit_transaction`, `send_offsets_to_transaction` and `close` have no time limit and cannot be freed
from outside. Ending is safe, since every step can be replayed, and whoever supervises the process starts it again.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

logger = logging.getLogger(__name__)

# EX_TEMPFAIL of sysexits.h: try again later.
EXIT_STUCK = 75
_CHECK_SECONDS = 0.5
_LAST_WORDS_SECONDS = 2.0


class Watchdog:
    """Ends the process when a guarded call outlasts its deadline."""

    def __init__(self) -> None:
        self._calls: dict[int, tuple[str, float]] = {}
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def limit(self, call: str, seconds: float) -> Iterator[None]:
        """Guard the calls made within."""
        number = next(self._numbers)
        self._calls[number] = (call, time.monotonic() + seconds)
        try:
            yield
        finally:
            del self._calls[number]

    def stop(self) -> None:
        """No call is guarded any more."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(_CHECK_SECONDS):
            now = time.monotonic()
            for call, deadline in list(self._calls.values()):
                if now > deadline:
                    # Logging takes locks that a stuck thread may hold; it gets a moment, not a say.
                    last_words = threading.Thread(target=_tell, args=(call,), daemon=True)
                    last_words.start()
                    last_words.join(_LAST_WORDS_SECONDS)
                    os._exit(EXIT_STUCK)


def _tell(call: str) -> None:
    logger.critical("a call to Kafka outlasted its deadline; ending the process", extra={"call": call})
