"""A threshold for a stream that nobody has labelled, from a sample of its questions alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from questream.clustering.rules import MEAN_PRIOR_QUESTIONS, Rules
from questream.domain import Matrix
from questream.evaluation.agreement import numbered
from questream.evaluation.online import cluster_online

DEFAULT_THRESHOLDS = tuple(round(0.425 + 0.025 * step, 3) for step in range(12))

_FEWEST_QUESTIONS = 100
_NEIGHBOURS = 3
# At 1 the measure cannot see groups below a size that grows with the sample (Fortunato & Barthelemy 2007), and settles
# for too few; docs/clustering.md says what other values cost.
_RESOLUTION = 2.0
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class Candidate:
    """What one threshold makes of the sample: how many clusters, and their modularity."""

    threshold: float
    clusters: int
    modularity: float


@dataclass(frozen=True, slots=True)
class Proposal:
    """The threshold of the highest modularity, and all that were tried."""

    threshold: float
    candidates: list[Candidate]


def propose_threshold(vectors: Matrix, thresholds: Sequence[float] = DEFAULT_THRESHOLDS) -> Proposal:
    """The threshold at which clusters cut fewest ties between near neighbours for their number: for intents.

    Clusters the sample of unit vectors (n, d) online at each threshold, as a worker does, and takes the one whose
    clusters have the highest modularity (Newman & Girvan 2004, with the resolution of Reichardt & Bornholdt 2006) in
    the graph that ties each question to its three nearest. 1,000 to 2,000 questions do. It finds the groups that the
    stream falls into, not how fine a user wants them: for duplicates take the granularity.

    Raises ValueError for fewer than 100 vectors, or no thresholds.
    """
    if len(vectors) < _FEWEST_QUESTIONS:
        raise ValueError(f"{len(vectors)} questions are too few to tell: {_FEWEST_QUESTIONS} at least")
    if not thresholds:
        raise ValueError("thresholds is empty")
    neighbours, weights = _nearest(vectors)
    candidates = []
    for threshold in thresholds:
        clusters = numbered(cluster_online(vectors, Rules(threshold, threshold)).after.tolist())
        candidates.append(Candidate(threshold, int(clusters.max()) + 1, _modularity(clusters, neighbours, weights)))
    return Proposal(max(candidates, key=lambda c: c.modularity).threshold, candidates)


def _nearest(vectors: Matrix) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each question's nearest others (n, 3) and its centred cosine to them, zero where that is negative."""
    centred = vectors - vectors.sum(axis=0) / (len(vectors) + MEAN_PRIOR_QUESTIONS)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    neighbours = np.empty((len(vectors), _NEIGHBOURS), np.int64)
    weights = np.empty((len(vectors), _NEIGHBOURS))
    for start in range(0, len(vectors), _ROWS_AT_ONCE):
        scores = centred[start : start + _ROWS_AT_ONCE] @ centred.T
        rows = np.arange(len(scores))
        scores[rows, start + rows] = -np.inf
        best = np.argpartition(-scores, _NEIGHBOURS, axis=1)[:, :_NEIGHBOURS]
        neighbours[start : start + len(rows)] = best
        weights[start : start + len(rows)] = np.maximum(scores[rows[:, None], best], 0.0)
    return neighbours, weights


def _modularity(clusters: NDArray[np.int64], neighbours: NDArray[np.int64], weights: NDArray[np.float64]) -> float:
    """The share of weight within clusters, less `_RESOLUTION` times what would fall there by chance."""
    source, target = np.repeat(clusters, neighbours.shape[1]), clusters[neighbours.ravel()]
    weight = weights.ravel()
    total = weight.sum()
    if total == 0.0:
        return 0.0
    leaving = np.bincount(source, weight, minlength=int(clusters.max()) + 1)
    arriving = np.bincount(target, weight, minlength=int(clusters.max()) + 1)
    within = float(weight[source == target].sum() / total)
    return within - _RESOLUTION * float(leaving @ arriving) / float(total) ** 2
