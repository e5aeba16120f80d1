"""Examples of clusters at a lower, the proposed and a higher value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from questream.lab.calibration.sweep import Sweep

_STEPS_APART = 2


@dataclass(frozen=True, slots=True)
class ExampleCluster:
    """A cluster: how many questions it holds, and some that differ in their words."""

    size: int
    texts: list[str]


@dataclass(frozen=True, slots=True)
class Preview:
    """Clusters at one value: the biggest, and pairs of questions that it parts and the next lower one joins."""

    value: float
    biggest: list[ExampleCluster]
    parts: list[tuple[str, str]]


def preview(sweep: Sweep, texts: Sequence[str], value: float, examples: int) -> list[Preview]:
    """Previews at two steps below the value, at it, and two steps above, as far as the sweep goes.

    The pairs of each are parted by it and joined by the one before it, or a step lower for the first.
    """
    middle = sweep.at(value)
    rows = sorted({max(0, middle - _STEPS_APART), middle, min(len(sweep.values) - 1, middle + _STEPS_APART)})
    before = [max(0, rows[0] - _STEPS_APART), *rows[:-1]]
    return [
        Preview(
            sweep.values[row],
            _biggest(sweep, row, texts, examples),
            [] if lower == row else parted(sweep, lower, row, texts, examples),
        )
        for lower, row in zip(before, rows, strict=True)
    ]


def parted(sweep: Sweep, lower: int, higher: int, texts: Sequence[str], examples: int) -> list[tuple[str, str]]:
    """A question of each of the two biggest parts that clusters of row `lower` fall into in row `higher`.

    Where most questions part comes first.
    """
    found: list[tuple[int, str, str]] = []
    sizes = np.bincount(sweep.after[lower])
    for cluster in np.flatnonzero(sizes > 1).tolist():
        members = np.flatnonzero(sweep.after[lower] == cluster)
        parts, first, counts = np.unique(sweep.after[higher][members], return_index=True, return_counts=True)
        if len(parts) > 1:
            one, other = (int(members[first[part]]) for part in np.argsort(-counts, kind="stable")[:2])
            if texts[one] != texts[other]:
                found.append((int(len(members) - counts.max()), texts[one], texts[other]))
    found.sort(key=lambda row: -row[0])
    return [(one, other) for _, one, other in found[:examples]]


def _biggest(sweep: Sweep, row: int, texts: Sequence[str], examples: int) -> list[ExampleCluster]:
    sizes = np.bincount(sweep.after[row])
    biggest = [cluster for cluster in np.argsort(-sizes, kind="stable")[:examples].tolist() if sizes[cluster] > 1]
    return [
        ExampleCluster(int(sizes[cluster]), _different(sweep.after[row] == cluster, texts, examples))
        for cluster in biggest
    ]


def _different(members: NDArray[np.bool_], texts: Sequence[str], examples: int) -> list[str]:
    """Questions of a cluster from its beginning to its end, since its first are alike."""
    distinct = list(dict.fromkeys(texts[i] for i in np.flatnonzero(members).tolist()))
    places = np.linspace(0, len(distinct) - 1, min(examples, len(distinct))).round().astype(int).tolist()
    return [distinct[place] for place in places]
