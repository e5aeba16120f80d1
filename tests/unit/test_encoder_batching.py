"""How a micro-batch is cut into sub-batches: a pure function."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from questream.encoder.batching import cut_by_length

LENGTHS = st.lists(st.integers(1, 512), max_size=300)


@given(LENGTHS, st.integers(1, 4096))
def test_every_row_is_in_exactly_one_cut(lengths: list[int], batch_tokens: int) -> None:
    rows = [row for cut in cut_by_length(lengths, batch_tokens) for row in cut]
    assert sorted(rows) == list(range(len(lengths)))


@given(LENGTHS, st.integers(1, 4096))
def test_a_cut_padded_to_its_longest_row_keeps_to_the_budget(lengths: list[int], batch_tokens: int) -> None:
    for cut in cut_by_length(lengths, batch_tokens):
        assert len(cut) == 1 or len(cut) * max(lengths[row] for row in cut) <= batch_tokens


@given(LENGTHS, st.integers(1, 4096))
def test_rows_come_longest_first_and_equal_lengths_in_order(lengths: list[int], batch_tokens: int) -> None:
    rows = [int(row) for cut in cut_by_length(lengths, batch_tokens) for row in cut]
    assert rows == sorted(rows, key=lambda row: (-lengths[row], row))


@given(LENGTHS, st.integers(1, 4096))
def test_a_cut_ends_only_where_the_next_row_would_not_fit(lengths: list[int], batch_tokens: int) -> None:
    cuts = cut_by_length(lengths, batch_tokens)
    for cut in cuts[:-1]:
        assert (len(cut) + 1) * lengths[cut[0]] > batch_tokens


def test_questions_of_a_real_spread_waste_little_on_padding() -> None:
    lengths = np.random.default_rng(7).gamma(4.0, 4.0, size=256).astype(int) + 4
    padded = sum(len(cut) * max(lengths[row] for row in cut) for cut in cut_by_length(list(lengths), 512))
    assert padded < 1.1 * lengths.sum()
