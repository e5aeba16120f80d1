"""Decisions on labelled pairs at the threshold that a worker takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from questream.clustering.rules import MEAN_PRIOR_QUESTIONS, Similarity
from questream.domain import Matrix

_CURVE_POINTS = 61


@dataclass(frozen=True, slots=True)
class PairDecisions:
    """Pairs, the same from `threshold` up: right (`joined`, `apart`) and wrong (`falsely_joined`, `missed`).

    Without a pair from it up no pair is joined wrongly, and `precision` is 1.
    """

    threshold: float
    joined: int
    apart: int
    falsely_joined: int
    missed: int
    accuracy: float
    precision: float
    recall: float
    f1: float


def centred(vectors: Matrix, similarity: Similarity) -> Matrix:
    """Unit rows as a worker compares them once it has seen all of `vectors` (n, d): less their mean, if centred."""
    if similarity == "cosine":
        return vectors
    shifted = vectors - vectors.sum(axis=0) / np.float32(len(vectors) + MEAN_PRIOR_QUESTIONS)
    unit: Matrix = shifted / np.maximum(np.linalg.norm(shifted, axis=1, keepdims=True), np.float32(1e-6))
    return unit


def decisions_at(threshold: float, scores: ArrayLike, same: Sequence[bool]) -> PairDecisions:
    """The classification of pairs of these similarities (n,)."""
    same_by_score, labels = np.asarray(scores) >= threshold, np.asarray(same, bool)
    joined, apart = int(np.sum(same_by_score & labels)), int(np.sum(~same_by_score & ~labels))
    false, missed = int(np.sum(same_by_score & ~labels)), int(np.sum(~same_by_score & labels))
    return PairDecisions(
        threshold=threshold,
        joined=joined,
        apart=apart,
        falsely_joined=false,
        missed=missed,
        accuracy=(joined + apart) / len(labels),
        precision=joined / (joined + false) if joined + false else 1.0,
        recall=joined / (joined + missed) if joined + missed else 1.0,
        f1=2 * joined / (2 * joined + false + missed) if joined + false + missed else 1.0,
    )


def best_decisions(scores: NDArray[np.float32], same: Sequence[bool]) -> PairDecisions:
    """The decisions on the pairs at the threshold of the highest F1."""
    # Here, for it takes seconds.
    from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator

    *_, threshold = BinaryClassificationEvaluator.find_best_f1_and_threshold(scores, np.asarray(same, int), True)
    return decisions_at(float(threshold), scores, same)


def decision_curve(scores: NDArray[np.float32], same: Sequence[bool]) -> list[PairDecisions]:
    """The decisions on the pairs at thresholds from the lowest to the highest similarity."""
    grid = np.linspace(float(scores.min()), float(scores.max()), _CURVE_POINTS)
    return [decisions_at(round(float(threshold), 4), scores, same) for threshold in grid]
