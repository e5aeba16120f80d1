"""Modularity of clusters in a graph of each question's nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from questream.clustering.rules import MEAN_PRIOR_QUESTIONS, Similarity
from questream.domain import Matrix
from questream.lab.calibration.sweep import Floats
from questream.lab.evaluation.agreement import Labels

_NEIGHBOURS = 3
# At 1 the measure cannot see groups below a size that grows with the sample (Fortunato & Barthelemy 2007), and settles
# for too few; docs/calibration.md says what other values cost.
RESOLUTION = 2.0


@dataclass(frozen=True, eq=False)
class NeighbourGraph:
    """Ties of each of n questions to its three nearest: who they are (n, 3), and how near, never below 0 (n, 3)."""

    neighbours: NDArray[np.int64]
    weights: Floats

    def modularity(self, clusters: Labels, resolution: float = RESOLUTION) -> float:
        """The share of ties within clusters, less `resolution` times what would fall there by chance.

        Newman & Girvan (2004), with the resolution of Reichardt & Bornholdt (2006). 0 where nothing
        is tied.
        """
        weight = self.weights.ravel()
        total = float(weight.sum())
        if total == 0.0:
            return 0.0
        source, target = np.repeat(clusters, self.neighbours.shape[1]), clusters[self.neighbours.ravel()]
        leaving = np.bincount(source, weight, minlength=int(clusters.max()) + 1)
        arriving = np.bincount(target, weight, minlength=int(clusters.max()) + 1)
        within = float(weight[source == target].sum() / total)
        return within - resolution * float(leaving @ arriving) / total**2


def neighbour_graph(vectors: Matrix, similarity: Similarity) -> NeighbourGraph:
    """The graph of unit vectors (n, d), more than three, by the cosine that separates clusters."""
    # Not at the top: the import takes a second, of all who read a sample of a topic, too.
    from sklearn.neighbors import NearestNeighbors

    offset = vectors.sum(axis=0) / (len(vectors) + MEAN_PRIOR_QUESTIONS) if similarity == "centred" else 0.0
    nearest = NearestNeighbors(n_neighbors=_NEIGHBOURS, metric="cosine").fit(vectors - offset)
    # Of the questions that it was fitted with: none is a neighbour of its own.
    distances, neighbours = nearest.kneighbors()
    return NeighbourGraph(neighbours, np.maximum(1.0 - distances, 0.0))
