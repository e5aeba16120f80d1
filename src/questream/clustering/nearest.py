"""Read-only scoring: the clusters nearest to a question, with nothing learned, counted or opened."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from questream.clustering.assignment import MOST_PASSED_OVER
from questream.clustering.choices import strongest
from questream.clustering.constraints import Bound
from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.clustering.scores import ScoreTerms
from questream.clustering.second_look.conflict import Reason
from questream.clustering.second_look.features import Features
from questream.clustering.second_look.kept import conflict_with, unpack
from questream.domain import CheckedBy, Matrix, Vector

# As many as decide where a question would go: those that may be passed over, and the next.
NEIGHBOURS = MOST_PASSED_OVER + 1
# Scores that are held at a time: 16 MiB.
_MOST_SCORES = 2**22


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A cluster and its similarity to the question.

    `checked_by` is what gave it a second look, as it is near enough to join; `reason` is why it was passed over, if it
    was. `threshold` is the cluster's own, if it has one.
    """

    cluster_id: int
    similarity: float
    checked_by: CheckedBy | None = None
    reason: Reason | None = None
    threshold: float | None = None

    def is_near(self, rules: Rules) -> bool:
        """True if it is near enough for the question to join."""
        return self.similarity >= rules.threshold_of(self.threshold)


@dataclass(frozen=True, slots=True)
class Assignment:
    """The dry run of an assignment: `cluster` is None for a new one. The rest is as in a `Choice`."""

    cluster: Neighbour | None
    runner_up: Neighbour | None
    checked_by: CheckedBy | None
    reason: Reason | None


def assigned(neighbours: Sequence[Neighbour], rules: Rules) -> Assignment:
    """The one of the `NEIGHBOURS` nearest clusters, best first, that a question would join by `BatchAssigner`."""
    near = [one for one in neighbours if one.is_near(rules)][:MOST_PASSED_OVER]
    cluster = next((one for one in near if one.reason is None), None)
    passed_over = near[: near.index(cluster)] if cluster else near
    others = [one for one in neighbours if one is not cluster]
    looked_at = [*passed_over, cluster] if cluster else passed_over
    return Assignment(
        cluster,
        passed_over[0] if passed_over else next(iter(others), None),
        strongest(one.checked_by for one in looked_at),
        passed_over[0].reason if passed_over else None,
    )


def nearest_clusters(mirror: Mirror, rules: Rules, vector: Vector, limit: int, looks: Features = ()) -> list[Neighbour]:
    """The `limit` clusters nearest to a unit vector (d,), best first, but those that people turned it away from.

    Where clusters have thresholds of their own, as many of those behind them that are near enough are there too. Those
    near enough get a second look by `looks`, the features of the question's text.
    """
    (found,) = nearest_of_each(mirror, rules, vector[None, :], limit, [looks])
    return found


def nearest_of_each(
    mirror: Mirror, rules: Rules, vectors: Matrix, limit: int, looks: Sequence[Features]
) -> list[list[Neighbour]]:
    """As `nearest_clusters`, of each unit vector (n, d); its memory does not grow with questions x clusters."""
    products = ScoreTerms(mirror, rules, room=0)
    size = max(1, _MOST_SCORES // max(1, mirror.count))
    found: list[list[Neighbour]] = []
    for first in range(0, len(vectors), size):
        some = vectors[first : first + size]
        bound = Bound(mirror.constraints, mirror.row_of, some, products, mirror.mean_sum)
        dots, dot_mean = some @ mirror.sums.T, some @ mirror.mean_sum
        for i, of_text in enumerate(looks[first : first + size]):
            constant, length = products.question_terms(float(dot_mean[i]))
            scores = _scores(products, dots[i], constant, length)
            bound.bind(i, scores, constant, length)
            neighbours = _first(mirror, products, scores, length, limit)
            found.append(_second_look(neighbours, mirror, rules, of_text))
    return found


def _first(mirror: Mirror, products: ScoreTerms, scores: Vector, length: float, limit: int) -> list[Neighbour]:
    order = np.argsort(-scores, kind="stable")
    shown = order[:limit]
    if products.thresholds is not None:
        near = np.flatnonzero(scores[order] >= products.thresholds[order] * length)
        shown = order[np.union1d(np.arange(len(shown)), near[:limit])]
    shown = shown[scores[shown] > -np.inf]
    similarities = np.clip(scores[shown] / length, -1.0, 1.0)
    return [
        Neighbour(cluster_id, similarity, threshold=mirror.thresholds.get(cluster_id))
        for cluster_id, similarity in zip(mirror.ids[shown].tolist(), similarities.tolist(), strict=True)
    ]


def _second_look(neighbours: list[Neighbour], mirror: Mirror, rules: Rules, looks: Features) -> list[Neighbour]:
    if not looks or not rules.judges:
        return neighbours
    return [_judged(one, mirror, looks) if one.is_near(rules) else one for one in neighbours]


def similarities(mirror: Mirror, rules: Rules, vector: Vector) -> Vector:
    """The score of each cluster with a unit vector (d,), by row (count,), without regard to exemplars."""
    products = ScoreTerms(mirror, rules, room=0)
    constant, length = products.question_terms(float(vector @ mirror.mean_sum))
    found: Vector = np.clip(_scores(products, mirror.sums @ vector, constant, length) / length, -1.0, 1.0)
    return found


def first_alike(mirror: Mirror, rules: Rules, vectors: Matrix) -> list[int]:
    """Of each unit vector (n, d) the first one that was alike to none before it, and with which it is one cluster."""
    products = ScoreTerms(mirror, rules, room=0)
    own = vectors - mirror.mean_sum / np.float32(products.mean_weight) if products.centred else vectors
    own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-9)
    alike = own @ own.T >= rules.threshold
    found: list[int] = []
    for i in range(len(vectors)):
        found.append(next((first for first in dict.fromkeys(found) if alike[i, first]), i))
    return found


def _scores(products: ScoreTerms, dots: Vector, constant: float, length: float) -> Vector:
    """Scores times `length` by row (count,), of the question's products with the sums."""
    scores = dots * products.scale + products.shift * products.centred + constant * products.inverse
    scaled: Vector = (scores + length * products.leeway).astype(np.float32)
    return scaled


def _judged(neighbour: Neighbour, mirror: Mirror, looks: Features) -> Neighbour:
    kept = unpack(mirror.kept(neighbour.cluster_id))
    return replace(neighbour, checked_by="features" if kept else None, reason=conflict_with(looks, kept))
