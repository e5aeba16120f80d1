"""The figures of agreement against their definitions."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import combinations
from math import comb

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from questream.lab.evaluation.agreement import agreement

labels = st.lists(st.tuples(st.integers(0, 6), st.sampled_from("abcde")), min_size=1, max_size=60)


def naive_bcubed(clusters: Sequence[Hashable], gold: Sequence[Hashable]) -> tuple[float, float]:
    """Precision and recall, question by question, as Bagga and Baldwin define them."""
    precisions, recalls = [], []
    for cluster, group in zip(clusters, gold, strict=True):
        in_cluster = [g for c, g in zip(clusters, gold, strict=True) if c == cluster]
        in_group = [c for c, g in zip(clusters, gold, strict=True) if g == group]
        precisions.append(in_cluster.count(group) / len(in_cluster))
        recalls.append(in_group.count(cluster) / len(in_group))
    return sum(precisions) / len(precisions), sum(recalls) / len(recalls)


def naive_adjusted_rand_index(clusters: Sequence[Hashable], gold: Sequence[Hashable]) -> float:
    """Hubert and Arabie, pair by pair."""
    pairs = list(combinations(range(len(clusters)), 2))
    same_cluster = {pair for pair in pairs if clusters[pair[0]] == clusters[pair[1]]}
    same_group = {pair for pair in pairs if gold[pair[0]] == gold[pair[1]]}
    expected = len(same_cluster) * len(same_group) / comb(len(clusters), 2) if pairs else 0.0
    largest = (len(same_cluster) + len(same_group)) / 2
    if largest == expected:
        return 1.0
    return (len(same_cluster & same_group) - expected) / (largest - expected)


@settings(deadline=None)  # the first call imports scikit-learn
@given(labels)
def test_agreement_equals_the_definitions(questions: list[tuple[int, str]]) -> None:
    clusters, gold = [c for c, _ in questions], [g for _, g in questions]
    found = agreement(clusters, gold)
    precision, recall = naive_bcubed(clusters, gold)
    assert found.bcubed_precision == pytest.approx(precision)
    assert found.bcubed_recall == pytest.approx(recall)
    assert found.bcubed_f1 == pytest.approx(2 * precision * recall / (precision + recall))
    assert found.adjusted_rand_index == pytest.approx(naive_adjusted_rand_index(clusters, gold))
    pairs = list(combinations(zip(clusters, gold, strict=True), 2))
    same_cluster = {i for i, ((a, _), (b, _)) in enumerate(pairs) if a == b}
    same_group = {i for i, ((_, a), (_, b)) in enumerate(pairs) if a == b}
    for figure, of in ((found.pairwise_precision, same_cluster), (found.pairwise_recall, same_group)):
        assert figure == pytest.approx(len(same_cluster & same_group) / len(of) if of else 1.0)
    assert (found.questions, found.clusters, found.groups) == (len(questions), len(set(clusters)), len(set(gold)))


@settings(deadline=None)  # the first call imports scikit-learn
@given(labels)
def test_names_and_order_do_not_matter(questions: list[tuple[int, str]]) -> None:
    plain = agreement([c for c, _ in questions], [g for _, g in questions])
    turned = agreement([f"c{-c}" for c, _ in reversed(questions)], [(g, g) for _, g in reversed(questions)])
    assert turned.bcubed_f1 == pytest.approx(plain.bcubed_f1)
    assert turned.adjusted_rand_index == pytest.approx(plain.adjusted_rand_index)


def test_worked_example_of_bagga_and_baldwin() -> None:
    # Their figure: chains 1-5, 6-7, 8-C; the response joins the second with the third.
    gold = [1] * 5 + [2] * 2 + [3] * 5
    found = agreement([1] * 5 + [2] * 7, gold)
    assert found.bcubed_precision == pytest.approx(16 / 21)
    assert found.bcubed_recall == 1.0


def test_perfect_clusters_agree_fully_under_other_names() -> None:
    found = agreement(["x", "x", "y"], [2, 2, 1])
    assert (found.bcubed_f1, found.adjusted_rand_index) == (1.0, 1.0)


def test_one_cluster_for_all_has_full_recall_and_chance_level_rand_index() -> None:
    found = agreement([0] * 4, list("aabb"))
    assert (found.bcubed_recall, found.bcubed_precision, found.adjusted_rand_index) == (1.0, 0.5, 0.0)


@pytest.mark.parametrize(("clusters", "gold"), [([], []), ([1], []), ([1, 2], ["a"])])
def test_nothing_to_compare_is_refused(clusters: list[int], gold: list[str]) -> None:
    with pytest.raises(ValueError, match="question"):
        agreement(clusters, gold)


def test_questions_in_clusters_above_twice_the_largest_group_are_in_heaps() -> None:
    gold = [0, 0, 1, 1, 2, 2, 3, 3]
    assert agreement([0, 0, 0, 0, 0, 1, 1, 1], gold).heap_share == 5 / 8
    assert agreement([0, 0, 0, 0, 1, 1, 1, 1], gold).heap_share == 0
    assert agreement([7] * 8, [0] * 8).heap_share == 0
