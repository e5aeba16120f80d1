"""Offline average linkage of all questions so far, anew with each micro-batch.

A cluster has the id of the former one with which it shares most questions. How far this falls behind itself after the
stream tells what the questions that are not there yet cost as published.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.lab.bench.quality.centring import centred
from questream.lab.bench.quality.method import Method
from questream.lab.bench.quality.offline import average_tree, cut_at
from questream.lab.evaluation.agreement import Labels
from questream.lab.evaluation.stream import Clustering, Stream
from questream.library import BATCH_QUESTIONS

# Each takes as many cuts as the stream has batches.
_COSINES = [round(float(cosine), 2) for cosine in np.arange(0.1, 0.9, 0.02)]


def anew_methods() -> list[Method]:
    """One reference, on either cosine, at its oracle setting after the stream."""
    name = "average linkage, anew with each batch"
    return [
        Method(name, _COSINES, _publish, lambda stream: _trees(stream, lambda vectors: vectors), needs="scipy"),
        Method(f"{name}, centred", _COSINES, _publish, lambda stream: _trees(stream, centred), needs="scipy"),
    ]


def _trees(stream: Stream, seen: Callable[[Matrix], Matrix]) -> list[NDArray[np.float64]]:
    """A tree of all questions so far for each micro-batch."""
    ends = [batch.stop for batch in stream.batches(BATCH_QUESTIONS)]
    return [average_tree(seen(stream.vectors[:end])) for end in ends if end > 1]


def _publish(trees: Sequence[NDArray[np.float64]], cosine: float) -> Clustering:
    return published_anew([cut_at(tree, cosine) for tree in trees])


def published_anew(clusterings: Sequence[Labels]) -> Clustering:
    """What each question was published with, where each clustering is of all those of the one before and of more."""
    ids = np.empty(0, np.int64)
    published = np.empty(0, np.int64)
    following = 0
    for clusters in clusterings:
        known = len(ids)
        named = _after_former(clusters[:known], ids)
        for cluster in clusters.tolist():
            if cluster not in named:
                named[cluster] = following
                following += 1
        ids = np.array([named[cluster] for cluster in clusters.tolist()], np.int64)
        published = np.concatenate([published, ids[known:]])
    return Clustering(published, ids)


def _after_former(clusters: Labels, former: Labels) -> dict[int, int]:
    """By cluster the former one with which it shares most, each for one cluster."""
    pairs, shared = np.unique(np.stack([clusters, former]), axis=1, return_counts=True)
    named: dict[int, int] = {}
    given: set[int] = set()
    for at in np.argsort(-shared, kind="stable").tolist():
        cluster, number = int(pairs[0, at]), int(pairs[1, at])
        if cluster not in named and number not in given:
            named[cluster] = number
            given.add(number)
    return named
