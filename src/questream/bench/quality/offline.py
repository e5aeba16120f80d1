"""References that see all questions before they answer."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from questream.bench.quality.method import Method
from questream.evaluation.stream import Clustering, Stream


def offline_methods() -> list[Method]:
    """Each at its oracle setting, in one order, since it is all the same to them."""
    cosines = [round(float(t), 3) for t in np.arange(0.1, 0.99, 0.025)]
    coarse = [round(float(t), 2) for t in np.arange(0.3, 0.96, 0.05)]
    return [
        Method("average linkage, offline", cosines, _average_linkage, needs="scipy", orders=1),
        Method("HDBSCAN, offline", [2, 3, 5, 10, 20], _hdbscan, needs="sklearn", orders=1),
        Method("community_detection, offline", coarse, _communities, needs="sentence_transformers", orders=1),
    ]


def _average_linkage(stream: Stream, cosine: Any) -> Clustering:
    from scipy.cluster.hierarchy import fcluster

    return Clustering(None, fcluster(_tree(stream), 1.0 - cosine, "distance").astype(np.int64))


@lru_cache(maxsize=1)
def _tree(stream: Stream) -> NDArray[np.float64]:
    """One tree holds the clusters of every threshold. In memory it is the square of the questions."""
    from scipy.cluster.hierarchy import linkage
    from scipy.spatial.distance import squareform

    distances = 1.0 - stream.vectors @ stream.vectors.T
    np.fill_diagonal(distances, 0.0)
    tree: NDArray[np.float64] = linkage(np.maximum(squareform(distances, checks=False), 0.0), "average")
    return tree


def _hdbscan(stream: Stream, least: Any) -> Clustering:
    """On Euclidean distance, which between unit vectors orders as the cosine does; noise stands alone."""
    from sklearn.cluster import HDBSCAN

    labels = HDBSCAN(min_cluster_size=least, copy=True).fit_predict(stream.vectors).astype(np.int64)
    alone = np.flatnonzero(labels < 0)
    labels[alone] = len(stream) + alone
    return Clustering(None, labels)


def _communities(stream: Stream, cosine: Any) -> Clustering:
    from sentence_transformers.util import community_detection

    labels = np.arange(len(stream), dtype=np.int64) + len(stream)
    for number, members in enumerate(community_detection(stream.vectors, threshold=cosine, min_community_size=1)):
        labels[list(members)] = number
    return Clustering(None, labels)
