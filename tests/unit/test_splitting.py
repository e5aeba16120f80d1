"""Which of a cluster's questions may be another part of it."""

from __future__ import annotations

import numpy as np
import pytest

from questream.operations.mixed_clusters import smaller_group
from questream.tools.splitting import nearer_to
from tests.kit.vectors import hash_vector

PIN, CARD = "how do i change the pin", "where is my card card card"


@pytest.mark.parametrize(
    ("texts", "apart"),
    [
        ([CARD, CARD, PIN], [False, False, True]),
        ([PIN, CARD, CARD, CARD], [True, False, False, False]),
        ([CARD, PIN], [False, True]),
        ([CARD, f"{CARD} now", PIN, f"{PIN} today", f"{CARD} please"], [False, False, True, True, False]),
        ([CARD, CARD, CARD], [False, False, False]),
        ([CARD], [False]),
    ],
)
def test_the_smaller_group_of_those_that_differ_most_is_apart(texts: list[str], apart: list[bool]) -> None:
    assert smaller_group(np.stack([hash_vector(text) for text in texts])).tolist() == apart


def test_no_question_is_no_group() -> None:
    assert smaller_group(np.zeros((0, 8), np.float32)).tolist() == []


LOST = "my card is lost"


@pytest.mark.parametrize(
    ("examples", "texts", "goes"),
    [
        ([PIN], [CARD, f"{PIN} please", CARD, f"{PIN} today"], [False, True, False, True]),
        # More than half of what it keeps.
        ([PIN], [f"{PIN} today", CARD, f"{PIN} please", f"{PIN} now"], [True, False, True, True]),
        ([PIN, LOST], [CARD, f"{LOST} today", f"{PIN} now", CARD], [False, True, True, False]),
        ([CARD], [CARD, CARD], [False, False]),
        ([PIN], [CARD, "where is my card card"], [False, False]),
        ([PIN], [PIN], [False]),
        ([PIN], [], []),
    ],
)
def test_what_is_nearer_to_examples_than_to_the_others_that_stay_goes_along(
    examples: list[str], texts: list[str], goes: list[bool]
) -> None:
    vectors = np.stack([hash_vector(text) for text in texts]) if texts else np.zeros((0, 64), np.float32)
    assert nearer_to(np.stack([hash_vector(text) for text in examples]), vectors).tolist() == goes
