"""The probability that a person agrees with a join, by its similarity: Platt scaling (Platt 1999)."""

from __future__ import annotations

import math
from dataclasses import dataclass

_DIGITS = 6
# Beyond it the logistic function is 0 or 1 to all digits that are published.
_FARTHEST = 50.0


@dataclass(frozen=True, slots=True)
class Confidence:
    """The logistic function of `slope` * similarity + `intercept`, fitted to similarities of one `model`.

    `model` is a name, and a revision behind an @ where there is one.
    """

    slope: float
    intercept: float
    model: str

    def of(self, similarity: float) -> float:
        """The probability, in [0, 1], to 6 decimals."""
        exponent = max(-_FARTHEST, min(_FARTHEST, self.slope * similarity + self.intercept))
        return round(1.0 / (1.0 + math.exp(-exponent)), _DIGITS)

    def __str__(self) -> str:
        """The text that `parse` reads: `SLOPE INTERCEPT MODEL`."""
        return f"{self.slope:.9g} {self.intercept:.9g} {self.model}"

    @classmethod
    def parse(cls, text: str) -> Confidence:
        """The inverse of `str`. Raises ValueError, for a slope that is not above 0 too: more alike is more likely."""
        slope, intercept, model = text.split(" ", 2)
        found = cls(float(slope), float(intercept), model)
        if not (found.slope > 0 and math.isfinite(found.slope) and math.isfinite(found.intercept) and model):
            raise ValueError("a confidence has a slope above 0, an intercept and a model")
        return found


def model_mark(model: str, revision: str) -> str:
    """A model and its revision, as a confidence names them."""
    return f"{model}@{revision}" if revision else model
