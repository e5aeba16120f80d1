"""Clusters stay within what their questions have in common, at coarse thresholds too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from questream.clustering.assignment import BatchAssigner
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.rules import MEAN_PRIOR_QUESTIONS, Linkage, Rules
from questream.clustering.scores import ScoreTerms
from questream.domain import Matrix
from questream.lab.evaluation.agreement import agreement
from questream.lab.evaluation.online import cluster_online
from tests.kit.stepping import unit_rows
from tests.unit.test_assignment import TIE, stream

GROUPS = 40


def one_subject(seed: int, questions: int = 1000) -> Matrix:
    """Questions of 40 groups in turn that share a quarter of their squared length; groups differ in some ways most."""
    random = np.random.default_rng(seed)
    ways = np.arange(1, 65) ** -0.3
    ways /= np.linalg.norm(ways)
    groups = random.normal(size=(GROUPS, 64)) * ways
    own = random.normal(size=(questions, 64)) * ways
    rows = np.full((questions, 65), 0.5)
    rows[:, 1:] = np.sqrt(3 / 8) * (groups[np.arange(questions) % GROUPS] + own)
    return unit_rows(rows.astype(np.float32))


@pytest.mark.parametrize("threshold", [0.45, 0.5])
def test_questions_of_one_subject_do_not_heap_up_at_a_coarse_threshold(threshold: float) -> None:
    vectors = one_subject(seed=1)
    after = cluster_online(vectors, Rules(threshold, threshold)).after
    figures = agreement(after.tolist(), (np.arange(len(vectors)) % GROUPS).tolist())
    assert figures.heap_share < 0.03
    assert figures.bcubed_f1 > 0.85


@pytest.mark.parametrize("linkage", ["adaptive", "average"])
@pytest.mark.parametrize("threshold", [0.3, 0.3514, 0.4])
def test_nor_do_they_on_the_plain_cosine(threshold: float, linkage: Linkage) -> None:
    """Two questions of other groups have a mean cosine of .25, of one group .63."""
    vectors = one_subject(seed=1)
    after = cluster_online(vectors, Rules(threshold, threshold, "cosine", linkage)).after
    figures = agreement(after.tolist(), (np.arange(len(vectors)) % GROUPS).tolist())
    assert figures.heap_share < 0.1
    assert figures.bcubed_f1 > 0.7


def test_a_fine_threshold_on_the_plain_cosine_decides_alone_where_all_texts_are_near_to_each_other() -> None:
    """Unrelated texts have a mean cosine of .75 here, as those of some models do; groups are pairs at .95."""
    random = np.random.default_rng(2)
    own = unit_rows(random.normal(size=(400, 255)).astype(np.float32))
    pairs = np.repeat(own[:200], 2, axis=0) + 0.5 * own
    vectors = np.hstack([np.full((400, 1), 0.75**0.5), 0.5 * unit_rows(pairs)]).astype(np.float32)
    at = 0.9
    found = cluster_online(vectors, Rules(at, at, "cosine", "average")).after
    near = vectors @ vectors.T >= at
    assert [np.flatnonzero(found == one).tolist() for one in found] == [np.flatnonzero(row).tolist() for row in near]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    members=st.integers(2, 40),
    threshold=st.floats(0.05, 0.9),
    background=st.floats(0.2, 2.0),
)
def test_a_question_joins_only_what_it_is_nearer_to_than_questions_are_to_the_stream(
    seed: int, members: int, threshold: float, background: float
) -> None:
    vectors = stream(seed, members + 40, 6, 8, 0.6, background)
    rules = Rules(threshold, threshold, mean_questions=0)
    mirror = Mirror(8)
    mirror.apply([MeanMoved(len(vectors), vectors.sum(axis=0))])
    mirror.apply([ClusterMoved(1, members, vectors[:members].sum(axis=0))])
    # Of a cluster without a direction nothing is asked of its direction.
    assume(float(ScoreTerms(mirror, rules, room=0).cohesion[0]) > 0.01)
    mean = vectors.sum(axis=0) / (len(vectors) + MEAN_PRIOR_QUESTIONS)
    direction, centred = vectors[:members].mean(axis=0) - mean, vectors[members:] - mean
    cosines = centred @ direction / (np.linalg.norm(centred, axis=1) * np.linalg.norm(direction))
    least = min(threshold, float(np.linalg.norm(mean)))
    for question, cosine in zip(vectors[members:], cosines.tolist(), strict=True):
        (choice,) = BatchAssigner(question[None], mirror, rules).plan().choices
        assert choice.created or cosine >= least - 10 * TIE


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    members=st.integers(1, 40),
    threshold=st.floats(0.05, 0.9),
    background=st.floats(0.2, 2.0),
    linkage=st.sampled_from(["adaptive", "average"]),
)
def test_so_it_does_on_the_plain_cosine_as_a_question_like_the_mean_of_questions_would(
    seed: int, members: int, threshold: float, background: float, linkage: Linkage
) -> None:
    vectors = stream(seed, members + 40, 6, 8, 0.6, background)
    rules = Rules(threshold, threshold, similarity="cosine", linkage=linkage, mean_questions=0)
    mirror = Mirror(8)
    mirror.apply([MeanMoved(len(vectors), vectors.sum(axis=0))])
    mirror.apply([ClusterMoved(1, members, vectors[:members].sum(axis=0))])
    mean = vectors.sum(axis=0) / (len(vectors) + MEAN_PRIOR_QUESTIONS)
    length, direction = float(np.linalg.norm(mean)), vectors[:members].mean(axis=0) - mean
    beside = (1 - length**2) ** 0.5 * float(np.linalg.norm(direction))
    # (q - m).(s - m) of a question with q.m = m.m is q.s - s.m.
    cosines = (vectors[members:] @ (direction + mean) - (direction + mean) @ mean) / max(beside, 1e-9)
    least = min(1.5 * threshold, 0.5, length)
    for question, cosine in zip(vectors[members:], cosines.tolist(), strict=True):
        (choice,) = BatchAssigner(question[None], mirror, rules).plan().choices
        assert choice.created or cosine >= least - 10 * TIE / max(beside, 1e-3)
