"""Pairs drawn from a stream with gold groups: all of them would be the square of the questions."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.lab.evaluation.agreement import Labels

_PAIRS = 20_000


def sampled_similarities(centred: Matrix, gold: Labels) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Cosines between `centred` unit rows (n, d) of one gold group, and of two groups, up to 20,000 of each.

    A question is as likely to be drawn as any other; both are empty where the groups have no such pair.
    """
    random = np.random.default_rng(0)
    by_group = np.argsort(gold, kind="stable")
    _, starts, place_of, sizes = np.unique(gold[by_group], return_index=True, return_inverse=True, return_counts=True)
    # Places in `by_group` where another of the same group is, a whole turn of the group away at most.
    paired = np.flatnonzero(sizes[place_of] > 1)
    one = random.choice(paired, _PAIRS) if len(paired) else paired
    group = place_of[one]
    step = random.integers(1, np.maximum(sizes[group], 2))
    other = starts[group] + (one - starts[group] + step) % sizes[group]
    same = _cosines(centred, by_group[one], by_group[other])

    first, second = random.integers(len(gold), size=(2, _PAIRS))
    apart = gold[first] != gold[second]
    return same, _cosines(centred, first[apart], second[apart])


def _cosines(rows: Matrix, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.float32]:
    cosines: NDArray[np.float32] = np.einsum("nd,nd->n", rows[first], rows[second])
    return cosines
