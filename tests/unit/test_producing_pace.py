"""`questream produce --rate`: so many questions a second, evenly."""

from __future__ import annotations

import pytest

from questream.tools.producing.sending import Pace


class Watch:
    """A clock that stands still but for those who sleep by it."""

    def __init__(self) -> None:
        self.now = 100.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def passed(pace: Pace, watch: Watch, count: int) -> list[float]:
    """When the next so many pass, in seconds since the first of them could."""
    since, times = watch.now, []
    for _ in range(count):
        pace.wait()
        times.append(watch.now - since)
    return times


def test_a_rate_spreads_the_questions_evenly() -> None:
    watch = Watch()
    pace = Pace(5.0, lambda: watch.now, watch.sleep)
    assert passed(pace, watch, 6) == pytest.approx([0.0, 0.2, 0.4, 0.6, 0.8, 1.0])


def test_what_a_pause_has_cost_is_not_caught_up_in_one_burst() -> None:
    watch = Watch()
    pace = Pace(5.0, lambda: watch.now, watch.sleep)
    pace.wait()
    watch.now += 60.0
    times = passed(pace, watch, 30)
    assert sum(time == 0.0 for time in times) < 10
    assert times[-1] > 4.0


def test_without_a_rate_nothing_waits() -> None:
    watch = Watch()
    assert passed(Pace(None, lambda: watch.now, watch.sleep), watch, 3) == [0.0, 0.0, 0.0]
