"""A file through the model and the clustering: all that a table or a report says of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from questream.clustering.levels import LevelRules
from questream.clustering.rules import Rules
from questream.deciding.close_calls import Judge
from questream.domain import Matrix
from questream.encoder import Encoder
from questream.errors import QuestreamError
from questream.lab.evaluation.decisions import PairDecisions, best_decisions, centred, decision_curve, decisions_at
from questream.lab.evaluation.files import GoldFile, PairFile
from questream.lab.evaluation.groups import LEVEL_RULES, GroupFigures, group_figures, time_order
from questream.lab.evaluation.mixing import MixedCluster, mixed_clusters
from questream.lab.evaluation.pairs import PairIntervals, PairMetrics, pair_intervals, pair_metrics
from questream.lab.evaluation.stream import Clustering, Stream, orders_of

Announce = Callable[[str], None]

_TEXTS_AT_ONCE = 1024


@dataclass(frozen=True, slots=True)
class PairFigures:
    """The figures of labelled pairs. `intervals` are of the cosine; `worker` is how they fall at the worker's
    threshold on its similarity, `best` how at that of the highest F1, `curve` how at others; `encoding_seconds` is what
    the model took."""

    metrics: PairMetrics
    intervals: PairIntervals
    worker: PairDecisions
    best: PairDecisions
    curve: list[PairDecisions]
    encoding_seconds: float


@dataclass(frozen=True, eq=False)
class PairEvaluation:
    """A file of pairs, its figures, and each pair's similarity (n,) as a worker sees it."""

    file: PairFile
    figures: PairFigures
    similarities: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class GroupEvaluation:
    """A file of gold groups, its figures, and the stream in its first order with what it was clustered to.

    `mixed_clusters` are the clusters after the stream that look like two; `encoding_seconds` is what the model took.
    """

    file: GoldFile
    figures: GroupFigures
    stream: Stream
    clustering: Clustering
    mixed_clusters: list[MixedCluster]
    encoding_seconds: float


def evaluate_pairs(file: PairFile, encoder: Encoder, rules: Rules, announce: Announce) -> PairEvaluation:
    """Measure how well the model separates the pairs, and their decisions under `rules`."""
    started = time.perf_counter()
    distinct, rows = _distinct([*file.first, *file.second])
    vectors = _embed(distinct, encoder, announce)
    seconds = time.perf_counter() - started
    first, second = rows[: len(file.same)], rows[len(file.same) :]
    announce(f"measuring {len(file.same):,} pairs")
    shifted = centred(vectors, rules.similarity)
    similarities = np.einsum("nd,nd->n", shifted[first], shifted[second])
    cosines = np.einsum("nd,nd->n", vectors[first], vectors[second])
    figures = PairFigures(
        metrics=pair_metrics(vectors[first], vectors[second], file.same),
        intervals=pair_intervals(cosines, file.same),
        worker=decisions_at(rules.threshold, similarities, file.same),
        best=best_decisions(similarities, file.same),
        curve=decision_curve(similarities, file.same),
        encoding_seconds=seconds,
    )
    return PairEvaluation(file, figures, similarities)


def evaluate_groups(
    file: GoldFile,
    encoder: Encoder,
    rules: Rules,
    shuffles: int,
    seed: int,
    announce: Announce,
    judge: Judge | None = None,
    level_rules: LevelRules = LEVEL_RULES,
) -> GroupEvaluation:
    """Cluster the questions online under `rules`, in their first order and in `shuffles` drawn by `seed`.

    A `judge` is asked about close calls.
    """
    started = time.perf_counter()
    distinct, rows = _distinct(file.texts)
    vectors = _embed(distinct, encoder, announce)[rows]
    seconds = time.perf_counter() - started
    order, rows_in_order = time_order(file.asked_at, len(file.texts))
    stream = Stream(file.texts, vectors, file.gold).in_order(rows_in_order)
    shuffled = orders_of(len(stream), shuffles, seed)[1:]
    figures, clustering = group_figures(stream, order, rules, shuffled, announce, judge, level_rules)
    announce("clusters that look like two")
    halves = mixed_clusters(clustering.after, stream.vectors, rules)
    return GroupEvaluation(file, figures, stream, clustering, halves, seconds)


def _distinct(texts: Sequence[str]) -> tuple[list[str], NDArray[np.intp]]:
    """Each text once, and the place of each among those."""
    places: dict[str, int] = {}
    rows = np.array([places.setdefault(text, len(places)) for text in texts], np.intp)
    return list(places), rows


def _embed(texts: Sequence[str], encoder: Encoder, announce: Announce) -> Matrix:
    """Unit rows (n, d). Raises QuestreamError if the model makes no vector of a text."""
    refused = Counter(error.reason for error in encoder.refused(texts).values())
    if refused:
        reasons = ", ".join(f"{reason} {count}" for reason, count in sorted(refused.items()))
        raise QuestreamError(
            f"a worker would dead-letter {refused.total()} of {len(texts)} texts ({reasons}): leave them out"
        )
    vectors = np.empty((len(texts), encoder.dimension), np.float32)
    for start in range(0, len(texts), _TEXTS_AT_ONCE):
        announce(f"{start:,} of {len(texts):,} texts through the model")
        vectors[start : start + _TEXTS_AT_ONCE] = encoder.encode(texts[start : start + _TEXTS_AT_ONCE])
    bad = int(np.sum(~np.isfinite(vectors).all(axis=1)))
    if bad:
        raise QuestreamError(f"the model makes no finite vector of {bad} of {len(texts)} texts")
    return vectors
