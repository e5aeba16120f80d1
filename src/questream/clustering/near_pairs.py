"""Which pairs of clusters are near enough to merge, and would be no heap."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from questream.clustering.mirror import Mirror
from questream.clustering.scores import ScoreTerms
from questream.domain import Matrix, Vector

Rows = NDArray[np.int64]

# Scores that fit the cache: most of them are looked at once and never again.
_CLUSTERS_AT_ONCE = 4096


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs (k,) of rows of a mirror, and the score of each."""

    ones: Rows
    others: Rows
    scores: NDArray[np.float32]


def near_pairs(mirror: Mirror, terms: ScoreTerms, rows: Sequence[int]) -> Iterator[Pairs]:
    """Every pair of one of `rows` with another cluster that scores `merge_threshold` and would be no heap."""
    ones = np.array(rows, np.int64)
    for start in range(0, mirror.count, _CLUSTERS_AT_ONCE):
        others = np.arange(start, min(start + _CLUSTERS_AT_ONCE, mirror.count))
        yield _near(terms, ones, others, mirror.sums[ones] @ mirror.sums[others[0] : others[-1] + 1].T)


def near_row(terms: ScoreTerms, row: int, dots: Vector) -> Pairs:
    """The pairs of one cluster with all others; `dots` (count,) are the products of their sums."""
    return _near(terms, np.array([row]), np.arange(len(dots)), dots[None, :])


def _near(terms: ScoreTerms, ones: Rows, others: Rows, dots: Matrix) -> Pairs:
    """The pairs of all `ones` (m,) with all `others` (k,), by the products (m, k) of their sums."""
    scores = terms.cluster_scores(ones[:, None], others, dots)
    at, column = np.nonzero(scores >= terms.rules.merge_threshold)
    return _no_heaps(terms, ones[at], others[column], scores[at, column], dots[at, column])


def _no_heaps(
    terms: ScoreTerms, ones: Rows, others: Rows, scores: NDArray[np.float32], dots: NDArray[np.float32]
) -> Pairs:
    """The pairs but for a cluster with itself and, in adaptive linkage, those that would be too loose as one."""
    good = ones != others
    if terms.adaptive and len(ones):
        own, members = terms.cohesion, terms.members
        ahead = members[ones] - members[others]
        alike = np.minimum(own[ones], own[others])
        of_the_larger = np.where(ahead > 0, own[ones], np.where(ahead < 0, own[others], alike))
        needed = np.minimum(terms.rules.merge_threshold, of_the_larger)
        good &= terms.united_cohesion(ones, others, dots) >= needed
    return Pairs(ones[good], others[good], scores[good])
