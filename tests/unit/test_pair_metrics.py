from __future__ import annotations

import numpy as np
import pytest

from questream.domain import Matrix
from questream.lab.evaluation.pairs import OneSidedPairs, pair_intervals, pair_metrics
from tests.kit.stepping import unit_rows


def noisy_pairs(pairs: int, seed: int = 3) -> tuple[Matrix, Matrix, list[bool]]:
    """Pairs of unit vectors of which the same ones lie nearer to each other, though not always."""
    random = np.random.default_rng(seed)
    same = random.random(pairs) < 0.4
    a, other = random.normal(size=(2, pairs, 16)).astype(np.float32)
    b = a * (0.4 + 0.5 * same[:, None]) + other
    return unit_rows(a), unit_rows(b.astype(np.float32)), same.tolist()


def test_pairs_that_lie_apart_are_told_apart_by_every_measure() -> None:
    a = np.eye(4, dtype=np.float32)
    metrics = pair_metrics(a, a[[0, 1, 1, 2]], [True, True, False, False])
    named = metrics.named()
    assert len(named) == 28
    assert {name for name in named if "threshold" not in name and named[name] != 1.0} == set()
    assert named["cossim_accuracy_threshold"] == pytest.approx(0.5)
    assert named["euclidean_f1_threshold"] == pytest.approx(np.sqrt(2) / 2)
    assert named["manhattan_f1_threshold"] == pytest.approx(1.0)
    assert (metrics.pairs, metrics.same) == (4, 2)


def test_the_best_f1_is_what_its_threshold_gives() -> None:
    a, b, same = noisy_pairs(300)
    cossim = pair_metrics(a, b, same).cossim
    joined = (a * b).sum(axis=1) >= cossim.f1_threshold
    right = int((joined & np.array(same)).sum())
    assert cossim.precision == pytest.approx(right / joined.sum())
    assert cossim.recall == pytest.approx(right / sum(same))
    assert 0.5 < cossim.f1 < 0.95


def test_pairs_of_one_label_are_refused() -> None:
    a, b, _ = noisy_pairs(10)
    with pytest.raises(OneSidedPairs, match="labelled 0"):
        pair_metrics(a, b, [True] * 10)
    with pytest.raises(OneSidedPairs, match="labelled 1"):
        pair_intervals(np.arange(10), [False] * 10)


def test_labels_of_another_number_are_refused() -> None:
    a, b, same = noisy_pairs(10)
    with pytest.raises(ValueError, match="9 labels"):
        pair_metrics(a, b, same[:9])


def test_the_interval_covers_what_many_fresh_samples_give() -> None:
    from sklearn.metrics import average_precision_score

    def precision_of(seed: int) -> float:
        a, b, same = noisy_pairs(400, seed)
        return float(average_precision_score(same, (a * b).sum(axis=1)))

    a, b, same = noisy_pairs(400)
    interval = pair_intervals((a * b).sum(axis=1), same).ap
    assert interval.low < precision_of(3) < interval.high
    fresh = np.array([precision_of(seed) for seed in range(100, 300)])
    # As wide as samples differ: 95 of 100 lie within 3.92 standard deviations.
    assert interval.high - interval.low == pytest.approx(3.92 * fresh.std(), rel=0.35)


def test_equal_scores_are_taken_together() -> None:
    same = [True, False] * 20
    intervals = pair_intervals([0.5] * 40, same)
    assert intervals.ap == pytest.approx((0.5, 0.5))
    assert intervals.f1 == pytest.approx((2 / 3, 2 / 3))
