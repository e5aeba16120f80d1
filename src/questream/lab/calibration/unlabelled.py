"""A guess for a stream that nobody has labelled, from a sample of its questions alone, which never shows its level."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.lab.calibration.level_sweep import dial_of
from questream.lab.calibration.modularity import RESOLUTION, neighbour_graph
from questream.lab.calibration.proposal import Proposal, edge_remarks, middle_of_best, settings_of
from questream.lab.calibration.sweep import FEWEST_QUESTIONS, Sweep, has_levels, require_enough, sweep
from questream.settings import GRANULARITY_THRESHOLDS, Granularity

DEFAULT_THRESHOLDS = tuple(round(0.425 + 0.025 * step, 3) for step in range(12))

# Below, intents are no more clearly separated than issues of which hardly two are one.
_CLEAR_MODULARITY = 0.65
_UNKNOWN = (
    "a sample does not show whether questions of one intent belong together or only those that ask the same:"
    " use --ask 40, or give --granularity"
)
_UNCLEAR = "the sample falls into no clear groups and may hold hardly any duplicates"
_WIDTH_OF_INTENTS = (
    "a sample does not show how wide your team wants an intent, and one of duplicates has none: use --ask 40"
)
_WIDTH_OF_TOPICS = "a sample does not show which of its groups are one topic: use --ask 40"


def propose_threshold(vectors: Matrix) -> Proposal:
    """The threshold at which clusters cut fewest ties between near neighbours for their number: for intents.

    Clusters the sample of unit vectors (n, d) online at each threshold, as a worker does, and takes the one whose
    clusters have the highest modularity in the graph that ties each question to its three nearest. 1,000 to 2,000
    questions do. It is a guess: the groups that the stream falls into, not how fine a user wants them; for duplicates
    take the granularity. Of the clusters of the granularity `question`, levels make intents without a threshold.

    Raises ValueError for fewer than 100 vectors.
    """
    if len(vectors) < FEWEST_QUESTIONS:
        raise ValueError(f"{len(vectors)} questions are too few: {FEWEST_QUESTIONS} at least")
    rules = Rules(DEFAULT_THRESHOLDS[0], DEFAULT_THRESHOLDS[0])
    return propose_intents(sweep(vectors, rules, DEFAULT_THRESHOLDS), vectors, rules)


def propose_unlabelled(
    swept: Sweep, vectors: Matrix, rules: Rules, granularity: Granularity | None = None, false_join_cost: float = 1.0
) -> Proposal:
    """A threshold from the sample alone, which was clustered under `rules` at all thresholds of the grid.

    With a `granularity` its own threshold, since a sample does not show how fine duplicates are wanted; without one the
    guess of `propose_intents`: questions about one subject look like intents, whichever are wanted together, and in a
    small sample of a wide stream hardly two are near, as in one of duplicates.
    Raises QuestreamError for fewer than 100 questions.
    """
    require_enough(swept.questions)
    if granularity is not None:
        remark = f"a sample does not show how fine a {granularity} is: this is its own threshold; answers show more"
        return _propose_named(swept, vectors, granularity, remark)
    if has_levels(rules):
        swept = swept.between(DEFAULT_THRESHOLDS[0], DEFAULT_THRESHOLDS[-1])
    found = propose_intents(swept, vectors, rules, false_join_cost)
    return replace(found, remarks=(*found.remarks, _UNKNOWN))


def propose_resolution(swept: Sweep, vectors: Matrix, rules: Rules, false_join_cost: float = 1.0) -> Proposal:
    """A guess from the sample alone: the resolution whose groups hold together best, of topics as of intents.

    It is not known: a sample does not show which of its questions and groups people would put together.
    """
    found = propose_intents(swept, vectors, rules, false_join_cost)
    edge = edge_remarks(swept, swept.at(found.value))
    remarks = (*edge, *found.remarks, _WIDTH_OF_INTENTS) if swept.dial == dial_of("intent") else (_WIDTH_OF_TOPICS,)
    return replace(found, remarks=remarks)


def propose_intents(swept: Sweep, vectors: Matrix, rules: Rules, false_join_cost: float = 1.0) -> Proposal:
    """A guess: the value of the highest modularity, whose resolution grows with what a false join costs."""
    graph, resolution = neighbour_graph(vectors, rules.similarity), RESOLUTION * false_join_cost
    scores = np.array([graph.modularity(clusters, resolution) for clusters in swept.after])
    best = middle_of_best(scores)
    is_unclear = scores[best] < _CLEAR_MODULARITY and false_join_cost == 1.0
    settings, remarks = settings_of(swept, best, scores), (_UNCLEAR,) if is_unclear else ()
    return Proposal(swept.values[best], None, None, "modularity", settings, remarks, is_known=False)


def _propose_named(swept: Sweep, vectors: Matrix, granularity: Granularity, remark: str) -> Proposal:
    graph, best = neighbour_graph(vectors, "centred"), swept.at(GRANULARITY_THRESHOLDS[granularity])
    scores = np.array([graph.modularity(clusters) for clusters in swept.after])
    settings = settings_of(swept, best, scores)
    return Proposal(GRANULARITY_THRESHOLDS[granularity], None, None, "modularity", settings, (remark,))
