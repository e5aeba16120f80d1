"""The result of a calibration: a value of the dial, how sure it is, and what other values would do instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from questream.lab.calibration.sweep import Floats, Sweep
from questream.lab.evaluation.agreement import shared_counts

# The interval that is reported holds the best value with this probability.
CONFIDENCE = 0.9
BOOTSTRAP_ROUNDS = 400
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Mistakes at one value, each per 1,000 of what was judged: `per` names it (questions, labelled pairs)."""

    false_joins: float
    missed_joins: float
    per: str


@dataclass(frozen=True, slots=True)
class Setting:
    """The clusters of the sample at one value of the dial, in figures.

    `score` is what the value was chosen by. `moved` is, for a mean question, the share of its company (of the
    questions in its cluster here or at the proposed value, itself included) that is not in both. `mistakes` are None
    where nothing labels them.
    """

    value: float
    score: float
    clusters: int
    single_questions: int
    moved: float
    mistakes: Mistakes | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A value of the sweep's dial for the stream, and what else was tried, in ascending order.

    The best value lies between `low` and `high` with a probability of 90 %, by the sample; None where
    nothing bounds it on that side. `measure` names what `score` is. `remarks` say what to mind. Where nothing that it
    was made from determines the value, it is a guess, and not `is_known`.
    """

    value: float
    low: float | None
    high: float | None
    measure: str
    settings: list[Setting]
    remarks: tuple[str, ...] = ()
    is_known: bool = True

    @property
    def row(self) -> int:
        """Which of the settings is the one next to the proposed value."""
        return min(range(len(self.settings)), key=lambda row: abs(self.settings[row].value - self.value))


def settings_of(sweep: Sweep, best: int, scores: Floats, mistakes: Sequence[Mistakes] | None = None) -> list[Setting]:
    """A setting for each value of the sweep, moves counted from the one in row `best`."""
    settings = []
    for row, value in enumerate(sweep.values):
        sizes = np.bincount(sweep.after[row])
        shared, here, there = shared_counts(sweep.after[row], sweep.after[best])
        settings.append(
            Setting(
                value=value,
                score=float(scores[row]),
                clusters=len(sizes),
                single_questions=int((sizes == 1).sum()),
                moved=float(1.0 - (shared / (here + there - shared)).mean()),
                mistakes=None if mistakes is None else mistakes[row],
            )
        )
    return settings


def interval_of(values: Sequence[float], rows: Sequence[int]) -> tuple[float | None, float | None]:
    """The 90 % interval of the values in the rows that were chosen in bootstrap rounds (Efron's percentiles)."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(rows, [tail, 1.0 - tail])
    return bounds_of(values, float(low), float(high))


def bounds_of(values: Sequence[float], low: float, high: float) -> tuple[float | None, float | None]:
    """The values between two rows, half a step wider than their resolution; None where it reaches an end of them."""
    rows, last = np.arange(len(values)), len(values) - 1
    return (
        round(float(np.interp(min(low, last) - 0.5, rows, values)), 4) if low > 0 else None,
        round(float(np.interp(max(high, 0) + 0.5, rows, values)), 4) if high < last else None,
    )


def middle_of_best(scores: Floats) -> int:
    """The row of the highest score (t,); the middle one of those that share it, having the same clusters."""
    best = np.flatnonzero(scores >= scores.max() - _TIE)
    return int(best[len(best) // 2])


def edge_remarks(sweep: Sweep, best: int) -> tuple[str, ...]:
    """Remarks on a best value at an end of what was tried: the true one may lie beyond."""
    dial = sweep.dial
    if best == 0:
        return (f"{dial.written(sweep.values[0])} is the lowest {dial.name} tried: the best may be lower",)
    if best == len(sweep.values) - 1:
        return (
            f"{dial.written(sweep.values[-1])} is the highest {dial.name} tried:"
            " hardly any two questions of this stream are one",
        )
    return ()
