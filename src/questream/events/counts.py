"""The probability of a count of questions, where the rate itself is estimated from earlier counts."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, lgamma, log, log1p


@dataclass(slots=True)
class Rate:
    """Questions an hour as a Gamma distribution: `shape` questions were seen in `hours`."""

    shape: float
    hours: float

    def reaches(self, count: int, hours: float) -> float:
        """The probability of `count` questions or more in `hours` to come: the tail of a negative binomial.

        Beyond the mean alone; below it 1 is returned, which no test would pass.
        """
        ratio = hours / (self.hours + hours)
        if count <= 0 or count <= self.shape * hours / self.hours:
            return 1.0
        term = exp(
            lgamma(self.shape + count)
            - lgamma(self.shape)
            - lgamma(count + 1)
            + self.shape * log1p(-ratio)
            + count * log(max(ratio, 1e-300))
        )
        total, number = 0.0, count
        # The terms fall from here on, as the count is beyond the mean.
        while term > total * 1e-6 and number < count + 10_000:
            total += term
            term *= ratio * (self.shape + number) / (number + 1)
            number += 1
        return min(total, 1.0)

    def silence(self, hours: float) -> float:
        """The probability of no question in `hours` to come."""
        return exp(-self.shape * log1p(hours / self.hours))
