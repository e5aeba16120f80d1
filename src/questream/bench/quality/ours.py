"""questream itself: one worker, several that see each other late, and with a threshold found without labels."""

from __future__ import annotations

import numpy as np

from questream.bench.quality.method import Method
from questream.calibration import propose_threshold
from questream.clustering.rules import Linkage, Rules
from questream.evaluation.online import cluster_online
from questream.evaluation.stream import Clustering, Stream
from questream.settings import GRANULARITY_THRESHOLDS, Granularity

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
        Method("questream", [threshold], lambda stream, t: _online(stream, _number(t))),
        Method(f"questream, {_WORKERS} workers", [threshold], lambda stream, t: _online(stream, _number(t), _WORKERS)),
        *([unlabelled] if granularity == "intent" else []),
        Method("questream, oracle threshold", grid, lambda stream, t: _online(stream, _number(t)), orders=1),
    ]


def simpler_methods() -> list[Method]:
    """What most people build first, each at its oracle threshold."""
    grid = [round(float(t), 3) for t in np.arange(0.15, 0.96, 0.05)]
    return [
        Method("average linkage, online", grid, lambda stream, t: _average(stream, _number(t)), orders=1),
        Method("normalised centroid", grid, lambda stream, t: _plain(stream, _number(t), "centroid"), orders=1),
        Method("first member", grid, lambda stream, t: _plain(stream, _number(t), "first"), orders=1),
    ]


def _online(stream: Stream, threshold: float, workers: int = 1) -> Clustering:
    return cluster_online(stream.vectors, Rules(threshold, threshold), workers=workers)


def _calibrated(stream: Stream) -> Clustering:
    return _online(stream, propose_threshold(stream.vectors[:_SAMPLE_QUESTIONS]).threshold)


def _average(stream: Stream, threshold: float) -> Clustering:
    return cluster_online(stream.vectors, Rules(threshold, threshold, linkage="average"))


def _plain(stream: Stream, threshold: float, linkage: Linkage) -> Clustering:
    return cluster_online(stream.vectors, Rules(threshold, _NEVER, "cosine", linkage))


def _number(setting: object) -> float:
    assert isinstance(setting, float)  # noqa: S101 - tells mypy what the grids are made of
    return setting
