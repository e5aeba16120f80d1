"""Offline average linkage of all questions so far, anew with each micro-batch.

A cluster has the id of the former one with which it shares most. The difference of F1 as published and after
the stream is the cost of not knowing the later questions yet.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from questream.clustering.level_graph import after_former
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
    """The published clusters of questions, where each clustering has all questions of the one before and more."""
    ids, published = np.empty(0, np.int64), np.empty(0, np.int64)
    fresh = 1
    for clusters in clusterings:
        new = len(clusters) - len(ids)
        ids = after_former(clusters, np.pad(ids, (0, new)), np.ones(len(clusters)), fresh)
        fresh = max(fresh, int(ids.max()) + 1)
        published = np.concatenate([published, ids[len(ids) - new :]])
    # 0 means no former cluster meanwhile.
    return Clustering(published - 1, ids - 1)
