"""questream itself: one worker, several that see each other late, and with a threshold found without labels."""

from __future__ import annotations

import numpy as np

from questream.bench.quality.stream import Clustering, Method, Stream
from questream.calibration import propose_threshold
from questream.clustering.rules import Linkage, Similarity
from questream.library import QuestionClusterer
from questream.settings import GRANULARITY_THRESHOLDS, Granularity
from questream.store.memory import MemoryStore

_BATCH_QUESTIONS = 64
_WORKERS = 8
_SAMPLE_QUESTIONS = 2000
# No cosine reaches it.
_NEVER = 2.0


def our_methods(granularity: Granularity) -> list[Method]:
    """The product at the threshold of a granularity, and what of it is worth a comparison."""
    threshold = GRANULARITY_THRESHOLDS[granularity]
    grid = [round(float(t), 3) for t in np.arange(0.45, 0.96, 0.05)]
    # Modularity finds the groups that a stream falls into; how fine duplicates are it cannot know.
    unlabelled = Method("questream, calibrated without labels", ["its own"], lambda stream, _: _calibrated(stream))
    return [
        Method("questream", [threshold], lambda stream, t: cluster(stream, _number(t))),
        Method(f"questream, {_WORKERS} workers", [threshold], lambda stream, t: cluster(stream, _number(t), _WORKERS)),
        *([unlabelled] if granularity == "intent" else []),
        Method("questream, oracle threshold", grid, lambda stream, t: cluster(stream, _number(t)), orders=1),
    ]


def simpler_methods() -> list[Method]:
    """What most people build first, each at its oracle threshold."""
    grid = [round(float(t), 3) for t in np.arange(0.15, 0.96, 0.05)]
    return [
        Method("average linkage, online", grid, lambda stream, t: _average(stream, _number(t)), orders=1),
        Method("normalised centroid", grid, lambda stream, t: _plain(stream, _number(t), "centroid"), orders=1),
        Method("first member", grid, lambda stream, t: _plain(stream, _number(t), "first"), orders=1),
    ]


def cluster(
    stream: Stream,
    threshold: float,
    workers: int = 1,
    *,
    linkage: Linkage = "adaptive",
    similarity: Similarity = "centred",
    merge_threshold: float | None = None,
) -> Clustering:
    """Assign a stream in micro-batches, which `workers` on one store take in turns.

    Each worker looks at the clusters as they stood at its own last batch, and learns of the others' when it commits.
    """
    store = MemoryStore()
    clusterers = [
        QuestionClusterer(
            dimension=stream.vectors.shape[1],
            threshold=threshold,
            merge_threshold=merge_threshold,
            linkage=linkage,
            similarity=similarity,
            store=store,
        )
        for _ in range(workers)
    ]
    published: list[int] = []
    survivors: dict[int, int] = {}
    for turn, batch in enumerate(stream.batches(_BATCH_QUESTIONS)):
        assigned = clusterers[turn % workers].assign(stream.vectors[batch])
        published += assigned.ids
        survivors.update((e.cluster_id, e.merged_into) for e in assigned.events if e.merged_into is not None)
    return Clustering(np.array(published), np.array([_survivor(survivors, number) for number in published]))


def _calibrated(stream: Stream) -> Clustering:
    return cluster(stream, propose_threshold(stream.vectors[:_SAMPLE_QUESTIONS]).threshold)


def _average(stream: Stream, threshold: float) -> Clustering:
    return cluster(stream, threshold, linkage="average")


def _plain(stream: Stream, threshold: float, linkage: Linkage) -> Clustering:
    return cluster(stream, threshold, linkage=linkage, similarity="cosine", merge_threshold=_NEVER)


def _survivor(survivors: dict[int, int], number: int) -> int:
    while number in survivors:
        number = survivors[number]
    return number


def _number(setting: object) -> float:
    assert isinstance(setting, float)  # noqa: S101 - tells mypy what the grids are made of
    return setting
