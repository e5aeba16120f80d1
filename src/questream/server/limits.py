"""Limits of requests: their number for a login in a minute, and the bytes of a body."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MAX_BODY_BYTES = 65_536
_MOST_NAMES = 10_000


class RateLimit:
    """Lets each name do so many things in a minute, and at once. For any thread."""

    def __init__(self, per_minute: int, now: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._now = now
        self._guard = threading.Lock()
        # By name, what is left and when that was.
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, name: str) -> float:
        """Count one; returns the seconds to wait where that is too many, else 0."""
        with self._guard:
            now = self._now()
            left, at = self._left.pop(name, (float(self._per_minute), now))
            left = min(self._per_minute, left + (now - at) * self._per_minute / 60)
            wait = 0.0 if left >= 1 else (1 - left) * 60 / self._per_minute
            self._left[name] = (left if wait else left - 1, now)
            if len(self._left) > _MOST_NAMES:
                self._left.popitem(last=False)
            return wait
