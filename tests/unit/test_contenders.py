"""A plan that is made of few of many clusters is the one that all of them would give."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questream.clustering import contenders, near_pairs, scan
from questream.clustering import may_merge as noting
from questream.clustering.assignment import BatchAssigner
from questream.clustering.choices import Choice
from questream.clustering.constraints import pack_vector
from questream.clustering.contenders import Contenders
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.rules import Linkage, Rules, Similarity
from questream.clustering.second_look.features import features
from questream.clustering.second_look.kept import pack
from questream.domain import Exemplar, Matrix, Mode
from tests.kit.stepping import unit_rows
from tests.unit.test_near_pairs import found
from tests.unit.test_replanning import assert_same, change, rows_of

DIMENSION = 24
QUESTIONS = 6
BEFORE = 500


@contextmanager
def few_kept(most: int, near: int = 2**20) -> Iterator[None]:
    """Blocks of some clusters, and of each question so few; and so many pairs of a question and one near to it."""
    with (
        patch.object(contenders, "_PRODUCTS_HELD", 0),
        patch.object(contenders, "_MOST_OF_EACH", most),
        patch.object(contenders, "_WIDENING", 2),
        patch.object(scan, "_MOST_AT_ONCE", 16),
        patch.object(scan, "_FEWEST_AT_ONCE", 16),
        patch.object(scan, "_MOST_NEAR", near),
        patch.object(scan, "LEAST_SELECTIVE", -2.0),
        patch.object(noting, "_LARGEST_SHARE", 1.0),
        patch.object(noting, "LEAST_SELECTIVE", -2.0),
        patch.object(near_pairs, "_SPARSE_SHARE", 1.0),
    ):
        yield


def mirror_of(vectors: Matrix, random: np.random.Generator, rules: Rules) -> Mirror:
    """Clusters of one to four questions each, with texts that tell them apart, and a mean that has learned."""
    mirror = Mirror(vectors.shape[1])
    number = at = 0
    while at < len(vectors):
        number += 1
        some = vectors[at : at + int(random.integers(1, 5))]
        mirror.apply([ClusterMoved(number, len(some), some.sum(axis=0))])
        at += len(some)
    if rules.mean_questions:
        mirror.apply([MeanMoved(rules.mean_questions, vectors.mean(axis=0) * np.float32(rules.mean_questions))])
    return mirror


def told_by_people(mirror: Mirror, near: Matrix, random: np.random.Generator, own: list[float], exemplars: int) -> None:
    """Thresholds of single clusters, and exemplars that pull and bar questions of the batch."""
    for threshold in own:
        known = int(random.choice(mirror.ids))
        total = mirror.vector_sum(known).copy()
        mirror.apply([ClusterMoved(known, mirror.member_count(known), total, threshold=threshold)])
    for at in range(exemplars):
        known = int(random.choice(mirror.ids))
        one = Exemplar(str(at), "must" if at % 2 else "cannot", pack_vector(near[random.integers(len(near))]))
        total = mirror.vector_sum(known).copy()
        mirror.apply([ClusterMoved(known, mirror.member_count(known), total, exemplars=(one,))])


@settings(max_examples=400, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    spread=st.floats(0.02, 0.6),
    most=st.integers(2, 4),
    similarity=st.sampled_from(["centred", "cosine"]),
    linkage=st.sampled_from(["adaptive", "average", "centroid", "first"]),
    threshold=st.floats(0.2, 0.9),
    looks=st.booleans(),
    mode=st.sampled_from(["open", "known-only"]),
    own=st.lists(st.floats(0.1, 0.95), max_size=3),
    exemplars=st.integers(0, 3),
    changes=st.lists(st.integers(0, 4), max_size=3),
)
def test_few_clusters_give_the_plan_that_all_would(
    seed: int,
    spread: float,
    most: int,
    similarity: Similarity,
    linkage: Linkage,
    threshold: float,
    looks: bool,
    mode: Mode,
    own: list[float],
    exemplars: int,
    changes: list[int],
) -> None:
    random = np.random.default_rng(seed)
    rules = Rules(threshold, threshold, similarity, linkage, 4, 20)
    vectors = rows_of(seed, BEFORE + QUESTIONS, spread)
    batch, before = vectors[:QUESTIONS], vectors[QUESTIONS:]
    mirror = mirror_of(before, random, rules)
    told_by_people(mirror, batch, random, own, exemplars)
    asked = [features(f"what of order {'abc'[at % 3]}-{at % 4}77?") for at in range(QUESTIONS)] if looks else None
    rules = replace(rules, mode=mode)
    with few_kept(most):
        assigner = BatchAssigner(batch, mirror, rules, asked)
        assert_same(assigner.plan(), BatchAssigner(batch, mirror, rules, asked).plan())
    assert_same(assigner.plan(), BatchAssigner(batch, mirror, rules, asked).plan())
    for count in changes:
        for _ in range(count):
            assigner.rescore(mirror.apply([change(random, mirror, batch)]))
        with few_kept(most):
            again = assigner.plan()
        assert_same(again, BatchAssigner(batch, mirror, rules, asked).plan())


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    spread=st.floats(0.02, 0.6),
    threshold=st.floats(0.3, 0.8),
    similarity=st.sampled_from(["centred", "cosine"]),
    linkage=st.sampled_from(["adaptive", "average", "centroid"]),
    near=st.sampled_from([10, 300, 2**20]),
)
def test_few_clusters_hide_no_pair_that_is_near(
    seed: int, spread: float, threshold: float, similarity: Similarity, linkage: Linkage, near: int
) -> None:
    random, rules = np.random.default_rng(seed), Rules(threshold, threshold - 0.25, similarity, linkage, 4, 20)
    # Of few topics, so that more clusters are near a question than are kept of it.
    topics = unit_rows(random.normal(size=(6, DIMENSION)).astype(np.float32))[
        random.integers(6, size=BEFORE + QUESTIONS)
    ]
    vectors = unit_rows(topics + np.float32(0.5 * spread) * random.normal(size=topics.shape).astype(np.float32))
    mirror = mirror_of(vectors[QUESTIONS:], random, rules)
    with few_kept(2, near):
        assigner = BatchAssigner(vectors[:QUESTIONS], mirror, rules)
        plan = assigner.plan()
    assert plan.may_merge is not None
    sums = assigner.vector_sums(plan)
    mirror.apply([ClusterMoved(n, plan.touched[n].members, total) for n, total in sums.items()])
    with few_kept(2, near):
        quick = found(mirror, rules, plan.moved, plan.may_merge)
    full = found(mirror, rules, plan.moved, None)
    assert {pair for pair, score in full.items() if score >= rules.merge_threshold + 1e-5} <= quick.keys()
    assert {pair for pair, score in quick.items() if score >= rules.merge_threshold + 1e-5} <= full.keys()


def test_few_of_many_clusters_are_kept_and_their_products_alone() -> None:
    random = np.random.default_rng(0)
    rules = Rules(0.7, 0.7, mean_questions=20)
    vectors = unit_rows(random.normal(size=(3008, 64)).astype(np.float32))
    mirror = mirror_of(vectors[8:], random, rules)
    with patch.object(contenders, "_PRODUCTS_HELD", 0):
        kept = Contenders(vectors[:8], mirror, rules)
    assert len(kept.rows) <= 10 * 8 < mirror.count / 8
    assert kept.dots.shape[1] < mirror.count / 4


def test_no_more_products_are_held_of_a_large_batch_than_of_what_is_kept() -> None:
    random = np.random.default_rng(0)
    rules = Rules(0.7, 0.7, similarity="cosine", mean_questions=0)
    vectors = unit_rows(random.normal(size=(2100, 64)).astype(np.float32))
    mirror = mirror_of(vectors[100:], random, rules)
    batch = vectors[100 + np.arange(200) % 20]
    with patch.object(contenders, "_PRODUCTS_HELD", mirror.count * len(batch) // 2):
        kept = Contenders(batch, mirror, rules)
    assert len(kept.rows) <= 10 * 20 < mirror.count
    assert kept.dots.shape[1] <= len(kept.rows) + len(batch) + 1024


@pytest.mark.parametrize("most", [3, 4])
def test_a_question_that_many_clusters_are_kept_from_is_given_the_next(most: int) -> None:
    """Each of so many clusters was told not to take it: the one behind them does, which was not kept at first.

    Of the other questions no more are kept for that.
    """
    rules = Rules(0.5, 0.99, similarity="cosine", mean_questions=0)
    question, *others = np.eye(DIMENSION, dtype=np.float32)
    random = np.random.default_rng(1)
    noise = 0.02 * np.arange(1, 61)[:, None] * unit_rows(random.normal(size=(60, DIMENSION)).astype(np.float32))
    near = unit_rows((question + noise).astype(np.float32))
    vectors = np.concatenate([near, unit_rows(random.normal(size=(600, DIMENSION)).astype(np.float32))])
    mirror = Mirror(DIMENSION)
    barred = Exemplar("1", "cannot", pack_vector(question))
    for number, vector in enumerate(vectors, start=1):
        mirror.apply([ClusterMoved(number, 1, vector, exemplars=(barred,) if number <= 8 else ())])
    batch = np.array([*others[:3], question, *others[3:6]])
    with few_kept(most), patch.object(contenders, "scan", wraps=scan.scan) as scanned:
        plan = BatchAssigner(batch, mirror, rules).plan()
    assert plan.choices[3].cluster_id == 9
    scanned_questions = [len(call.args[0]) for call in scanned.call_args_list]
    assert scanned_questions == [7] + [1] * (len(scanned_questions) - 1)
    assert len(scanned_questions) > 1
    assert_same(plan, BatchAssigner(batch, mirror, rules).plan())


def test_none_is_sought_behind_clusters_that_are_all_passed_over() -> None:
    """Eight clusters of other orders are near; those behind them, of which more are wanted to tell, matter no more."""
    cosines = [*np.linspace(0.95, 0.9, 8), *np.full(300, 0.85)]
    (choice,), scans = decided_beside(cosines, differing=8, most=10)
    assert (choice.created, choice.reason, choice.runner_up and choice.runner_up.cluster_id) == (True, "code", 1)
    assert scans == 1


@pytest.mark.parametrize("own", [None, 0.99])
def test_none_is_sought_that_is_too_far_to_join_once_there_is_a_runner_up(own: float | None) -> None:
    """One cluster differs, and so many are behind it that more are wanted to tell them apart: all too far to join."""
    (choice,), scans = decided_beside([0.9, *np.full(300, 0.4)], differing=1, most=2, own=own)
    assert (choice.created, choice.runner_up and choice.runner_up.cluster_id) == (True, 1)
    assert scans == 1


def decided_beside(
    cosines: list[float], differing: int, most: int, own: float | None = None
) -> tuple[list[Choice], int]:
    """The choice of a question beside clusters of these cosines, the first of them of other orders; and the scans.

    The last one has a threshold of its `own`.
    """
    question, *across = np.eye(len(cosines) + 1, dtype=np.float32)
    mirror = Mirror(len(question))
    for number, (cosine, other) in enumerate(zip(cosines, across, strict=True), start=1):
        vector = np.float32(cosine) * question + np.float32((1 - cosine**2) ** 0.5) * other
        kept = pack((features(f"where is order AB-{number}C?"),)) if number <= differing else b""
        own_threshold = own if number == len(cosines) else None
        mirror.apply([ClusterMoved(number, 1, vector, kept=kept, threshold=own_threshold)])
    rules = Rules(0.7, 0.99, similarity="cosine", mean_questions=0)
    asked = [features("where is order ZQ-777X?")]
    with few_kept(most), patch.object(contenders, "scan", wraps=scan.scan) as scanned:
        plan = BatchAssigner(question[None, :], mirror, rules, asked).plan()
    return plan.choices, scanned.call_count


def test_clusters_near_to_a_question_are_noted_unless_they_are_too_many() -> None:
    """Those of the first question all come in the first blocks: a large share of these, and a small one of all."""
    random = np.random.default_rng(3)
    rules = Rules(0.7, 0.9, similarity="cosine", mean_questions=0)
    questions = np.eye(DIMENSION, dtype=np.float32)[:4]
    # Of the fourth there is none.
    clusters = np.repeat(questions[[0, 1, 2, 1]], [50, 300, 40, 300], axis=0)
    noise = np.float32(0.05) * random.normal(size=clusters.shape).astype(np.float32)
    mirror = Mirror(DIMENSION)
    for number, vector in enumerate(unit_rows(clusters + noise), start=1):
        mirror.apply([ClusterMoved(number, 1, vector)])
    with few_kept(2, near=200), patch.object(scan, "LEAST_SELECTIVE", 0.05):
        found = scan.scan(questions, mirror, rules, 2)
    scores = questions @ mirror.sums.T
    assert found.near.of(1, 0.9) is None
    for question in (0, 2, 3):
        known = found.near.of(question, 0.7)
        assert known is not None
        expected = np.setdiff1d(np.flatnonzero(scores[question] >= 0.7), found.rows)
        assert known.tolist() == mirror.ids[expected].tolist()
    assert 0 < len(found.near.ids) <= 200


@pytest.mark.parametrize(("clusters", "questions", "learned"), [(2**15, 500, 400), (2**15 + 1, 2000, 0)])
def test_on_the_plain_cosine_no_mean_begins_to_learn_beside_many_clusters(
    clusters: int, questions: int, learned: int
) -> None:
    """Each question of a young mean is compared with all clusters: a namespace of an earlier release may have many."""
    random = np.random.default_rng(1)
    vectors = unit_rows(random.normal(size=(clusters + questions, 8)).astype(np.float32))
    mirror = Mirror(8)
    mirror.apply([ClusterMoved(number, 1, vectors[number]) for number in range(1, clusters + 1)])
    rules = Rules(0.999, 2.0, "cosine", "average", mean_questions=400)
    tracemalloc.start()
    plan = BatchAssigner(vectors[-questions:], mirror, rules).plan()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert plan.mean_learned == learned
    assert peak < 200 * 2**20
