"""What a calibration comes to: a threshold, how sure it is, and what other thresholds would do instead."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from questream.lab.calibration.sweep import STEP, Floats, Sweep
from questream.lab.evaluation.agreement import shared_counts

# The interval that is told holds the best threshold with this probability.
CONFIDENCE = 0.9
BOOTSTRAP_ROUNDS = 400
_TIE = 1e-9


@dataclass(frozen=True, slots=True)
class Mistakes:
    """Mistakes at one threshold, each per 1,000 of what was judged: `per` names it (questions, labelled pairs)."""

    false_joins: float
    missed_joins: float
    per: str


@dataclass(frozen=True, slots=True)
class Setting:
    """What one threshold makes of the sample.

    `score` is what the threshold was chosen by. `moved` is, for a mean question, the share of its company (of the
    questions in its cluster here or at the proposed threshold, itself included) that is not in both. `mistakes` are
    None where nothing labels them.
    """

    threshold: float
    score: float
    clusters: int
    single_questions: int
    moved: float
    mistakes: Mistakes | None


@dataclass(frozen=True, slots=True)
class Proposal:
    """A threshold for the stream, and what else was tried, in ascending order.

    The best threshold lies between `low` and `high` with a probability of 90 %, as far as the sample tells; None where
    nothing bounds it on that side. `measure` names what `score` is. `remarks` say what to mind. Where nothing that it
    was made from tells the threshold, it is a guess, and not `is_known`.
    """

    threshold: float
    low: float | None
    high: float | None
    measure: str
    settings: list[Setting]
    remarks: tuple[str, ...] = ()
    is_known: bool = True

    def setting_at(self, threshold: float) -> Setting:
        """What the tried threshold next to this one makes of the sample."""
        return min(self.settings, key=lambda setting: abs(setting.threshold - threshold))


def settings_of(sweep: Sweep, best: int, scores: Floats, mistakes: Sequence[Mistakes] | None = None) -> list[Setting]:
    """A setting for each threshold of the sweep, moves counted from the one in row `best`."""
    settings = []
    for row, threshold in enumerate(sweep.thresholds):
        sizes = np.bincount(sweep.after[row])
        shared, here, there = shared_counts(sweep.after[row], sweep.after[best])
        settings.append(
            Setting(
                threshold=threshold,
                score=float(scores[row]),
                clusters=len(sizes),
                single_questions=int((sizes == 1).sum()),
                moved=float(1.0 - (shared / (here + there - shared)).mean()),
                mistakes=None if mistakes is None else mistakes[row],
            )
        )
    return settings


def interval_of(thresholds: Sequence[float], chosen: Floats) -> tuple[float | None, float | None]:
    """The 90 % interval of thresholds chosen in bootstrap rounds (Efron's percentiles)."""
    tail = (1.0 - CONFIDENCE) / 2.0
    low, high = np.quantile(chosen, [tail, 1.0 - tail])
    return bounds_of(thresholds, float(low), float(high))


def bounds_of(thresholds: Sequence[float], low: float, high: float) -> tuple[float | None, float | None]:
    """An interval of tried thresholds, half a step wider than they can tell; None where it reaches an end of them."""
    lowest, highest = thresholds[0], thresholds[-1]
    return (
        round(min(low, highest) - STEP / 2, 4) if low > lowest else None,
        round(max(high, lowest) + STEP / 2, 4) if high < highest else None,
    )


def middle_of_best(scores: Floats) -> int:
    """The row of the highest score (t,); the middle one of those that share it, having the same clusters."""
    best = np.flatnonzero(scores >= scores.max() - _TIE)
    return int(best[len(best) // 2])


def edge_remarks(thresholds: Sequence[float], best: int) -> tuple[str, ...]:
    """What to say of a best threshold at an end of what was tried: the true one may lie beyond."""
    if best == 0:
        return (f"{thresholds[0]:.3f} is the lowest threshold tried: the best may be lower",)
    if best == len(thresholds) - 1:
        return (
            f"{thresholds[-1]:.3f} is the highest threshold tried: hardly any two questions of this stream are one",
        )
    return ()
