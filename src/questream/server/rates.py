"""The rate of a topic in records a second, counted as they arrive here."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

RATE_SECONDS = 60


class Rate:
    """Records a second over the last minute. `begin` and `take` are for the thread that follows the topic.

    A transaction's marker takes an offset in Kafka too: that is why records are counted, and not offsets.
    """

    def __init__(self, is_following: Callable[[], bool], clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing is known before `begin`, and while the topic does not arrive."""
        self._is_following = is_following
        self._clock = clock
        self._guard = threading.Lock()
        self._begun: float | None = None
        # By second, how many came in it; seconds without any have none.
        self._counts: deque[tuple[int, int]] = deque()

    def begin(self) -> None:
        """The topic is followed from now on: what came before was not all seen."""
        with self._guard:
            self._begun = self._clock()
            self._counts.clear()

    def take(self) -> None:
        """A record came."""
        with self._guard:
            second = int(self._clock())
            count = self._counts.pop()[1] if self._counts and self._counts[-1][0] == second else 0
            self._counts.append((second, count + 1))
            self._pass_time(second)

    def per_second(self) -> float | None:
        """The mean of the last minute, or of the time since `begin`; None in the first second of it, and before."""
        with self._guard:
            now = self._clock()
            if not self._is_following() or self._begun is None or now - self._begun < 1:
                return None
            self._pass_time(int(now))
            return sum(count for _, count in self._counts) / min(now - self._begun, RATE_SECONDS)

    def _pass_time(self, second: int) -> None:
        while self._counts and self._counts[0][0] <= second - RATE_SECONDS:
            self._counts.popleft()


@dataclass(frozen=True, slots=True)
class Rates:
    """The rates of the workers' decisions and dead letters."""

    decided: Rate
    dead_letters: Rate
