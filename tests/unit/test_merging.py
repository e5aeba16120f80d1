from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from questream.clustering.merging import propose_merges
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.rules import Linkage, Rules
from tests.kit.reference import Cluster, Reference
from tests.kit.stepping import unit_rows
from tests.unit.test_assignment import TIE, stream


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    clusters=st.integers(2, 16),
    threshold=st.floats(-0.3, 0.6),
    linkage=st.sampled_from(["adaptive", "average", "centroid"]),
    moved_share=st.floats(0.1, 1.0),
)
def test_merges_cascade_as_the_plain_way_does(
    seed: int, clusters: int, threshold: float, linkage: Linkage, moved_share: float
) -> None:
    rules = Rules(0.99, threshold, linkage=linkage)
    vectors = stream(seed, clusters, 4, 8, 0.6, 0.5)
    reference, mirror = Reference(rules, 8), Mirror(8)
    reference.mean_members = list(vectors.astype(np.float64))
    mirror.apply([MeanMoved(clusters, vectors.sum(axis=0))])
    for number, vector in enumerate(vectors, start=1):
        reference.clusters.append(Cluster(number, [vector.astype(np.float64)], 1))
        mirror.apply([ClusterMoved(number, 1, vector)])
    moved = list(range(1, max(2, int(clusters * moved_share) + 1)))
    reference.moved = set(moved)
    expected = reference.merge()
    assume(reference.closest_call >= TIE)
    assert [(merge.survivor, merge.loser) for merge in propose_merges(mirror, moved, rules)] == expected


def test_the_older_id_survives_and_sums_add_up() -> None:
    mirror = Mirror(2)
    one, two = unit_rows(np.array([[1, 0.1], [1, 0]], np.float32))
    mirror.apply([ClusterMoved(9, 1, one), ClusterMoved(4, 1, two)])
    (merge,) = propose_merges(mirror, [9], Rules(0.5, 0.5, similarity="cosine"))
    assert (merge.survivor, merge.loser, merge.members) == (4, 9, 2)
    np.testing.assert_allclose(merge.vector_sum, one + two, rtol=1e-6)


def test_pairs_kept_apart_let_the_others_merge_and_stay_apart_through_merges() -> None:
    mirror = Mirror(2)
    row = np.array([1, 0], np.float32)
    mirror.apply([ClusterMoved(number, 1, row) for number in (1, 2, 3, 4)])
    merges = propose_merges(mirror, [1, 2, 3, 4], Rules(0.5, 0.5, similarity="cosine"), {(1, 2), (1, 3)})
    made: dict[int, set[int]] = {number: {number} for number in (1, 2, 3, 4)}
    for merge in merges:
        made[merge.survivor] |= made.pop(merge.loser)
    assert all(not ({1, 2} <= cluster or {1, 3} <= cluster) for cluster in made.values())
    assert len(made) == 2


def test_clusters_that_did_not_move_are_left_alone() -> None:
    mirror = Mirror(2)
    row = np.array([1, 0], np.float32)
    mirror.apply([ClusterMoved(1, 1, row), ClusterMoved(2, 1, row), ClusterMoved(3, 1, -row)])
    assert propose_merges(mirror, [3], Rules(0.5, 0.5)) == []
