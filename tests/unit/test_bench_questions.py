"""Made-up questions of the benchmarks: the second look must not part those of one topic by their texts."""

from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.clustering.second_look.conflict import conflict
from questream.clustering.second_look.features import features
from questream.lab.bench.drift import DriftingQuestions
from questream.lab.bench.questions import SyntheticQuestions, in_letters, of_letters

MADE_UP = {
    "synthetic": SyntheticQuestions(400, 8, topics=3).texts(),
    "drifting": [one.text for one in islice(DriftingQuestions(400, 8, active_topics=3).ask(0), 400)],
}


@pytest.mark.parametrize("name", MADE_UP)
def test_no_made_up_question_differs_from_another_by_what_the_second_look_reads(name: str) -> None:
    texts = MADE_UP[name]
    assert len(set(texts)) == len(texts)
    first, *others = map(features, texts)
    assert {conflict(first, other) for other in others} == {None}


@given(st.integers(0, 10**9))
def test_a_number_in_letters_is_read_back(number: int) -> None:
    assert in_letters(number).isalpha()
    assert of_letters(in_letters(number)) == number
