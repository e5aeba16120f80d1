"""References that see all questions before they answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from questream.clustering.levels import Leaves, LevelRules, Levels, regroup
from questream.domain import Matrix
from questream.lab.bench.quality.centring import centred
from questream.lab.bench.quality.method import Method
from questream.lab.evaluation.agreement import Labels, numbered
from questream.lab.evaluation.stream import Clustering, Stream

AVERAGE_LINKAGE = "average linkage, offline"

# Clusters as a share of the questions.
_SHARES = (0.005, 0.01, 0.015, 0.02, 0.03, 0.04, 0.06, 0.08, 0.12, 0.17, 0.25, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
_RESOLUTIONS = (0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 24.0, 32.0, 48.0, 64.0, 128.0, 256.0, 512.0)
_NEIGHBOURS = 15


def offline_methods() -> list[Method]:
    """Each at its oracle setting. The first two are one reference, on either cosine."""
    fine = [round(float(t), 2) for t in np.arange(0.05, 0.995, 0.01)]
    communities = [round(float(t), 3) for t in np.arange(0.2, 0.985, 0.025)]
    selections = [
        _Selection(least, samples, how)
        for least in (2, 3, 5, 10, 20)
        for samples in (None, 1)
        for how in ("eom", "leaf")
    ]
    return [
        Method(AVERAGE_LINKAGE, fine, _cut, lambda s: average_tree(s.vectors), needs="scipy", order_matters=False),
        Method(
            f"{AVERAGE_LINKAGE}, centred",
            fine,
            _cut,
            lambda s: average_tree(centred(s.vectors)),
            "scipy",
            order_matters=False,
        ),
        Method("Ward, offline", _SHARES, _cut_to, _ward, needs="scipy", order_matters=False),
        Method("kNN + Leiden, offline", _RESOLUTIONS, _leiden, lambda s: centred(s.vectors), order_matters=False),
        Method("HDBSCAN, offline", selections, _hdbscan, _distances, needs="sklearn", order_matters=False),
        Method(
            "community_detection, offline",
            communities,
            _communities,
            needs="sentence_transformers",
            order_matters=False,
        ),
    ]


def average_tree(vectors: Matrix) -> NDArray[np.float64]:
    """One tree holds the clusters of every threshold. In memory it is the square of the questions."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    distances = 1.0 - vectors @ vectors.T
    np.fill_diagonal(distances, 0.0)
    tree: NDArray[np.float64] = linkage(np.maximum(squareform(distances, checks=False), 0.0), "average")
    return tree


def cut_at(tree: NDArray[np.float64], cosine: float) -> Labels:
    """The clusters of such a tree that have joined at this mean cosine or above."""
    from scipy.cluster.hierarchy import fcluster

    clusters: Labels = fcluster(tree, 1.0 - cosine, "distance").astype(np.int64)
    return clusters


def _cut(tree: NDArray[np.float64], cosine: float) -> Clustering:
    return Clustering(None, cut_at(tree, cosine))


def _ward(stream: Stream) -> NDArray[np.float64]:
    from scipy.cluster.hierarchy import linkage

    tree: NDArray[np.float64] = linkage(centred(stream.vectors).astype(np.float64), "ward")
    return tree


def _cut_to(tree: NDArray[np.float64], share: float) -> Clustering:
    from scipy.cluster.hierarchy import fcluster

    most = max(round(share * (len(tree) + 1)), 1)
    return Clustering(None, fcluster(tree, most, "maxclust").astype(np.int64))


def _leiden(directions: Matrix, resolution: float) -> Clustering:
    """Communities of the questions themselves: those of leaves that hold a question each."""
    questions = np.arange(1, len(directions) + 1)
    rules = LevelRules((resolution, 1.0), neighbours=_NEIGHBOURS, least_cosine=0.0, least_mean_cosine=-1.0)
    levels = regroup(Leaves(questions, directions, np.ones(len(questions))), Levels(), rules).levels
    return Clustering(None, numbered([levels.path(question)[1] for question in questions.tolist()]))


@dataclass(frozen=True, slots=True)
class _Selection:
    """The parameters of HDBSCAN; without `samples` the least members are used for both, its default."""

    least: int
    samples: int | None
    how: str

    def __str__(self) -> str:
        return f"{self.least}, {self.samples or self.least}, {self.how}"


def _distances(stream: Stream) -> NDArray[np.float64]:
    """Euclidean, which between unit vectors orders as the cosine does; for 384 dimensions its trees are no help."""
    from sklearn.metrics import pairwise_distances

    distances: NDArray[np.float64] = pairwise_distances(stream.vectors.astype(np.float64))
    return distances


def _hdbscan(distances: NDArray[np.float64], selection: _Selection) -> Clustering:
    """Each point of noise is a cluster of its own."""
    from sklearn.cluster import HDBSCAN

    model = HDBSCAN(
        min_cluster_size=selection.least,
        min_samples=selection.samples,
        cluster_selection_method=selection.how,
        metric="precomputed",
        copy=True,
    )
    return Clustering(None, _noise_alone(model.fit_predict(distances)))


def _communities(stream: Stream, cosine: float) -> Clustering:
    """A question in no community is a cluster of its own."""
    from sentence_transformers.util import community_detection

    labels = np.full(len(stream), -1)
    for number, members in enumerate(community_detection(stream.vectors, threshold=cosine, min_community_size=1)):
        labels[list(members)] = number
    return Clustering(None, _noise_alone(labels))


def _noise_alone(labels: NDArray[Any]) -> NDArray[np.int64]:
    alone = np.flatnonzero(labels < 0)
    apart = labels.astype(np.int64)
    apart[alone] = len(labels) + alone
    return apart
