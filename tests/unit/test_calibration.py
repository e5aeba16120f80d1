from __future__ import annotations

import numpy as np
import pytest

from questream.calibration import propose_threshold
from questream.domain import Matrix
from questream.evaluation.agreement import agreement
from questream.library import QuestionClusterer
from tests.unit.stepping import unit_rows

TOPICS = 20


def groups_and_vectors(spread: float) -> tuple[list[int], Matrix]:
    random = np.random.default_rng(5)
    groups = random.integers(TOPICS, size=600)
    centres, background = random.normal(size=(TOPICS, 64)), random.normal(size=64)
    return groups.tolist(), unit_rows(
        (centres[groups] + background + spread * random.normal(size=(600, 64))).astype(np.float32)
    )


@pytest.mark.parametrize("spread", [0.7, 1.2])
def test_the_proposed_threshold_finds_the_groups_however_tight_they_are(spread: float) -> None:
    groups, vectors = groups_and_vectors(spread)

    def agrees(threshold: float) -> float:
        ids = QuestionClusterer(dimension=64, threshold=threshold).assign(vectors).ids
        return agreement(ids, groups).bcubed_f1

    figures = [agrees(threshold) for threshold in (0.45, 0.55, 0.65)]
    assert agrees(propose_threshold(vectors).threshold) > max(figures) - 0.03
    assert min(figures) < max(figures) - 0.02  # else any threshold would do


def test_too_few_questions_are_refused() -> None:
    with pytest.raises(ValueError, match="100 at least"):
        propose_threshold(groups_and_vectors(0.7)[1][:99])
