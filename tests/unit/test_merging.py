from __future__ import annotations

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from questream.clustering.merging import propose_merges
from questream.clustering.mirror import ClusterMoved, ClusterRemoved, MeanMoved, Mirror
from questream.clustering.rules import Linkage, Rules
from questream.clustering.scores import ScoreTerms
from questream.domain import Matrix
from tests.kit.reference import Cluster, Reference
from tests.kit.stepping import Stepper, unit_rows
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


def topics_with_much_in_common(topics: int, questions: int) -> Matrix:
    """Unit rows, topic after topic in turn: two of one topic have cosine .6, two of others .38."""
    rows = np.zeros((topics * questions, 1 + topics + topics * questions))
    for row in range(len(rows)):
        rows[row, [0, 1 + row % topics, 1 + topics + row]] = np.sqrt([0.38, 0.22, 0.4])
    return unit_rows(rows.astype(np.float32))


def test_near_topics_do_not_heap_up() -> None:
    vectors = topics_with_much_in_common(topics=8, questions=16)
    stepper = Stepper(Rules(0.55, 0.55, similarity="cosine", mean_questions=0), vectors.shape[1])
    merges = []
    for start in range(0, len(vectors), 8):
        stepper.assign(vectors[start : start + 8])
        merges += stepper.merge()
    assert merges == []
    assert sorted(stepper.sizes.values()) == [16] * 8


def test_halves_of_one_topic_merge_however_large() -> None:
    vectors = topics_with_much_in_common(topics=1, questions=32)
    mirror = Mirror(vectors.shape[1])
    mirror.apply([ClusterMoved(1, 16, vectors[:16].sum(axis=0)), ClusterMoved(2, 16, vectors[16:].sum(axis=0))])
    (merge,) = propose_merges(mirror, [2], Rules(0.55, 0.55, similarity="cosine"))
    assert (merge.survivor, merge.loser, merge.members) == (1, 2, 32)


def test_a_loose_cluster_takes_in_a_cluster_that_makes_it_no_looser() -> None:
    """Of cohesion .42 it stands below the threshold; a small cluster in its midst is no reason to part."""
    vectors = topics_with_much_in_common(topics=8, questions=8)
    mirror = Mirror(vectors.shape[1])
    mirror.apply([ClusterMoved(1, 60, vectors[:60].sum(axis=0)), ClusterMoved(2, 2, vectors[[60, 52]].sum(axis=0))])
    middle = unit_rows(vectors.sum(axis=0, keepdims=True))[0]
    mirror.apply([ClusterMoved(2, 2, 2 * middle)])
    rules = Rules(0.55, 0.55, similarity="cosine")
    assert [(merge.survivor, merge.loser) for merge in propose_merges(mirror, [2], rules)] == [(1, 2)]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), clusters=st.integers(2, 12), threshold=st.floats(-0.2, 0.7), centred=st.booleans()
)
def test_no_merge_makes_a_heap(seed: int, clusters: int, threshold: float, centred: bool) -> None:
    rules = Rules(threshold, threshold, similarity="centred" if centred else "cosine")
    vectors = stream(seed, 4 * clusters, 4, 8, 0.6, 0.5)
    mirror = Mirror(8)
    mirror.apply([MeanMoved(len(vectors), vectors.sum(axis=0))])
    of = np.random.default_rng(seed).integers(clusters, size=len(vectors))
    for number in np.unique(of):
        mirror.apply([ClusterMoved(int(number) + 1, int(np.sum(of == number)), vectors[of == number].sum(axis=0))])
    for merge in propose_merges(mirror, mirror.ids.tolist(), rules):
        own = [cohesion_of(mirror, rules, one) for one in (merge.survivor, merge.loser)]
        largest = max(merge.survivor_members, merge.loser_members)
        counts = (merge.survivor_members, merge.loser_members)
        kept = min(c for c, members in zip(own, counts, strict=True) if members == largest)
        mirror.apply([ClusterRemoved(merge.loser), ClusterMoved(merge.survivor, merge.members, merge.vector_sum)])
        assert cohesion_of(mirror, rules, merge.survivor) >= min(threshold, kept) - TIE


def cohesion_of(mirror: Mirror, rules: Rules, cluster_id: int) -> float:
    return float(ScoreTerms(mirror, rules, room=0).cohesion[mirror.row_of[cluster_id]])


def test_clusters_that_did_not_move_are_left_alone() -> None:
    mirror = Mirror(2)
    row = np.array([1, 0], np.float32)
    mirror.apply([ClusterMoved(1, 1, row), ClusterMoved(2, 1, row), ClusterMoved(3, 1, -row)])
    assert propose_merges(mirror, [3], Rules(0.5, 0.5)) == []
