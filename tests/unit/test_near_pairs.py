from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questream.clustering import may_merge as noting
from questream.clustering import near_pairs
from questream.clustering.assignment import BatchAssigner
from questream.clustering.choices import Plan
from questream.clustering.may_merge import MayMerge
from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved, MeanMoved, Mirror, Rows
from questream.clustering.rules import Linkage, Rules, Similarity
from questream.clustering.scores import ScoreTerms
from questream.domain import Matrix
from tests.kit.stepping import unit_rows

QUESTIONS = 24


def clusters_of(random: np.random.Generator, count: int, dimension: int, background: float) -> tuple[Mirror, Matrix]:
    """A mirror of clusters of one to four questions, tight ones and loose ones, and a question of each.

    With a background the stream has a mean.
    """
    shared = background * random.normal(size=dimension)
    mirror, first = Mirror(dimension), []
    for number in range(1, count + 1):
        spread = random.uniform(0.0, 0.8)
        members = random.normal(size=dimension) + spread * random.normal(size=(random.integers(1, 5), dimension))
        questions = unit_rows((members + shared).astype(np.float32))
        mirror.apply([ClusterMoved(number, len(questions), questions.sum(axis=0))])
        first.append(questions[0])
    if background:
        mirror.apply([MeanMoved(count, np.array(first).sum(axis=0))])
    return mirror, np.array(first)


def decide(mirror: Mirror, questions: Matrix, rules: Rules, missed: list[Change]) -> tuple[Plan, MayMerge]:
    """Plan a batch, then bring the mirror up to what others did meanwhile and to the batch."""
    assigner = BatchAssigner(questions, mirror, rules)
    plan = assigner.plan()
    sums = assigner.vector_sums(plan)
    mirror.apply(missed)
    gone = {change.cluster_id for change in missed if isinstance(change, ClusterRemoved)}
    mirror.apply([ClusterMoved(n, plan.touched[n].members, total) for n, total in sums.items() if n not in gone])
    assert plan.may_merge is not None
    left = plan.may_merge.without(missed)
    assert left is not None
    return plan, left


def found(mirror: Mirror, rules: Rules, moved: list[int], may_merge: MayMerge | None) -> dict[tuple[int, int], float]:
    terms = ScoreTerms(mirror, rules, room=0)
    return {
        (int(one), int(other)): float(score)
        for pairs in near_pairs.near_pairs(mirror, terms, mirror.rows(moved), may_merge)
        for one, other, score in zip(pairs.ones, pairs.others, pairs.scores, strict=True)
    }


@contextmanager
def everything_noted() -> Iterator[None]:
    """However little it spares."""
    with (
        patch.object(noting, "LEAST_SELECTIVE", -2.0),
        patch.object(noting, "_LARGEST_SHARE", 1.0),
        patch.object(near_pairs, "_SPARSE_SHARE", 1.0),
    ):
        yield


@settings(max_examples=300, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    dimension=st.sampled_from([2, 3, 4, 8]),
    threshold=st.floats(0.0, 0.95),
    linkage=st.sampled_from(["adaptive", "average", "centroid"]),
    similarity=st.sampled_from(["centred", "cosine"]),
    others=st.booleans(),
)
def test_what_a_batch_has_scored_hides_no_near_pair(
    seed: int,
    dimension: int,
    threshold: float,
    linkage: Linkage,
    similarity: Similarity,
    others: bool,
) -> None:
    random = np.random.default_rng(seed)
    mirror, questions = clusters_of(random, 100, dimension, background=1.0)
    rules = Rules(threshold, threshold, similarity=similarity, linkage=linkage, mean_questions=100)
    missed: list[Change] = [ClusterMoved(2, 3, questions[:3].sum(axis=0)), ClusterRemoved(1), ClusterRemoved(3)]
    batch = unit_rows(questions[:QUESTIONS] + 0.2 * random.normal(size=(QUESTIONS, dimension)).astype(np.float32))
    with everything_noted():
        plan, may_merge = decide(mirror, batch, rules, missed if others else [])
        quick = found(mirror, rules, plan.moved, may_merge)
    full = found(mirror, rules, plan.moved, None)
    assert {pair for pair, score in full.items() if score >= threshold + 1e-5} <= quick.keys()
    assert {pair for pair, score in quick.items() if score >= threshold + 1e-5} <= full.keys()


@pytest.mark.parametrize("clusters", [100, 2000])
def test_few_of_many_clusters_are_scored(clusters: int) -> None:
    random = np.random.default_rng(1)
    mirror, questions = clusters_of(random, clusters, 64, 0.5)
    rules = Rules(0.7, 0.7, mean_questions=clusters)
    noise = 0.05 * random.normal(size=(QUESTIONS, 64)).astype(np.float32)
    plan, may_merge = decide(mirror, unit_rows(questions[:QUESTIONS] + noise), rules, [])
    scored = 0
    scores = ScoreTerms.cluster_scores

    def count(self: ScoreTerms, ones: Rows, others: Rows, dots: Matrix) -> Matrix:
        nonlocal scored
        scored += dots.size
        return scores(self, ones, others, dots)

    with patch.object(ScoreTerms, "cluster_scores", count):
        found(mirror, rules, plan.moved, may_merge)
    among_themselves = len(plan.moved) * len(may_merge.unsure)
    assert 0 < scored < among_themselves + 0.1 * len(plan.moved) * clusters


def test_a_mean_that_moved_leaves_nothing_known() -> None:
    may_merge = MayMerge({}, [1])
    moved = ClusterMoved(2, 1, np.zeros(2, np.float32))
    assert may_merge.without([MeanMoved(1, np.zeros(2, np.float32))]) is None
    assert may_merge.without(None) is None
    assert may_merge.without([moved]) == MayMerge({}, {1, 2})
