from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questream.clustering.assignment import BatchAssigner
from questream.clustering.constraints import (
    Constraints,
    pack_vector,
    unpack_vector,
)
from questream.clustering.mirror import ClusterMoved, ClusterRemoved, Mirror
from questream.clustering.nearest import NEIGHBOURS, assigned, nearest_clusters
from questream.clustering.rules import Linkage, Rules, Similarity
from questream.domain import EXEMPLARS_KEPT, ConstraintKind, Exemplar, Matrix, Mode, Vector, joint_exemplars
from tests.kit.reference import Reference
from tests.kit.stepping import Stepper, unit_rows
from tests.unit.test_assignment import TIE, stream

RULES = Rules(0.7, 0.9, similarity="cosine")


def exemplar(name: str, kind: ConstraintKind, vector: Vector) -> Exemplar:
    return Exemplar(name, kind, pack_vector(vector))


def two_clusters() -> Stepper:
    """Clusters 1 and 2, along the first and the second axis."""
    stepper = Stepper(RULES, 4)
    stepper.mirror.apply(
        [ClusterMoved(1, 4, np.array([4, 0, 0, 0], np.float32)), ClusterMoved(2, 4, np.array([0, 4, 0, 0], np.float32))]
    )
    stepper.sizes = {1: 4, 2: 4}
    return stepper


def near_first(second: float, third: float = 0.0) -> Matrix:
    return unit_rows(np.array([[1, second, third, 0]], np.float32))


def test_what_is_nearer_to_a_rejected_question_than_to_the_members_does_not_join() -> None:
    stepper = two_clusters()
    rejected = near_first(0.0, 0.8)[0]
    stepper.constrain(1, [exemplar("a", "cannot", rejected)])
    (choice,), _ = stepper.assign(near_first(0.05, 0.8))
    assert choice.created
    (choice,), _ = stepper.assign(near_first(0.05, 0.1))
    assert (choice.cluster_id, choice.created) == (1, False)


@pytest.mark.parametrize("seed", range(20))
def test_a_question_that_opened_a_cluster_and_was_moved_binds_its_like(seed: int) -> None:
    rules = Rules(0.9, 0.99, similarity="cosine")
    stepper, question = (
        Stepper(rules, 384),
        unit_rows(np.random.default_rng(seed).normal(size=(2, 384)).astype(np.float32)),
    )
    stepper.assign(question)
    stepper.constrain(1, [exemplar("a", "cannot", question[0])])
    stepper.constrain(2, [exemplar("b", "must", question[0])])
    (choice,), _ = stepper.assign(question[:1])
    assert (choice.cluster_id, choice.created) == (2, False)


def test_the_next_best_cluster_takes_what_is_turned_away() -> None:
    stepper = two_clusters()
    question = near_first(0.99)
    (before,), _ = two_clusters().assign(question)
    stepper.constrain(1, [exemplar("a", "cannot", question[0])])
    (choice,), _ = stepper.assign(question)
    assert (before.cluster_id, choice.cluster_id, choice.created) == (1, 2, False)


def test_what_is_near_a_moved_question_goes_where_that_was_moved() -> None:
    stepper = two_clusters()
    moved = near_first(0.5, 0.4)[0]
    stepper.constrain(2, [exemplar("a", "must", moved)])
    (choice,), _ = stepper.assign(near_first(0.5, 0.41))
    assert (choice.cluster_id, choice.created) == (2, False)
    assert choice.similarity == pytest.approx(float(near_first(0.5, 0.41)[0] @ moved), abs=1e-3)
    (choice,), _ = stepper.assign(near_first(0.02))
    assert choice.cluster_id == 1


def test_clusters_do_not_merge_where_one_takes_what_the_other_rejected() -> None:
    stepper = Stepper(Rules(0.7, 0.7, similarity="cosine"), 4)
    rejected = near_first(0.8)[0]
    stepper.mirror.apply([ClusterMoved(1, 4, np.array([4, 0, 0, 0], np.float32)), ClusterMoved(2, 1, rejected)])
    stepper.sizes, stepper.moved = {1: 4, 2: 1}, [1, 2]
    stepper.constrain(1, [exemplar("a", "cannot", rejected)])
    assert stepper.merge() == []
    stepper.constrain(1, [])
    assert stepper.merge() == [(1, 2)]


def test_what_a_merge_makes_inherits_the_constraints_of_both() -> None:
    stepper = Stepper(Rules(0.7, 0.7, similarity="cosine"), 4)
    stepper.mirror.apply([ClusterMoved(1, 2, 2 * near_first(0)[0]), ClusterMoved(2, 1, near_first(0.2)[0])])
    stepper.sizes, stepper.moved = {1: 2, 2: 1}, [1, 2]
    one, other = (exemplar(name, "cannot", near_first(0, third)[0]) for name, third in (("a", 5), ("b", -5)))
    stepper.constrain(1, [one])
    stepper.constrain(2, [other])
    assert stepper.merge() == [(1, 2)]
    assert stepper.mirror.exemplars(1) == (one, other)


def test_a_cluster_keeps_the_last_exemplars_in_the_order_of_the_operations() -> None:
    some = [exemplar(f"{number:03d}", "must", near_first(0)[0]) for number in range(EXEMPLARS_KEPT + 5)]
    assert joint_exemplars(some[::2], some[1::2]) == tuple(some[5:])
    assert joint_exemplars(some[:2], some[:2]) == tuple(some[:2])


def test_a_removed_cluster_binds_nothing_and_another_dimension_neither() -> None:
    stepper = two_clusters()
    stepper.constrain(1, [exemplar("a", "cannot", near_first(0)[0])])
    stepper.constrain(2, [Exemplar("b", "cannot", pack_vector(np.ones(3, np.float32)))])
    assert len(stepper.mirror.constraints) == 1
    stepper.mirror.apply([ClusterRemoved(1)])
    assert len(stepper.mirror.constraints) == 0


def test_half_precision_moves_a_cosine_by_less_than_a_thousandth() -> None:
    rows = unit_rows(np.random.default_rng(1).normal(size=(50, 384)).astype(np.float32))
    read = np.array([unpack_vector(pack_vector(row)) for row in rows])
    assert np.abs(read @ rows.T - rows @ rows.T).max() < 1e-3


def test_constraints_of_a_mirror_are_the_same_object_until_one_changes() -> None:
    mirror = Mirror(4)
    mirror.apply([ClusterMoved(1, 1, near_first(0)[0], exemplars=(exemplar("a", "must", near_first(0)[0]),))])
    known: Constraints = mirror.constraints
    mirror.apply([ClusterMoved(1, 2, near_first(0)[0])])
    assert mirror.constraints is known


@settings(max_examples=80, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    questions=st.integers(10, 60),
    topics=st.integers(1, 8),
    spread=st.floats(0.2, 1.2),
    background=st.sampled_from([0.0, 0.5]),
    batch_questions=st.integers(1, 30),
    similarity=st.sampled_from(["centred", "cosine"]),
    linkage=st.sampled_from(["adaptive", "average", "centroid", "first"]),
    threshold=st.floats(0.2, 0.8),
    mean_questions=st.sampled_from([0, 7, 1000]),
    own=st.lists(st.floats(0.1, 0.95), max_size=4),
    mode=st.sampled_from(["open", "open", "known-only"]),
)
def test_a_batch_with_constraints_decides_as_one_by_one_does(
    seed: int,
    questions: int,
    topics: int,
    spread: float,
    background: float,
    batch_questions: int,
    similarity: Similarity,
    linkage: Linkage,
    threshold: float,
    mean_questions: int,
    own: list[float],
    mode: Mode,
) -> None:
    rules = Rules(threshold, threshold, similarity, linkage, mean_questions=mean_questions)
    vectors = stream(seed, questions, topics, 16, spread, background)
    random = np.random.default_rng(seed)
    reference, stepper = Reference(rules, 16), Stepper(rules, 16)
    names = iter(range(10_000))
    for start in range(0, questions, batch_questions):
        if start > questions // 2:
            reference.rules = stepper.rules = replace(rules, mode=mode)
        batch = vectors[start : start + batch_questions]
        choices, _ = stepper.assign(batch)
        for question, choice in zip(batch, choices, strict=True):
            answer = reference.assign(question.astype(np.float64))
            if reference.closest_call < TIE:
                return  # float32 and float64 may rightly differ
            assert (choice.cluster_id, choice.created) == (answer.cluster_id, answer.created)
            assert choice.similarity == pytest.approx(answer.similarity, abs=5e-5)
            assert (choice.runner_up and choice.runner_up.cluster_id) == (answer.runner_up and answer.runner_up[0])
        expected = reference.merge()
        if reference.closest_call < TIE:
            return
        assert stepper.merge() == expected
        for cluster in reference.clusters:
            if own and random.random() < 0.3:
                cluster.threshold = random.choice([*own, 0.0]) or None
                stepper.set_threshold(cluster.id, cluster.threshold or 0.0)
            if random.random() < 0.5:
                kind: ConstraintKind = "must" if random.random() < 0.4 else "cannot"
                one = exemplar(f"{next(names):05d}", kind, vectors[random.integers(questions)])
                known = stepper.mirror.exemplars(cluster.id)
                stepper.constrain(cluster.id, [*known, one])
                (cluster.must if kind == "must" else cluster.cannot).append(
                    unpack_vector(one.vector).astype(np.float64)
                )


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), similarity=st.sampled_from(["centred", "cosine"]), own=st.booleans())
def test_a_look_agrees_with_the_decision(seed: int, similarity: Similarity, own: bool) -> None:
    vectors = stream(seed, 41, 4, 16, 0.6, 0.3)
    stepper = Stepper(Rules(0.5, 0.9, similarity), 16)
    stepper.assign(vectors[:30])
    for at, cluster_id in enumerate(list(stepper.mirror.row_of)):
        kind: ConstraintKind = "must" if at % 2 else "cannot"
        stepper.constrain(cluster_id, [exemplar(f"{at}", kind, vectors[30 + at % 11])])
        if own:
            stepper.set_threshold(cluster_id, (0.0, 0.9, 0.2)[at % 3])
    for vector in vectors[30:]:
        found = assigned(nearest_clusters(stepper.mirror, stepper.rules, vector, NEIGHBOURS), stepper.rules)
        (choice,) = BatchAssigner(vector[None, :], stepper.mirror, stepper.rules).plan().choices
        assert (None if choice.created else choice.cluster_id) == (found.cluster and found.cluster.cluster_id)
        assert (choice.runner_up and choice.runner_up.cluster_id) == (found.runner_up and found.runner_up.cluster_id)
