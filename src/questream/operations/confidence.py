"""A confidence from people's answers: Platt scaling (Platt 1999) of the similarities of questions and clusters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from questream.clustering.confidence import Confidence
from questream.clustering.constraints import unpack_vector
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.nearest import nearest_clusters
from questream.clustering.rules import Rules
from questream.domain import ClusterState, Vector
from questream.errors import QuestreamError

FEWEST_ANSWERS = 20
FEWEST_OF_A_KIND = 5
_FOLDS = 5
_BINS = 10
# Hardly any: two numbers need no regularisation, unless answers are apart at one similarity.
_REGULARISATION = 1e3


@dataclass(frozen=True, slots=True)
class Answer:
    """A person's answer: True if a question of this similarity to a cluster belongs there."""

    similarity: float
    belongs: bool


@dataclass(frozen=True, slots=True)
class Bin:
    """Decisions whose confidence lies in [low, high), the last one's in [low, 1]: how many, and what came of them.

    `confidence` is their mean, `right` the share that a person agrees with.
    """

    low: float
    high: float
    decisions: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Reliability:
    """The reliability of probabilities. `calibration_error` is the mean distance of confidence and share, by decisions.

    `brier` is the mean squared distance of each probability from what was right, 0 or 1.
    """

    bins: list[Bin]
    calibration_error: float
    brier: float


def similarity_to(mirror: Mirror, rules: Rules, vector: Vector, members: int, vector_sum: Vector) -> float:
    """The similarity of a unit vector (d,) to one cluster, by the mirror's mean, whatever people decided of it."""
    bare = Mirror(mirror.dimension)
    bare.apply([MeanMoved(mirror.mean_questions, mirror.mean_sum), ClusterMoved(1, members, vector_sum)])
    return nearest_clusters(bare, rules, vector, 1)[0].similarity


def of_operators(mirror: Mirror, rules: Rules, states: Iterable[ClusterState]) -> Iterator[Answer]:
    """The answers in operations: each question that people moved into a cluster, or rejected from it."""
    for state in states:
        if state.cluster_id not in mirror.row_of:
            continue
        members, vector_sum = mirror.member_count(state.cluster_id), mirror.vector_sum(state.cluster_id)
        for exemplar in state.ruling.exemplars:
            vector = unpack_vector(exemplar.vector)
            # Examples of an import have no place: they made the cluster what it is.
            if exemplar.place is not None and len(vector) == mirror.dimension:
                similarity = similarity_to(mirror, rules, vector, members, vector_sum)
                yield Answer(similarity, exemplar.kind == "must")


def of_pairs(
    mirror: Mirror, rules: Rules, first: Sequence[Vector], second: Sequence[Vector], same: Sequence[bool]
) -> Iterator[Answer]:
    """The answers in labelled pairs of questions, unit vectors (d,): the one to a cluster of the other alone."""
    for one, other, label in zip(first, second, same, strict=True):
        yield Answer(similarity_to(mirror, rules, other, 1, one), bool(label))


def fit(answers: Sequence[Answer], model: str) -> Confidence:
    """The confidence of a model (`model_mark`) that the answers speak for.

    Raises QuestreamError for too few answers, or too few of a kind, and where more alike is not more likely.
    """
    belonging = sum(answer.belongs for answer in answers)
    few = min(belonging, len(answers) - belonging)
    if len(answers) < FEWEST_ANSWERS or few < FEWEST_OF_A_KIND:
        raise QuestreamError(
            f"{len(answers):,} answers, {belonging:,} of them yes, are too few to fit a confidence to:"
            f" {FEWEST_ANSWERS} are needed, {FEWEST_OF_A_KIND} of each kind",
            "ask for more by `questream calibrate SAMPLE --ask 40 --answers FILE`",
        )
    slope, intercept = _fitted(*_columns(answers))
    if slope <= 0:
        raise QuestreamError(
            "by these answers more alike questions belong together less often: nothing can be fitted",
            "are yes and no in the file the right way round?",
        )
    return Confidence(slope, intercept, model)


def cross_fitted(similarities: ArrayLike, belongs: ArrayLike) -> NDArray[np.float64]:
    """The confidence (n,) of each answer by a fit to the others: five parts, each by the other four.

    A part without answers of both kinds beside it has their share.
    """
    x, y = np.asarray(similarities, np.float64), np.asarray(belongs, bool)
    parts = np.random.default_rng(0).permutation(len(x)) % _FOLDS
    found = np.empty(len(x))
    for part in range(_FOLDS):
        here, others = parts == part, parts != part
        if len(set(y[others].tolist())) < 2:
            found[here] = y[others].mean() if others.any() else 0.5
            continue
        slope, intercept = _fitted(x[others], y[others])
        found[here] = 1.0 / (1.0 + np.exp(-(slope * x[here] + intercept)))
    return found


def reliability(confidences: ArrayLike, right: ArrayLike) -> Reliability:
    """The reliability of probabilities (n,), by what was right (n,); bins without a decision are left out."""
    p, y = np.asarray(confidences, np.float64), np.asarray(right, bool)
    place = np.minimum((p * _BINS).astype(int), _BINS - 1)
    found = [
        Bin(at / _BINS, (at + 1) / _BINS, int(here.sum()), float(p[here].mean()), float(y[here].mean()))
        for at in range(_BINS)
        if (here := place == at).any()
    ]
    error = sum(one.decisions * abs(one.confidence - one.right) for one in found) / max(1, len(p))
    return Reliability(found, error, float(((p - y) ** 2).mean()) if len(p) else 0.0)


def reliability_of(answers: Sequence[Answer]) -> Reliability:
    """The reliability of a confidence that is fitted to some of the answers, on the others."""
    x, y = _columns(answers)
    return reliability(cross_fitted(x, y), y)


def _columns(answers: Sequence[Answer]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return np.array([one.similarity for one in answers]), np.array([one.belongs for one in answers], bool)


def _fitted(x: NDArray[np.float64], y: NDArray[np.bool_]) -> tuple[float, float]:
    # Here, for it takes a second.
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=_REGULARISATION).fit(x[:, None], y)
    return float(model.coef_[0, 0]), float(model.intercept_[0])
