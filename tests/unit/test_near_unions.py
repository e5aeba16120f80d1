from __future__ import annotations

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from questream.clustering import near_unions
from questream.clustering.merging import Merge, propose_merges
from questream.clustering.mirror import ClusterMoved, Mirror
from questream.clustering.near_unions import NearUnions
from questream.clustering.rules import Linkage, Rules, Similarity
from questream.clustering.scores import ScoreTerms
from tests.unit.test_near_pairs import clusters_of

UNITED = 6


def near_to_united(mirror: Mirror, rules: Rules, rows: list[int]) -> tuple[set[int] | None, set[int]]:
    """Some rows made one after the other: those that are known to come near, and those that do by their scores."""
    with patch.object(near_unions, "_FEWEST_CLUSTERS", 0):
        unions = NearUnions(mirror, ScoreTerms(mirror, rules, room=0))
        first, *others = rows
        unions.score(rows)
        known = [unions.unite(first, row) for row in others][-1]
    united = ClusterMoved(int(mirror.ids[first]), int(mirror.members[rows].sum()), mirror.sums[rows].sum(axis=0))
    mirror.apply([united])
    terms = ScoreTerms(mirror, rules, room=0)
    others_rows = np.array([row for row in range(mirror.count) if row not in rows])
    dots = mirror.sums[others_rows] @ mirror.sums[first]
    scores = terms.cluster_scores(np.array([first]), others_rows, dots)
    near = set(others_rows[scores >= terms.needed_to_merge(np.array([first]), others_rows)].tolist())
    return None if known is None else set(known.tolist()), near


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    threshold=st.floats(0.3, 0.9),
    own=st.none() | st.floats(0.2, 0.95),
    linkage=st.sampled_from(["adaptive", "average", "centroid"]),
    similarity=st.sampled_from(["centred", "cosine"]),
    background=st.sampled_from([0.0, 1.0]),
)
def test_a_cluster_made_of_others_comes_near_to_no_more_than_they_do(
    seed: int, threshold: float, own: float | None, linkage: Linkage, similarity: Similarity, background: float
) -> None:
    random = np.random.default_rng(seed)
    mirror, _ = clusters_of(random, 48, 6, background)
    if own is not None:
        mirror.apply([ClusterMoved(2, mirror.member_count(2), mirror.vector_sum(2).copy(), threshold=own)])
    rows = random.permutation(mirror.count)[: random.integers(2, UNITED)].tolist()
    known, near = near_to_united(mirror, Rules(threshold, threshold, similarity, linkage), rows)
    assume(known is not None)
    assert known is not None
    assert near <= known


@pytest.mark.parametrize("similarity", ["centred", "cosine"])
def test_most_clusters_are_far_from_those_that_become_one(similarity: Similarity) -> None:
    mirror, _ = clusters_of(np.random.default_rng(5), 400, 24, 1.0 if similarity == "centred" else 0.0)
    known, near = near_to_united(mirror, Rules(0.7, 0.7, similarity), [3, 4, 5])
    assert known is not None
    assert near <= known
    assert len(known) < mirror.count / 8


def merges_of(seed: int, threshold: float, linkage: Linkage, fewest: int, most_kept: int) -> list[Merge]:
    mirror, _ = clusters_of(np.random.default_rng(seed), 120, 5, 0.5)
    moved = mirror.ids[::2].tolist()
    with (
        patch.object(near_unions, "_FEWEST_CLUSTERS", fewest),
        patch.object(near_unions, "_MOST_KEPT", most_kept),
        patch.object(near_unions, "ROWS_AT_ONCE", 4),
        patch.object(near_unions, "_CLUSTERS_AT_ONCE", 50),
    ):
        return propose_merges(mirror, moved, Rules(threshold, threshold, linkage=linkage))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    threshold=st.floats(0.45, 0.85),
    linkage=st.sampled_from(["adaptive", "average", "centroid"]),
    most_kept=st.sampled_from([5, 20, 2048]),
)
def test_merges_are_those_that_scores_with_all_clusters_give(
    seed: int, threshold: float, linkage: Linkage, most_kept: int
) -> None:
    all_scored, some_scored = (merges_of(seed, threshold, linkage, fewest, most_kept) for fewest in (10**9, 0))
    assume(all_scored)
    pairs = [[(merge.survivor, merge.loser, merge.members) for merge in merges] for merges in (all_scored, some_scored)]
    assert pairs[0] == pairs[1]
    for one, other in zip(all_scored, some_scored, strict=True):
        np.testing.assert_allclose(one.vector_sum, other.vector_sum, rtol=1e-6)
