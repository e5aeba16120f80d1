"""A plan that is made again after others came first is the one that a fresh batch would be given."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questream.clustering.assignment import BatchAssigner
from questream.clustering.choices import Plan
from questream.clustering.constraints import pack_vector
from questream.clustering.merging import propose_merges
from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved, MeanMoved, Mirror
from questream.clustering.replanning import MadePlan
from questream.clustering.rules import Linkage, Rules, Similarity
from questream.clustering.second_look.features import features
from questream.domain import Exemplar, Matrix, Mode
from tests.kit.stepping import Stepper, unit_rows

DIMENSION = 24
# Not quite at right angles: of clusters that are just as near any may be called the runner-up.
FAR_APART = unit_rows(
    np.eye(DIMENSION, dtype=np.float32)
    + np.float32(0.03) * np.random.default_rng(0).normal(size=(DIMENSION, DIMENSION)).astype(np.float32)
)


def rows_of(seed: int, count: int, spread: float) -> Matrix:
    """Questions of few topics, so that some join and some open clusters."""
    random = np.random.default_rng(seed)
    centres = unit_rows(random.normal(size=(max(2, count // 3), DIMENSION)).astype(np.float32))
    chosen = centres[random.integers(len(centres), size=count)]
    return unit_rows(chosen + np.float32(spread) * random.normal(size=chosen.shape).astype(np.float32))


def change(random: np.random.Generator, mirror: Mirror, near: Matrix) -> Change:
    """What another worker does: it opens or moves a cluster, near a question of the batch or anywhere."""
    vector = rows_of(int(random.integers(2**31)), 1, 1)[0]
    if random.random() < 0.1:
        # Not the very question: of two clusters that are just as near either may be called the nearest.
        vector = unit_rows(near[[random.integers(len(near))]] + np.float32(0.03) * vector)[0]
    kind = random.random()
    if kind < 0.7 or not mirror.count:
        return ClusterMoved(mirror.next_id, 1, vector)
    known = int(mirror.ids[random.integers(mirror.count)])
    if kind < 0.95:
        return ClusterMoved(known, mirror.member_count(known) + 1, mirror.vector_sum(known) + vector)
    return ClusterRemoved(known) if kind < 0.99 else MeanMoved(mirror.mean_questions + 1, mirror.mean_sum + vector)


def assert_same(plan: Plan, fresh: Plan) -> None:
    for one, other in zip(plan.choices, fresh.choices, strict=True):
        assert (one.cluster_id, one.created, one.rank, one.checked_by, one.reason) == (
            other.cluster_id,
            other.created,
            other.rank,
            other.checked_by,
            other.reason,
        )
        assert one.similarity == pytest.approx(other.similarity, abs=1e-5)
        assert (one.runner_up is None) == (other.runner_up is None)
        if one.runner_up and other.runner_up:
            assert one.runner_up.similarity == pytest.approx(other.runner_up.similarity, abs=1e-5)
            assert one.runner_up.cluster_id == other.runner_up.cluster_id
    assert plan.touched == fresh.touched


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    questions=st.integers(1, 12),
    spread=st.floats(0.02, 0.4),
    changes=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    similarity=st.sampled_from(["centred", "cosine"]),
    linkage=st.sampled_from(["adaptive", "average", "centroid", "first"]),
    threshold=st.floats(0.3, 0.8),
    mean_questions=st.sampled_from([0, 20, 1000]),
    looks=st.booleans(),
    mode=st.sampled_from(["open", "known-only"]),
    own=st.lists(st.floats(0.2, 0.95), max_size=3),
)
def test_a_plan_made_again_is_that_of_a_fresh_batch(
    seed: int,
    questions: int,
    spread: float,
    changes: list[int],
    similarity: Similarity,
    linkage: Linkage,
    threshold: float,
    mean_questions: int,
    looks: bool,
    mode: Mode,
    own: list[float],
) -> None:
    rules = Rules(threshold, 0.95, similarity, linkage, 4, mean_questions)
    vectors, random = rows_of(seed, 40 + questions, spread), np.random.default_rng(seed)
    texts = [f"what of order {'abc'[at % 3]}-{at % 4}77?" for at in range(len(vectors))]
    asked = [features(text) for text in texts] if looks else None
    stepper = Stepper(rules, DIMENSION)
    stepper.assign(vectors[questions:], asked and asked[questions:])
    for threshold_of_one in own:
        stepper.set_threshold(int(random.choice(stepper.mirror.ids)), threshold_of_one)
    batch, looked_at = vectors[:questions], asked and asked[:questions]
    rules = replace(rules, mode=mode)
    assigner = BatchAssigner(batch, stepper.mirror, rules, looked_at)
    assigner.plan()
    for count in changes:
        for _ in range(count):
            assigner.rescore(stepper.mirror.apply([change(random, stepper.mirror, batch)]))
        if own and random.random() < 0.3:
            known = int(random.choice(stepper.mirror.ids))
            moved = ClusterMoved(
                known,
                stepper.mirror.member_count(known),
                stepper.mirror.vector_sum(known).copy(),
                threshold=float(random.choice([*own, 0.0])),
            )
            assigner.rescore(stepper.mirror.apply([moved]))
        assert_same(assigner.plan(), BatchAssigner(batch, stepper.mirror, rules, looked_at).plan())


def test_a_correction_of_an_operator_is_heeded_by_a_plan_made_again() -> None:
    rules = Rules(0.5, 0.95, similarity="cosine")
    stepper = Stepper(rules, DIMENSION)
    vectors = rows_of(1, 30, 0.1)
    stepper.assign(vectors)
    assigner = BatchAssigner(vectors[:8], stepper.mirror, rules)
    joined = assigner.plan().choices[0].cluster_id
    assert joined is not None
    exemplar = Exemplar("1", "cannot", pack_vector(vectors[0]))
    vector_sum = stepper.mirror.vector_sum(joined).copy()
    moved = ClusterMoved(joined, stepper.mirror.member_count(joined), vector_sum, exemplars=(exemplar,))
    assigner.rescore(stepper.mirror.apply([moved]))
    again = assigner.plan()
    assert again.choices[0].cluster_id != joined
    assert_same(again, BatchAssigner(vectors[:8], stepper.mirror, rules).plan())


def _planned_anew(make: Callable[[BatchAssigner], None]) -> int:
    """How often questions were decided one by one."""
    with patch.object(BatchAssigner, "_new_plan", autospec=True, side_effect=BatchAssigner._new_plan) as new_plan:
        rules = Rules(0.7, 0.95, similarity="cosine", mean_questions=0)
        stepper = Stepper(rules, DIMENSION)
        stepper.assign(FAR_APART[:6])
        assigner = BatchAssigner(FAR_APART[5:9], stepper.mirror, rules)
        assigner.plan()
        before = new_plan.call_count
        make(assigner)
        found = assigner.plan()
        assert_same(found, BatchAssigner(assigner._vectors, assigner._mirror, rules).plan())
        return new_plan.call_count - before - 1


def test_clusters_that_are_far_from_every_question_cost_no_decision() -> None:
    def opens_far_ones(assigner: BatchAssigner) -> None:
        mirror = assigner._mirror
        for vector in FAR_APART[12:20]:
            assigner.rescore(mirror.apply([ClusterMoved(mirror.next_id, 1, vector)]))

    assert _planned_anew(opens_far_ones) == 0


def test_a_cluster_that_is_near_a_question_has_it_decided_anew() -> None:
    def opens_its_twin(assigner: BatchAssigner) -> None:
        mirror = assigner._mirror
        assigner.rescore(mirror.apply([ClusterMoved(mirror.next_id, 1, assigner._vectors[2])]))

    assert _planned_anew(opens_its_twin) == 1


def test_kept_plans_are_told_from_those_that_may_not_be_kept() -> None:
    rules = Rules(0.7, 0.95, similarity="centred", mean_questions=1000)
    stepper = Stepper(rules, DIMENSION)
    assigner = BatchAssigner(rows_of(3, 5, 0.1), stepper.mirror, rules)
    # The mean learns in it: each later question is scored with another one.
    assert not MadePlan.of(assigner.plan(), stepper.mirror).may_hold(stepper.mirror, [])


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 2**31), opened=st.integers(1, 20), threshold=st.floats(0.3, 0.8))
def test_a_kept_plan_hides_no_pair_that_would_merge(seed: int, opened: int, threshold: float) -> None:
    rules, random = Rules(threshold, threshold, similarity="cosine"), np.random.default_rng(seed)
    vectors = rows_of(seed, 52, 0.3)
    stepper = Stepper(rules, DIMENSION)
    stepper.assign(vectors[12:])
    mirror = stepper.mirror
    for own in (0.25, 0.9) if opened % 2 else ():
        stepper.set_threshold(int(random.choice(mirror.ids)), own)
    assigner = BatchAssigner(vectors[:12], mirror, rules)
    assigner.plan()
    for vector in rows_of(int(random.integers(2**31)), opened, 1.0):
        assigner.rescore(mirror.apply([ClusterMoved(mirror.next_id, 1, vector)]))
    plan = assigner.plan()
    moves = [ClusterMoved(n, plan.touched[n].members, total) for n, total in assigner.vector_sums(plan).items()]
    mirror.apply(moves)
    quick, full = (propose_merges(mirror, plan.moved, rules, (), known) for known in (plan.may_merge, None))
    assert [(one.survivor, one.loser) for one in quick] == [(one.survivor, one.loser) for one in full]
