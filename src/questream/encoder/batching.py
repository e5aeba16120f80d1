"""The division of a micro-batch into the sub-batches that go through the model one after the other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def cut_by_length(lengths: Sequence[int], batch_tokens: int) -> list[NDArray[np.intp]]:
    """Sub-batches of neighbours in length: row numbers, longest first, each row exactly once.

    A sub-batch holds at most `batch_tokens` tokens, counted as if every row were padded to its longest; a single
    row longer than that is a sub-batch of its own. Equal lengths keep their order, so the cut is deterministic.
    """
    order = np.argsort(-np.asarray(lengths, dtype=np.intp), kind="stable")
    cuts: list[NDArray[np.intp]] = []
    start = 0
    while start < len(order):
        rows = max(1, batch_tokens // lengths[order[start]])
        cuts.append(order[start : start + rows])
        start += rows
    return cuts
