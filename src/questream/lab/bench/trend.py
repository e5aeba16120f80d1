"""The trend of a repeated figure: the slope of a robust line, not the eye."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MOST_POINTS = 1000


@dataclass(frozen=True, slots=True)
class Trend:
    """A figure over a window: its median, and by how much the line through it rises from the window's start to its end.

    It is flat where the rise is at most `allowed`.
    """

    median: float
    rise: float
    allowed: float

    @property
    def is_flat(self) -> bool:
        """True if it does not grow; shrinking is no fault."""
        return self.rise <= self.allowed


def trend(times: Sequence[float], values: Sequence[float], share: float, least: float) -> Trend:
    """The trend of `values` at `times`; allowed is a rise of `share` of the median, and `least` in any case.

    The slope is the median of the slopes between any two points (Theil 1950, Sen 1968): neither a spike nor a sawtooth
    moves it. Raises ValueError for fewer than 3 points.
    """
    if len(times) < 3:
        raise ValueError("a trend takes three points at least")
    # Not at the top: the import takes a second, of all who import a benchmark.
    from scipy.stats import theilslopes

    step = -(-len(times) // _MOST_POINTS)
    at, value = np.asarray(times, np.float64)[::step], np.asarray(values, np.float64)[::step]
    slope, middle = float(theilslopes(value, at).slope), float(np.median(value))
    return Trend(middle, slope * float(at[-1] - at[0]), max(share * middle, least))
