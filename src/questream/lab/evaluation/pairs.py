"""Separation of labelled pairs by similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from questream.domain import Matrix
from questream.errors import QuestreamError

Measure = Literal["cossim", "manhattan", "euclidean", "dot"]

# The name of a measure on model cards, and its name in the evaluator today.
_MEASURES: dict[Measure, str] = {
    "cossim": "cosine",
    "manhattan": "manhattan",
    "euclidean": "euclidean",
    "dot": "dot",
}
_RESAMPLES = 1000
_CONFIDENCE = 0.95


class OneSidedPairs(QuestreamError):
    """All pairs bear the same label, so that no threshold can be found."""


@dataclass(frozen=True, slots=True)
class MeasureMetrics:
    """The figures of one measure at its best thresholds for these pairs; all but thresholds lie in [0, 1].

    `accuracy` is the best share of pairs classified right, at `accuracy_threshold`; `f1` the best F1 of *same*, at
    `f1_threshold`, with `precision` and `recall` there; `ap` the average precision, which needs no threshold.
    Thresholds are similarities (cossim, dot) or distances (manhattan, euclidean).
    """

    accuracy: float
    accuracy_threshold: float
    f1: float
    precision: float
    recall: float
    f1_threshold: float
    ap: float


@dataclass(frozen=True, slots=True)
class PairMetrics:
    """The metrics of a model card for `pairs` pairs, of which `same` are labelled the same question."""

    pairs: int
    same: int
    cossim: MeasureMetrics
    manhattan: MeasureMetrics
    euclidean: MeasureMetrics
    dot: MeasureMetrics

    def named(self) -> dict[str, float]:
        """Under the names of model cards: `cossim_accuracy`, `manhattan_f1_threshold` and so on."""
        return {
            f"{measure}_{name}": value
            for measure in _MEASURES
            for name, value in asdict(getattr(self, measure)).items()
        }


class Interval(NamedTuple):
    """Between which values a figure lies in 95 of 100 samples like this one."""

    low: float
    high: float


class PairIntervals(NamedTuple):
    """Intervals of the average precision and the best F1 of a measure."""

    ap: Interval
    f1: Interval


def pair_metrics(a: Matrix, b: Matrix, same: Sequence[bool]) -> PairMetrics:
    """The metrics of pairs of vectors, row i of `a` (n, d) with row i of `b` (n, d), which `same[i]` labels.

    By sentence-transformers' own BinaryClassificationEvaluator. Raises OneSidedPairs if not both labels occur,
    ValueError if the three differ in length.
    """
    if not len(a) == len(b) == len(same):
        raise ValueError(f"{len(a)} and {len(b)} vectors for {len(same)} labels; one of each per pair is needed")
    require_both(same)
    # Here, for it takes seconds.
    from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator

    # To the evaluator a sentence is whatever the model takes: here the number of a row.
    rows = range(2 * len(same))
    evaluator = BinaryClassificationEvaluator(
        sentences1=list(rows[: len(same)]),
        sentences2=list(rows[len(same) :]),
        labels=[int(label) for label in same],
        similarity_fn_names=list(_MEASURES.values()),
        write_csv=False,
    )
    scores = evaluator.compute_metrics(_Rows(np.concatenate([a, b])))
    names = MeasureMetrics.__dataclass_fields__
    measured = {
        measure: MeasureMetrics(**{name: float(scores[theirs][name]) for name in names})
        for measure, theirs in _MEASURES.items()
    }
    return PairMetrics(pairs=len(same), same=sum(map(bool, same)), **measured)


def pair_intervals(scores: ArrayLike, same: Sequence[bool]) -> PairIntervals:
    """95 % intervals of average precision and best F1 of similarities (n,), by the bootstrap.

    Same and different pairs are each drawn anew from their own kind: how many of either a file has is its maker's
    choice, not chance. Raises OneSidedPairs if not both labels occur.
    """
    require_both(same)
    labels = np.asarray(same, bool)
    # Sorted once: a sample drawn with replacement is the same pairs with other weights.
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    ordered, labels = np.asarray(scores, np.float64)[order], labels[order]
    last_of_score = np.append(np.flatnonzero(np.diff(ordered)), len(ordered) - 1)
    random = np.random.default_rng(0)
    drawn = [_precision_and_f1(_weights(labels, random), labels, last_of_score) for _ in range(_RESAMPLES)]
    tail = (1 - _CONFIDENCE) / 2
    low, high = np.quantile(np.array(drawn), [tail, 1 - tail], axis=0).tolist()
    return PairIntervals(Interval(low[0], high[0]), Interval(low[1], high[1]))


def require_both(same: Sequence[bool]) -> None:
    """Raises OneSidedPairs if the labels are not of both kinds."""
    if not any(same):
        raise OneSidedPairs("no pair is labelled 1 (the same question): a threshold needs pairs of both labels")
    if all(same):
        raise OneSidedPairs("no pair is labelled 0 (different questions): a threshold needs pairs of both labels")


class _Rows:
    """A model to the evaluator: embeds the number of a row as that row."""

    def __init__(self, vectors: Matrix) -> None:
        self._vectors = vectors

    def encode(self, rows: Sequence[int], **_: Any) -> Matrix:
        chosen: Matrix = self._vectors[np.asarray(rows)]
        return chosen


def _weights(labels: NDArray[np.bool_], random: np.random.Generator) -> NDArray[np.int64]:
    weights = np.empty(len(labels), np.int64)
    for kind in (labels, ~labels):
        members = int(kind.sum())
        weights[kind] = np.bincount(random.integers(members, size=members), minlength=members)
    return weights


def _precision_and_f1(
    weights: NDArray[np.int64], labels: NDArray[np.bool_], last_of_score: NDArray[np.intp]
) -> tuple[float, float]:
    """Average precision and best F1, as scikit-learn and the evaluator define them, of weighted pairs, best first."""
    classified = np.cumsum(weights)[last_of_score]
    right = np.cumsum(weights * labels)[last_of_score]
    total = right[-1]
    precision = right / np.maximum(classified, 1)
    recall_steps = np.diff(right, prepend=0) / total
    return float(recall_steps @ precision), float(np.max(2 * right / (classified + total)))
