"""questream itself: one worker, several that see each other late, and with a threshold found without labels."""

from __future__ import annotations

from functools import partial

import numpy as np

from questream.clustering.levels import LEVEL_NAMES, LevelRules
from questream.clustering.rules import Linkage, Rules
from questream.lab.bench.quality.method import Method
from questream.lab.calibration import propose_threshold
from questream.lab.calibration.answers import Inquiry
from questream.lab.calibration.level_sweep import sweep_level
from questream.lab.calibration.unlabelled import propose_resolution
from questream.lab.evaluation.levels import cluster_in_levels
from questream.lab.evaluation.online import cluster_online
from questream.lab.evaluation.stream import Clustering, Stream
from questream.settings import GRANULARITY_THRESHOLDS, Granularity

OURS = "questream"
CALIBRATED = "questream, calibrated without labels"
WORKERS = "questream, 8 workers"

_WORKERS = 8
_SAMPLE_QUESTIONS = 2000
_ASKED_OF_QUESTIONS = 1000
_ANSWERS = 40
# No cosine reaches it.
_NEVER = 2.0


def our_methods(granularity: Granularity) -> list[Method]:
    """The product at the threshold of a granularity, and what of it is worth a comparison."""
    threshold = GRANULARITY_THRESHOLDS[granularity]
    # Modularity finds the groups that a stream falls into; how fine duplicates are it cannot know.
    unlabelled = Method(CALIBRATED, ["its own"], lambda stream, _: _calibrated(stream))
    return [
        Method(OURS, [threshold], _online),
        Method(WORKERS, [threshold], _together),
        *([unlabelled, *_levels()] if granularity == "question" else []),
        Method("questream, oracle threshold", _grid(0.425), _online),
    ]


def _levels() -> list[Method]:
    """The levels above the clusters of the default threshold, by default and as `questream calibrate` proposes."""
    threshold = GRANULARITY_THRESHOLDS["question"]
    return [
        *(Method(level_method(name), [threshold], partial(_of_level, name=name)) for name in LEVEL_NAMES),
        *(Method(answered_method(name), ["its own"], partial(_of_answered, name=name)) for name in LEVEL_NAMES),
    ]


def level_method(name: str) -> str:
    """The name of a level among the methods."""
    return f"{OURS}, level of {name}s"


def answered_method(name: str) -> str:
    """The name of a level whose granularity was set by answers."""
    return f"{level_method(name)}, {_ANSWERS} answers"


def _of_level(stream: Stream, threshold: float, *, name: str) -> Clustering:
    return cluster_in_levels(stream.vectors, Rules(threshold, threshold), LevelRules(), stream.texts)[name]


def _of_answered(stream: Stream, _: object, *, name: str) -> Clustering:
    threshold = GRANULARITY_THRESHOLDS["question"]
    rules = Rules(threshold, threshold)
    level_rules = LevelRules(
        (_answered_resolution(stream.first(_ASKED_OF_QUESTIONS), rules), LevelRules().resolutions[1])
    )
    return cluster_in_levels(stream.vectors, rules, level_rules, stream.texts)[name]


def _answered_resolution(sample: Stream, rules: Rules) -> float:
    """The granularity of intents after so many answers by the gold groups."""
    swept = sweep_level(sample.vectors, sample.texts, rules, LevelRules(), "intent")
    guess = propose_resolution(swept, sample.vectors, rules).value
    inquiry = Inquiry(swept, guess, in_force=LevelRules().resolutions[0])
    for ask in inquiry.asks(_ANSWERS):
        inquiry.add_answer(ask.first, ask.second, bool(sample.gold[ask.first] == sample.gold[ask.second]))
    return inquiry.proposal().value


def simpler_methods() -> list[Method]:
    """The usual first methods, each at its oracle threshold."""
    return [
        Method("average linkage, online", _grid(0.15), _average),
        Method("normalised centroid", _grid(0.2), lambda stream, threshold: _plain(stream, threshold, "centroid")),
        Method("first member", _grid(0.2), lambda stream, threshold: _plain(stream, threshold, "first")),
    ]


def _grid(least: float) -> list[float]:
    return [round(float(threshold), 3) for threshold in np.arange(least, 0.98, 0.025)]


def _online(stream: Stream, threshold: float) -> Clustering:
    return cluster_online(stream.vectors, Rules(threshold, threshold), stream.texts)


def _together(stream: Stream, threshold: float) -> Clustering:
    return cluster_online(stream.vectors, Rules(threshold, threshold), stream.texts, workers=_WORKERS)


def _calibrated(stream: Stream) -> Clustering:
    return _online(stream, propose_threshold(stream.vectors[:_SAMPLE_QUESTIONS]).value)


def _average(stream: Stream, threshold: float) -> Clustering:
    return cluster_online(stream.vectors, Rules(threshold, threshold, linkage="average"))


def _plain(stream: Stream, threshold: float, linkage: Linkage) -> Clustering:
    return cluster_online(stream.vectors, Rules(threshold, _NEVER, "cosine", linkage))
