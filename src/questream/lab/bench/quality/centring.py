"""Vectors without what all of a data set have in common: a favour to methods that do not centre by themselves."""

from __future__ import annotations

import numpy as np

from questream.domain import Matrix


def centred(vectors: Matrix) -> Matrix:
    """Unit vectors (n, d) less their mean, of length 1 again. The mean is of all, which no stream knows beforehand."""
    less_mean = vectors - vectors.mean(axis=0)
    lengths = np.linalg.norm(less_mean, axis=1, keepdims=True)
    unit: Matrix = np.ascontiguousarray(less_mean / np.maximum(lengths, np.finfo(np.float32).tiny))
    return unit
