from __future__ import annotations

import numpy as np

from questream.clustering.rules import Rules
from questream.lab.bench.quality.corrections import Correction, correction_curve, mean_of_orders, right_corrections
from questream.lab.evaluation.stream import Stream
from tests.kit.stepping import unit_rows


def paired_groups() -> Stream:
    """Ten subjects of two groups each, so near to each other that one cluster takes both."""
    random = np.random.default_rng(5)
    subjects, sides = random.normal(size=(10, 48)), random.normal(size=(20, 48))
    gold = random.integers(20, size=400)
    vectors = subjects[gold // 2] + 0.5 * sides[gold] + 0.15 * random.normal(size=(400, 48))
    return Stream([""] * 400, unit_rows(vectors.astype(np.float32)), gold)


def test_right_corrections_raise_the_agreement_of_later_questions() -> None:
    rules = Rules(0.7, 0.9, similarity="cosine", judge_features=False)
    none, some, more = correction_curve(paired_groups(), rules, [0, 5, 50])
    assert (none.corrections, some.corrections, none.questions) == (0, 5, 200)
    assert none.bcubed_f1 < some.bcubed_f1 < more.bcubed_f1
    assert more.bcubed_precision > none.bcubed_precision
    assert mean_of_orders([[none, some], [none, some]]) == [none, some]


def test_an_operator_corrects_what_is_not_where_its_group_is_at_home() -> None:
    clusters, gold = [1, 1, 1, 1, 2, 2, 3], [7, 7, 7, 8, 8, 8, 7]
    assert right_corrections(clusters, gold) == [Correction(3, 1, 2), Correction(6, 3, 1)]
    assert right_corrections([1, 1, 1], [7, 7, 9]) == [Correction(2, 1, None)]
