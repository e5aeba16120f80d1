"""Many questions are scored at once as one by one."""

from __future__ import annotations

import numpy as np
import pytest

from questream.clustering import nearest
from questream.clustering.constraints import pack_vector
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.nearest import NEIGHBOURS, nearest_clusters, nearest_of_each
from questream.clustering.rules import Rules
from questream.clustering.second_look.features import features
from questream.domain import Exemplar, Matrix

RULES = Rules(threshold=0.2, merge_threshold=0.6, similarity="centred", judge_features=True)


def vectors(count: int, seed: int) -> Matrix:
    drawn: Matrix = np.random.default_rng(seed).standard_normal((count, 8)).astype(np.float32)
    rows: Matrix = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return rows


def mirror_of(count: int) -> Mirror:
    """Clusters of which some have exemplars, and some a threshold of their own."""
    mirror, rows, turned_away = Mirror(8), vectors(count, 1), vectors(count, 2)
    for at in range(count):
        exemplars = (Exemplar(f"e{at}", "must" if at % 2 else "cannot", pack_vector(turned_away[at])),) * (at % 3 == 0)
        threshold = 0.9 if at % 4 == 1 else 0.0
        mirror.apply([ClusterMoved(at + 1, 1, rows[at], exemplars=exemplars, threshold=threshold)])
    mirror.apply([MeanMoved(count, rows.sum(axis=0))])
    return mirror


@pytest.mark.parametrize("held", [2**22, 100, 1], ids=["all at once", "in chunks", "one by one"])
def test_each_question_has_the_neighbours_that_it_has_alone(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "_MOST_SCORES", held)
    mirror, asked = mirror_of(40), vectors(90, 2)
    looks = [features("turn it on" if at % 2 else "turn it off") for at in range(len(asked))]
    found = nearest_of_each(mirror, RULES, asked, NEIGHBOURS, looks)
    alone = [nearest_clusters(mirror, RULES, *one) for one in zip(asked, [NEIGHBOURS] * 90, looks, strict=True)]
    assert [[one.cluster_id for one in each] for each in found] == [[one.cluster_id for one in each] for each in alone]
    for each, single in zip(found, alone, strict=True):
        assert [one.similarity for one in each] == pytest.approx([one.similarity for one in single], abs=1e-6)
    assert nearest_of_each(mirror, RULES, asked[:0], NEIGHBOURS, []) == []
