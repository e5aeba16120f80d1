"""Clusters whose questions fall into two groups that would be clusters of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.rules import Rules
from questream.clustering.scores import ScoreTerms
from questream.domain import Matrix

# Smaller ones show no two groups yet.
FEWEST_QUESTIONS = 8
# A question that is far from all others is no second cluster.
_FEWEST_OF_A_PART = 2
# The two groups are those that differ most: of questions in one piece they score so much less than chosen by chance.
_CLEARLY = 0.035
_ROUNDS = 20
# Cosines that differ by less are those of the same text.
ALIKE = 1e-6


def smaller_group(vectors: Matrix) -> NDArray[np.bool_]:
    """Which unit vectors (n, d) are of the smaller of two groups, by k-means from the two that differ most.

    None where all are alike. Of groups of one size the one without the first vector.
    """
    nobody = np.zeros(len(vectors), np.bool_)
    if len(vectors) < 2:
        return nobody
    cosines = vectors @ vectors.T
    one, other = np.unravel_index(int(np.argmin(cosines)), cosines.shape)
    if cosines[one, other] > 1 - ALIKE:
        return nobody
    of_other = cosines[:, other] > cosines[:, one]
    for _ in range(_ROUNDS):
        centres = [vectors[group].sum(axis=0) for group in (~of_other, of_other)]
        nearness = [vectors @ (centre / max(float(np.linalg.norm(centre)), 1e-12)) for centre in centres]
        moved = nearness[1] > nearness[0]
        if moved.all() or not moved.any() or (moved == of_other).all():
            break
        of_other = moved
    counts = int((~of_other).sum()), int(of_other.sum())
    is_other_smaller = counts[1] < counts[0] or (counts[0] == counts[1] and not of_other[0])
    return of_other if is_other_smaller else ~of_other


def looks_like_two(mirror: Mirror, rules: Rules, parts: tuple[Matrix, Matrix]) -> bool:
    """Whether two groups of questions, as unit vectors (n, d) each, are clearly too far apart to merge as clusters.

    They are scored as the clusters of a mirror are, with its mean, and are two questions each at least. Cohesion does
    not matter: a cluster that is in one piece may be looser than two that merge have to be together.
    """
    if min(len(part) for part in parts) < _FEWEST_OF_A_PART:
        return False
    alone = Mirror(mirror.dimension)
    alone.apply([MeanMoved(mirror.mean_questions, mirror.mean_sum)])
    alone.apply([ClusterMoved(number, len(part), part.sum(axis=0)) for number, part in enumerate(parts, 1)])
    terms, one, other = ScoreTerms(alone, rules, room=0), np.array([0]), np.array([1])
    score = terms.cluster_scores(one, other, alone.sums[one] @ alone.sums[1])
    return float(score[0]) < rules.merge_threshold - _CLEARLY
