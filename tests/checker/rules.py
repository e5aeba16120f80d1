"""How the stream was meant to be clustered and published."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Rules:
    """What the checks are told of a stream; the rest they see.

    `embed` gives the unit vector (d,) of a text as the workers' model does; without it twins and centroids are judged
    by what was published alone. `store_lost_memory` names a stream whose store was restored on the way: the questions
    that it forgot are counted again, at another size, and a centroid may have learned one of them twice.
    """

    threshold: float
    embed: Callable[[str], NDArray[Any]] | None = None
    similarity: Literal["centred", "cosine"] = "centred"
    linkage: Literal["adaptive", "average", "centroid", "first"] = "adaptive"
    mean_prior: int = 5
    mean_questions: int = 1000
    delivery: Literal["exactly-once", "at-least-once"] = "exactly-once"
    store_lost_memory: bool = False
    # Workers score in float32.
    tolerance: float = 1e-4
