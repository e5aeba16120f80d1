"""The checker's score of a question, by the formula alone, is the one that the product has from its mirror."""

from __future__ import annotations

import numpy as np
import pytest

from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.nearest import similarities
from questream.clustering.rules import Rules
from tests.kit.checker.rules import Rules as CheckerRules
from tests.kit.checker.scores import Centroid, score
from tests.unit.test_assignment import TIE, stream


@pytest.mark.parametrize("threshold", [0.2, 0.45, 0.725, 0.9])
@pytest.mark.parametrize("background", [0.0, 0.5, 2.0])
def test_scores_agree_for_loose_and_tight_clusters_near_and_far_from_the_mean(
    threshold: float, background: float
) -> None:
    vectors = stream(5, 120, 12, 8, 0.6, background)
    mirror = Mirror(8)
    mirror.apply([MeanMoved(len(vectors), vectors.sum(axis=0))])
    centroids = []
    for number, size in enumerate([1, 2, 5, 20, 60], start=1):
        total = vectors[:size].sum(axis=0)
        mirror.apply([ClusterMoved(number, size, total)])
        centroids.append(Centroid(size, total.astype(np.float64)))
    mean = Centroid(len(vectors), vectors.sum(axis=0, dtype=np.float64))
    rules = Rules(threshold, threshold, mean_questions=0)
    asked = CheckerRules(threshold=threshold, similarity="centred", linkage="adaptive")
    for question in vectors[60:]:
        expected = score(question.astype(np.float64), centroids, mean, asked)
        np.testing.assert_allclose(similarities(mirror, rules, question), expected, atol=10 * TIE)
