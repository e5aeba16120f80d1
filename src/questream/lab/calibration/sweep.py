"""A sample grouped at every value of a grid: at thresholds, each time decided exactly as workers do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.errors import QuestreamError
from questream.lab.evaluation.agreement import numbered
from questream.lab.evaluation.online import cluster_online
from questream.lab.evaluation.stream import Clustering
from questream.settings import GRANULARITY_THRESHOLDS, Granularity

Floats = NDArray[np.float64]

FEWEST_QUESTIONS = 100
_STEP = 0.025

# Below, questions that hardly have anything in common are in one cluster.
_LOWEST_ADAPTIVE = 0.2
_LOWEST = 0.1
_HIGHEST = 0.975
# Levels overlap, so that one set apart by a step is not cut off from its best.
_LEVELS: dict[Granularity, tuple[float, float]] = {
    "question": (0.6, 0.85),
    "duplicate": (0.8, _HIGHEST),
}


@dataclass(frozen=True, slots=True)
class Dial:
    """A parameter to vary: the key of its setting, the word for a value, and how one is written.

    The higher the value, the finer the groups.
    """

    key: str
    name: str
    spec: str

    def written(self, value: float) -> str:
        """A value for people."""
        return f"{value:{self.spec}}"


THRESHOLD = Dial("clusters.threshold", "threshold", ".3f")


@dataclass(frozen=True, eq=False)
class Sweep:
    """The groups of n questions at each of t ascending values, as published and after the stream: (t, n) each.

    Groups are numbered from 0 at each value, and mean nothing across values.
    """

    values: tuple[float, ...]
    published: NDArray[np.int64]
    after: NDArray[np.int64]
    dial: Dial = THRESHOLD

    @property
    def questions(self) -> int:
        """The number of questions that were clustered."""
        return int(self.after.shape[1])

    def at(self, value: float) -> int:
        """The row of the value next to this one."""
        return int(np.abs(np.array(self.values) - value).argmin())

    def between(self, low: float, high: float) -> Sweep:
        """The values from `low` to `high` alone."""
        rows = [row for row, value in enumerate(self.values) if low <= value <= high]
        return replace(
            self,
            values=tuple(self.values[row] for row in rows),
            published=self.published[rows],
            after=self.after[rows],
        )


def grid_of(rules: Rules, granularity: Granularity | None = None) -> tuple[float, ...]:
    """The thresholds to try under these rules: all that make sense, or those of one level.

    Raises QuestreamError for a level where the rules are not those that its name was measured with.
    """
    named = has_levels(rules)
    if granularity is not None and not named:
        raise QuestreamError(
            "--granularity needs clusters.similarity centred and clusters.linkage adaptive: it names their thresholds"
        )
    low, high = _LEVELS[granularity] if granularity else (_LOWEST_ADAPTIVE if named else _LOWEST, _HIGHEST)
    return tuple(round(low + _STEP * step, 3) for step in range(round((high - low) / _STEP) + 1))


def require_enough(questions: int) -> None:
    """Raise QuestreamError where the questions are too few to represent a stream."""
    if questions < FEWEST_QUESTIONS:
        raise QuestreamError(f"{questions} questions are too few: {FEWEST_QUESTIONS} at least")


def has_levels(rules: Rules) -> bool:
    """True if granularities name thresholds under these rules."""
    return rules.similarity == "centred" and rules.linkage == "adaptive"


def nearest_level(threshold: float) -> Granularity | None:
    """The granularity whose threshold is nearest; None below all of them, where clusters are as wide as intents."""
    if threshold < _LEVELS["question"][0]:
        return None
    return min(GRANULARITY_THRESHOLDS, key=lambda name: abs(GRANULARITY_THRESHOLDS[name] - threshold))


def sweep(
    vectors: Matrix,
    rules: Rules,
    thresholds: Sequence[float],
    announce: Callable[[str], None] = lambda _: None,
    texts: Sequence[str] | None = None,
) -> Sweep:
    """Cluster the unit vectors (n, d), in order, at each threshold; all else as in `rules`.

    `texts` are those of the vectors; without them there is no second look. No judge is asked. A merge threshold of its
    own keeps its distance from the threshold of joining.
    Raises QuestreamError for fewer than two vectors.
    """
    if len(vectors) < 2:
        raise QuestreamError(f"{len(vectors)} questions cannot be clustered", "give more")
    clusterings: list[Clustering] = []
    for threshold in thresholds:
        announce(f"{len(vectors):,} questions clustered at threshold {threshold:.3f}")
        merging = threshold + rules.merge_threshold - rules.threshold
        clusterings.append(cluster_online(vectors, replace(rules, threshold=threshold, merge_threshold=merging), texts))
    return Sweep(
        tuple(thresholds),
        np.array([numbered(one.as_published.tolist()) for one in clusterings]),
        np.array([numbered(one.after.tolist()) for one in clusterings]),
    )


def weighted_f(precision: Floats, recall: Floats, false_join_cost: float) -> Floats:
    """van Rijsbergen's F, whose precision weighs `false_join_cost` times what recall does: F1 at 1.

    It is F-beta with beta^2 = 1 / false_join_cost ("Information Retrieval", 1979); 0 where either is 0.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num((1.0 + false_join_cost) / (false_join_cost / precision + 1.0 / recall), posinf=0.0)
