"""Batched equals one by one on real questions, as the real model embeds them."""

from __future__ import annotations

from importlib import resources
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from questream.clustering.rules import Rules, Similarity
from questream.domain import Matrix
from questream.encoder import Encoder
from questream.records.files import read_questions
from tests.unit.test_assignment import assert_same_as_one_by_one

QUESTIONS = 150


@pytest.fixture(scope="module")
def vectors(encoder: Encoder) -> Matrix:
    sample = Path(str(resources.files("questream.lab.demo"))) / "banking77.jsonl"
    return encoder.encode([question.text for question in islice(read_questions(sample), QUESTIONS)])


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    batch_questions=st.sampled_from([1, 2, 7, 64, QUESTIONS]),
    order=st.integers(0, 2**32 - 1),
    threshold=st.sampled_from([0.55, 0.70, 0.90]),
    similarity=st.sampled_from(["centred", "cosine"]),
)
def test_a_batch_of_real_questions_decides_as_one_by_one_does(
    vectors: Matrix, batch_questions: int, order: int, threshold: float, similarity: Similarity
) -> None:
    shuffled = vectors[np.random.default_rng(order).permutation(len(vectors))]
    rules = Rules(threshold, threshold, similarity, "adaptive")
    assume(assert_same_as_one_by_one(shuffled, batch_questions, rules, tie=2e-5))
