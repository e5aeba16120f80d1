from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from questream.clustering.assignment import BatchAssigner
from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved, Mirror
from questream.clustering.rules import Linkage, Rules, Similarity
from questream.clustering.scores import ScoreTerms
from questream.domain import Matrix
from tests.kit.reference import Reference
from tests.kit.stepping import Stepper, unit_rows

TIE = 2e-4  # nearer than this, float32 and float64 may rightly differ


def stream(seed: int, questions: int, topics: int, dimension: int, spread: float, background: float) -> Matrix:
    """Questions around topics, all sharing a background direction, as the questions of one subject do."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(topics, dimension))
    shared = background * random.normal(size=dimension) * np.sqrt(dimension)
    chosen = centres[random.integers(topics, size=questions)]
    return unit_rows(chosen + spread * random.normal(size=(questions, dimension)) + shared)


def assert_same_as_one_by_one(
    vectors: Matrix, batch_questions: int, rules: Rules, tie: float = TIE, known_only_from: int | None = None
) -> bool:
    """True if the comparison reached the end; it stops at a call too close for float32 and float64 to agree on.

    From a question on, questions may open no clusters.
    """
    reference = Reference(rules, vectors.shape[1])
    stepper = Stepper(rules, vectors.shape[1])
    for start in range(0, len(vectors), batch_questions):
        batch = vectors[start : start + batch_questions]
        if known_only_from is not None and start >= known_only_from:
            reference.rules = stepper.rules = replace(rules, mode="known-only")
        choices, sizes = stepper.assign(batch)
        for question, choice, size in zip(batch, choices, sizes, strict=True):
            answer = reference.assign(question.astype(np.float64))
            if reference.closest_call < tie:
                return False
            assert (choice.cluster_id, choice.created, size) == (answer.cluster_id, answer.created, answer.size)
            assert choice.similarity == pytest.approx(answer.similarity, abs=5e-5)
            if answer.runner_up is None:
                assert choice.runner_up is None
            else:
                assert choice.runner_up is not None
                assert choice.runner_up.cluster_id == answer.runner_up[0]
                assert choice.runner_up.similarity == pytest.approx(answer.runner_up[1], abs=5e-5)
        expected_merges = reference.merge()
        if reference.closest_call < tie:
            return False
        assert stepper.merge() == expected_merges
        assert stepper.sizes == {cluster.id: cluster.size for cluster in reference.clusters}
    return True


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    questions=st.integers(1, 60),
    topics=st.integers(1, 12),
    spread=st.floats(0.05, 1.2),
    background=st.sampled_from([0.0, 0.5, 1.0]),
    batch_questions=st.integers(1, 60),
    similarity=st.sampled_from(["centred", "cosine"]),
    linkage=st.sampled_from(["adaptive", "average", "centroid", "first"]),
    threshold=st.floats(0.2, 0.9),
    merge_above=st.floats(-0.6, 0.2),
    centroid_members=st.sampled_from([1, 2, 5, 256]),
    mean_questions=st.sampled_from([0, 7, 1000]),
    known_only_from=st.sampled_from([None, 0, 1, 10]),
)
def test_a_batch_decides_as_one_by_one_does(
    seed: int,
    questions: int,
    topics: int,
    spread: float,
    background: float,
    batch_questions: int,
    similarity: Similarity,
    linkage: Linkage,
    threshold: float,
    merge_above: float,
    centroid_members: int,
    mean_questions: int,
    known_only_from: int | None,
) -> None:
    rules = Rules(threshold, threshold + merge_above, similarity, linkage, centroid_members, mean_questions)
    vectors = stream(seed, questions, topics, 16, spread, background)
    assume(assert_same_as_one_by_one(vectors, batch_questions, rules, known_only_from=known_only_from))


def test_where_questions_open_no_clusters_one_that_joins_none_tells_the_nearest() -> None:
    stepper = Stepper(Rules(0.8, 0.8, similarity="cosine", mode="known-only"), 2)
    vectors = unit_rows(np.array([[1, 0], [1, 1], [1, 0.1]], np.float32))
    (none,), sizes = stepper.assign(vectors[:1])
    assert (none.cluster_id, none.similarity, none.runner_up, none.created, sizes) == (None, -1.0, None, False, [0])
    stepper.mirror.apply([ClusterMoved(7, 1, vectors[0])])
    (far, near), sizes = stepper.assign(vectors[1:])
    assert far.is_unmatched
    assert far.runner_up is not None
    assert (far.runner_up.cluster_id, far.runner_up.similarity) == (7, far.similarity)
    assert far.similarity == pytest.approx(0.5**0.5, abs=1e-5)
    assert (near.cluster_id, near.rank, sizes) == (7, 1, [0, 1])
    assert stepper.mirror.count == 1


def test_the_same_question_again_and_again_is_one_cluster() -> None:
    vectors = np.repeat(unit_rows(np.ones((1, 8), np.float32)), 40, axis=0)
    choices, sizes = Stepper(Rules(0.55, 0.55), 8).assign(vectors)
    assert {choice.cluster_id for choice in choices} == {1}
    assert sizes == list(range(1, 41))


def test_between_two_single_questions_adaptive_linkage_is_their_cosine() -> None:
    vectors = unit_rows(np.array([[1, 0, 0], [1, 1, 0.2]], np.float32))
    choices, _ = Stepper(Rules(0.6, 0.6, similarity="cosine"), 3).assign(vectors)
    assert choices[1].similarity == pytest.approx(float(vectors[0] @ vectors[1]), abs=1e-6)


def test_a_loose_cluster_takes_in_what_a_tight_one_turns_away() -> None:
    question = unit_rows(np.array([[1, 0.9, 0]], np.float32))
    tight = unit_rows(np.array([[1, 0, 0]] * 6, np.float32))
    loose = unit_rows(np.array([[1, 0, 0.6], [1, 0, -0.6]] * 3, np.float32))
    outcomes = {}
    for name, members in {"tight": tight, "loose": loose}.items():
        stepper = Stepper(Rules(0.76, 0.76, similarity="cosine"), 3)
        stepper.mirror.apply([ClusterMoved(1, len(members), members.sum(axis=0))])
        (choice,), _ = stepper.assign(question)
        outcomes[name] = choice.created
    assert outcomes == {"tight": True, "loose": False}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), threshold=st.floats(-0.5, 0.99), members=st.integers(1, 30))
def test_no_cluster_has_more_leeway_than_members_at_the_threshold_need(
    seed: int, threshold: float, members: int
) -> None:
    vectors = stream(seed, members, 3, 8, 0.9, 0.0)
    mirror = Mirror(8)
    mirror.apply([ClusterMoved(1, members, vectors.sum(axis=0))])
    products = ScoreTerms(mirror, Rules(threshold, threshold, similarity="cosine"), room=0)
    at_rest = float(products.leeway[0])
    products.refresh_row(0)
    assert products.leeway[0] == at_rest
    assert -TIE <= at_rest <= (1 - max(threshold, 0) ** 2) / 2 + TIE


def test_a_cluster_slides_no_further_than_its_threshold_means() -> None:
    """What has .16 to each of 25 members, as they have to each other, is no question of theirs at .55."""
    rows = unit_rows(np.eye(26, dtype=np.float32) + np.float32(1 / 18))
    mirror = Mirror(26)
    mirror.apply([ClusterMoved(1, 25, rows[:25].sum(axis=0))])
    (choice,) = BatchAssigner(rows[25:], mirror, Rules(0.55, 0.55, similarity="cosine")).plan().choices
    assert choice.created
    assert choice.runner_up is not None
    assert 0.5 < choice.runner_up.similarity < 0.52


def test_a_frozen_centroid_counts_without_moving() -> None:
    stepper = Stepper(Rules(0.5, 0.9, similarity="cosine", centroid_members=2), 4)
    vectors = unit_rows(np.array([[1, 0, 0, 0], [1, 0.1, 0, 0], [1, 0.6, 0, 0]], np.float32))
    _, sizes = stepper.assign(vectors)
    assert sizes == [1, 2, 3]
    np.testing.assert_allclose(stepper.mirror.vector_sum(1), vectors[0] + vectors[1], rtol=1e-6)


def test_a_retry_after_others_committed_equals_a_fresh_batch() -> None:
    rules = Rules(0.5, 0.5)
    earlier = stream(1, 80, 10, 16, 0.4, 0.5)
    batch = stream(1, 120, 10, 16, 0.4, 0.5)[80:]
    stepper = Stepper(rules, 16)
    stepper.assign(earlier)
    assigner = BatchAssigner(batch, stepper.mirror, rules)
    assigner.plan()
    removed = int(stepper.mirror.ids[0])
    changes: list[Change] = [ClusterRemoved(removed), ClusterMoved(stepper.mirror.next_id, 1, batch[5])]
    assigner.rescore(stepper.mirror.apply(changes))
    retried = assigner.plan()
    fresh = BatchAssigner(batch, stepper.mirror, rules).plan()
    assert [c.cluster_id for c in retried.choices] == [c.cluster_id for c in fresh.choices]
    np.testing.assert_allclose(
        [c.similarity for c in retried.choices], [c.similarity for c in fresh.choices], atol=1e-6
    )


def test_the_mirror_keeps_its_rows_when_clusters_leave() -> None:
    mirror = Mirror(3)
    mirror.apply([ClusterMoved(i, 1, np.full(3, i, np.float32)) for i in range(1, 6)])
    changed = mirror.apply([ClusterRemoved(2)])
    assert changed == {1}
    assert {int(i): float(s[0]) for i, s in zip(mirror.ids, mirror.sums, strict=True)} == {1: 1, 3: 3, 4: 4, 5: 5}
    assert mirror.next_id == 6
