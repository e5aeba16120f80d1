"""Clusters stay within what their questions have in common, at coarse thresholds too."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from questream.clustering.assignment import BatchAssigner
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.rules import MEAN_PRIOR_QUESTIONS, Rules
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
