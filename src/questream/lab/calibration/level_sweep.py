"""A sample's intents or topics at every resolution of a grid, above the clusters that workers would make of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from questream.clustering.levels import LEVEL_NAMES, LevelRules
from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.lab.calibration.sweep import Dial, Sweep, require_enough
from questream.lab.evaluation.agreement import numbered
from questream.lab.evaluation.levels import levels_at

# Above every cosine: with communities that are one at any resolution an answer says less of the higher ones.
_NONE_IS_ONE = 2.0
# Half an octave apart.
RESOLUTIONS = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 96.0)


def dial_of(level: str) -> Dial:
    """The resolution of a level."""
    return Dial(f"levels.{level}_resolution", "resolution", "g")


def sweep_level(
    vectors: Matrix,
    texts: Sequence[str],
    rules: Rules,
    level_rules: LevelRules,
    level: str,
    announce: Callable[[str], None] = lambda _: None,
) -> Sweep:
    """Cluster the unit vectors (n, d) by `rules`, in order, then find a level of theirs at each resolution.

    Each is found once, at the end, with nothing from before; the other level's resolution is as `level_rules`
    have it. What was published is taken for the same. Raises QuestreamError for fewer than 100 questions.
    """
    require_enough(len(vectors))
    announce(f"{len(vectors):,} questions clustered at threshold {rules.threshold:.3f}")
    place = LEVEL_NAMES.index(level)
    asked = [_turned(level_rules, place, resolution) for resolution in RESOLUTIONS]
    groups = []
    for resolution, paths in zip(RESOLUTIONS, levels_at(vectors, rules, asked, texts), strict=True):
        groups.append(numbered([path[-2 - place] for path in paths]))
        announce(f"{level}s found at resolution {resolution:g}")
    after = np.array(groups)
    return Sweep(RESOLUTIONS, after, after, dial_of(level))


def _turned(rules: LevelRules, place: int, resolution: float) -> LevelRules:
    intents, topics = rules.resolutions
    resolutions = (resolution, topics) if place == 0 else (intents, resolution)
    return replace(rules, resolutions=resolutions, one_from=_NONE_IS_ONE)
