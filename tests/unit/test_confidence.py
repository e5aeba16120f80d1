"""A confidence that is fitted to answers is as often right as it says."""

from __future__ import annotations

import numpy as np
import pytest

from questream.clustering.constraints import pack_vector
from questream.clustering.mirror import ClusterMoved, Mirror
from questream.clustering.rules import Rules
from questream.domain import ClusterState, Exemplar, Ruling
from questream.errors import QuestreamError
from questream.operations.confidence import Answer, fit, of_operators, of_pairs, reliability, reliability_of

RULES = Rules(0.6, 0.6, similarity="cosine")


def drawn(count: int, slope: float, intercept: float, seed: int = 0) -> list[Answer]:
    """Answers of people to whom so similar a question belongs with this chance."""
    random = np.random.default_rng(seed)
    similarities = random.uniform(0.4, 1.0, count)
    chances = 1 / (1 + np.exp(-(slope * similarities + intercept)))
    return [
        Answer(float(similarity), bool(belongs))
        for similarity, belongs in zip(similarities, random.random(count) < chances, strict=True)
    ]


def test_a_fit_finds_the_chances_that_answers_were_drawn_by() -> None:
    confidence = fit(drawn(20_000, 18.0, -12.0), "m")
    for similarity in (0.5, 0.65, 0.8, 0.95):
        chance = 1 / (1 + np.exp(-(18.0 * similarity - 12.0)))
        assert confidence.of(similarity) == pytest.approx(chance, abs=0.02)
    assert confidence.model == "m"


def test_on_answers_that_were_left_out_it_is_right_as_often_as_it_says() -> None:
    found = reliability_of(drawn(5000, 18.0, -12.0))
    assert found.calibration_error < 0.03
    assert sum(one.decisions for one in found.bins) == 5000
    for one in found.bins:
        assert one.low <= one.confidence <= one.high
        assert abs(one.confidence - one.right) < 4 * (0.25 / one.decisions) ** 0.5


def test_a_reliability_tells_who_is_too_sure() -> None:
    found = reliability([0.95] * 10 + [0.05] * 10, [True] * 5 + [False] * 15)
    assert [(one.decisions, one.right) for one in found.bins] == [(10, 0.0), (10, 0.5)]
    assert found.calibration_error == pytest.approx((0.05 + 0.45) / 2)
    assert reliability([], []).bins == []


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([], "0 answers"),
        ([Answer(0.9, True)] * 30, "30 answers, 30 of them yes"),
        ([Answer(0.9, True)] * 16 + [Answer(0.1, False)] * 4, "20 answers, 16 of them yes"),
        ([Answer(0.9, False)] * 15 + [Answer(0.1, True)] * 15, "less often"),
    ],
)
def test_answers_that_say_too_little_are_refused(answers: list[Answer], told: str) -> None:
    with pytest.raises(QuestreamError, match=told):
        fit(answers, "m")


def test_answers_that_fall_apart_at_one_similarity_have_a_finite_fit() -> None:
    confidence = fit([Answer(0.9, True)] * 15 + [Answer(0.1, False)] * 15, "m")
    assert 0.5 < confidence.of(0.9) < 1.0
    assert 0.0 < confidence.of(0.1) < 0.5


def test_operators_say_what_they_moved_and_turned_away_and_examples_say_nothing() -> None:
    mirror = Mirror(2)
    own, other = np.array([1, 0], np.float32), np.array([0.6, 0.8], np.float32)
    mirror.apply([ClusterMoved(1, 1, own)])
    place = ("questions", 0, 7)
    exemplars = (
        Exemplar("1", "must", pack_vector(own), place),
        Exemplar("2", "cannot", pack_vector(other), place),
        Exemplar("3", "must", pack_vector(own)),
    )
    state = ClusterState(
        1, "shop", "updated", 1, 1, own, None, None, 0, 0, "m", 1, ruling=Ruling("a", exemplars=exemplars)
    )
    found = list(of_operators(mirror, RULES, [state]))
    assert [one.belongs for one in found] == [True, False]
    assert [one.similarity for one in found] == pytest.approx([1.0, 0.6], abs=1e-3)


def test_two_questions_are_as_similar_as_a_question_and_a_cluster_of_the_other() -> None:
    one, other = np.array([1, 0], np.float32), np.array([0.8, 0.6], np.float32)
    (answer,) = of_pairs(Mirror(2), RULES, [one], [other], [True])
    assert answer.similarity == pytest.approx(0.8, abs=1e-6)
    assert answer.belongs
