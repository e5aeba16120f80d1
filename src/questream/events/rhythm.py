"""When a namespace is asked: its week, hour by hour."""

from __future__ import annotations

from itertools import accumulate

HOUR_MS = 3_600_000
_DAY = 24
_WEEK = 168
# With so many questions a time of day weighs as much as the mean that it is shrunk to, an hour of the week as much as
# its time of day.
_FLAT_QUESTIONS = 10.0
_DAILY_QUESTIONS = 30.0
# A week counts half of the one after it.
_KEPT_WEEKLY = 0.5


class Rhythm:
    """The share of questions by hour of the week (UTC), as factors around 1; memory is 168 counts.

    An hour that was seen seldom takes the factor of its time of day, and that one the mean of all.
    """

    def __init__(self) -> None:
        self._counts = [0.0] * _WEEK
        self._factors = [1.0] * _WEEK
        self._before = [float(hour) for hour in range(_WEEK + 1)]

    def add(self, time_ms: int) -> None:
        """Count a question; the factors change by `learn` alone."""
        self._counts[time_ms // HOUR_MS % _WEEK] += 1.0

    def learn(self) -> None:
        """Make the factors of what was counted; once a day."""
        self._counts = [count * _KEPT_WEEKLY ** (1 / 7) for count in self._counts]
        mean = sum(self._counts) / _WEEK
        if mean <= 0:
            return
        daily = [
            (sum(self._counts[hour::_DAY]) + _FLAT_QUESTIONS) / (7 * mean + _FLAT_QUESTIONS) for hour in range(_DAY)
        ]
        shrunk = [
            (count + _DAILY_QUESTIONS * daily[hour % _DAY]) / (mean + _DAILY_QUESTIONS)
            for hour, count in enumerate(self._counts)
        ]
        whole = sum(shrunk) / _WEEK
        self._factors = [max(one / whole, 0.05) for one in shrunk]
        self._before = [0.0, *accumulate(self._factors)]

    def hours(self, from_ms: int, to_ms: int) -> float:
        """The hours between two times, each weighed by its factor."""
        return self._until(to_ms) - self._until(from_ms)

    def _until(self, time_ms: int) -> float:
        hour, rest = divmod(time_ms, HOUR_MS)
        week, at = divmod(hour, _WEEK)
        return week * self._before[_WEEK] + self._before[at] + self._factors[at] * rest / HOUR_MS
