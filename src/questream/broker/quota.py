"""Quotas of the broker: their delays, and the size of a publication under them.

A broker answers a producer that is over its quota at once, and says for how long it takes nothing more from it
(KIP-219): kafka-python keeps the connection still for so long. That is no hung call, and a deadline must not count it.
But the broker's own time-out of a transaction does: batches get smaller until each is published in time.
"""

from __future__ import annotations

import math

# Of one batch to the next: a quota lets a burst pass, and what follows it waits for longer.
_LEAST_SHARE = 8
# The first publication, before it is known whether there is a quota, and how many times as many follow one that nothing
# holds back.
_FIRST = 32
_GROWTH = 8


class Pace:
    """The number of questions, or cluster states, that one publication may have: `most`, and fewer under a quota.

    A publication is to be held back for `target_seconds` at most. The limit begins small and grows eightfold until a
    quota holds one back at all (slow start, RFC 5681): what a first large one sent would be paid for by all behind it.
    With an infinite target it is `most` from the first on. One thread publishes; any may ask for the limit.
    """

    def __init__(self, most: int, target_seconds: float) -> None:
        self._most = most
        self._target_seconds = target_seconds
        self._limit = min(most, _FIRST) if math.isfinite(target_seconds) else most
        self._is_unheld = True

    @property
    def limit(self) -> int:
        """The most that is to be published at once, 1 at least."""
        return self._limit

    def published(self, count: int, held_seconds: float) -> None:
        """A publication of `count` was held back for so long, whether it succeeded or not."""
        self._is_unheld = self._is_unheld and held_seconds == 0
        if held_seconds > self._target_seconds:
            # A small one waited for what was sent before it, and shows no more than that this was too much.
            is_large = 2 * count >= self._limit
            fitting = int(count * self._target_seconds / held_seconds) if is_large else self._limit
            self._limit = max(1, min(self._limit // 2, max(fitting, self._limit // _LEAST_SHARE)))
        elif count >= self._limit and held_seconds < self._target_seconds / 2:
            growth = (_GROWTH - 1) * self._limit if self._is_unheld else max(1, self._limit // 4)
            self._limit = min(self._most, self._limit + growth)
