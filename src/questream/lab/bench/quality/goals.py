"""The goals of questream on every data set, and whether it reaches them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from questream.lab.bench.quality.measure import Figures
from questream.lab.bench.quality.offline import AVERAGE_LINKAGE
from questream.lab.bench.quality.ours import CALIBRATED, OURS, WORKERS, answered_method, level_method
from questream.settings import Granularity

_PUBLISHED_POINTS = -3.0
_LEVEL_POINTS = 4.0
_WORKERS_POINTS = 0.5
_FALSE_JOINS = 0.03


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound in words, what was measured (`value`, in points or as a share), and whether it keeps to the bound."""

    method: str
    bound: str
    value: float
    holds: bool


def reference_f1(figures: Sequence[Figures]) -> float | None:
    """BCubed F1 of offline average linkage at its oracle threshold, on the cosine that suits the data better."""
    found = [one.after.bcubed_f1 for one in figures if one.method.startswith(AVERAGE_LINKAGE) and one.after is not None]
    return max(found, default=None)


def goals_of(figures: Sequence[Figures], granularity: Granularity) -> list[Goal]:
    """Each goal for which there are figures: of the granularity's threshold, the one found without labels, intents."""
    rows = {one.method: one for one in figures if one.after is not None}
    goals: list[Goal] = []
    reference = reference_f1(figures)
    for method in (OURS, CALIBRATED):
        if method in rows and reference is not None:
            goals += _against_offline(rows[method], reference)
    for method in (level_method("intent"), answered_method("intent")):
        if method in rows and reference is not None:
            goals += _of_intents(rows[method], reference)
    if OURS in rows and WORKERS in rows:
        goals.append(_of_workers(rows[OURS], rows[WORKERS]))
    if granularity == "duplicate" and OURS in rows:
        published = rows[OURS].published
        if published is not None:
            share = published.falsely_joined
            goals.append(Goal(OURS, "falsely joined, less than 3 %", share, share < _FALSE_JOINS))
    return goals


def _against_offline(ours: Figures, reference: float) -> list[Goal]:
    goals = []
    if ours.after is not None:
        after = 100 * (ours.after.bcubed_f1 - reference)
        goals.append(Goal(ours.method, "after the stream, 0 points or more above offline", after, after >= 0.0))
    if ours.published is not None:
        published = 100 * (ours.published.bcubed_f1 - reference)
        bound = "as published, at most 3 points below offline"
        goals.append(Goal(ours.method, bound, published, published >= _PUBLISHED_POINTS))
    return goals


def _of_intents(intents: Figures, reference: float) -> list[Goal]:
    goals = _against_offline(intents, reference)[:1]
    if intents.after is not None and intents.published is not None:
        lost = 100 * (intents.after.bcubed_f1 - intents.published.bcubed_f1)
        bound = f"as published, at most {_LEVEL_POINTS:g} points below after the stream"
        goals.append(Goal(intents.method, bound, lost, lost <= _LEVEL_POINTS))
    return goals


def _of_workers(alone: Figures, together: Figures) -> Goal:
    """The greater of what eight workers cost as published and after the stream."""
    pairs = [(alone.published, together.published), (alone.after, together.after)]
    cost = max(
        100 * (one.bcubed_f1 - several.bcubed_f1) for one, several in pairs if one is not None and several is not None
    )
    return Goal(together.method, "less than 0.5 points lost by working at once", cost, cost < _WORKERS_POINTS)
