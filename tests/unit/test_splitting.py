"""Which of a cluster's questions may be another part of it."""

from __future__ import annotations

import numpy as np
import pytest

from questream.tools.splitting import smaller_group
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
