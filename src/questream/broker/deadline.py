"""A deadline for calls that can wait for ever: when it passes, the process ends.

kafka-python's `commit_transaction`, `send_offsets_to_transaction` and `close` have no time limit and cannot be freed
from outside. Ending is safe, since every step can be replayed, and its supervisor starts it again.
"""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from questream.errors import ExitCode

logger = logging.getLogger(__name__)

_CHECK_SECONDS = 0.5
_LAST_WORDS_SECONDS = 2.0


class GuardedCall:
    """A guarded call. Time for which `held_back` says that a broker wants nothing sent does not count.

    `held_seconds` is how long that was.
    """

    def __init__(self, name: str, seconds: float, held_back: Callable[[], float] | None) -> None:
        self.name = name
        self.held_seconds = 0.0
        self._seconds = seconds
        self._held_back = held_back
        self._held_until = time.monotonic()
        self._deadline = self._held_until + seconds

    @property
    def left_seconds(self) -> float:
        """The rest of its time, without any further throttling."""
        self._look()
        return self._deadline - time.monotonic()

    def _look(self) -> None:
        held_back = self._held_back() if self._held_back is not None else 0.0
        if held_back > 0:
            now = time.monotonic()
            self.held_seconds += max(0.0, now + held_back - max(now, self._held_until))
            self._held_until = max(self._held_until, now + held_back)
            # The call that it bounds begins only then.
            self._deadline = self._held_until + self._seconds


class Watchdog:
    """Ends the process when a guarded call outlasts its deadline."""

    def __init__(self) -> None:
        self._calls: dict[int, GuardedCall] = {}
        self._numbers = itertools.count()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    @contextmanager
    def limit(self, name: str, seconds: float, held_back: Callable[[], float] | None = None) -> Iterator[GuardedCall]:
        """Guard the calls made within; `held_back` returns for how long a broker wants nothing sent from now on."""
        number = next(self._numbers)
        call = self._calls[number] = GuardedCall(name, seconds, held_back)
        try:
            yield call
        finally:
            del self._calls[number]

    def stop(self) -> None:
        """No call is guarded any more."""
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(_CHECK_SECONDS):
            for call in list(self._calls.values()):
                if call.left_seconds < 0:
                    # Logging takes locks that a stuck thread may hold; it gets a moment, not a say.
                    last_words = threading.Thread(target=_log_stuck, args=(call.name,), daemon=True)
                    last_words.start()
                    last_words.join(_LAST_WORDS_SECONDS)
                    os._exit(ExitCode.STUCK)


def _log_stuck(call: str) -> None:
    logger.critical("a call to Kafka outlasted its deadline; ending the process", extra={"call": call})
