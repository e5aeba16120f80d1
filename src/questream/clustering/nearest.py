"""Read-only scoring: the clusters nearest to a question, with nothing learned, counted or opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.clustering.scores import ScoreTerms
from questream.domain import Vector


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A cluster and its similarity to the question."""

    cluster_id: int
    similarity: float


def nearest_clusters(mirror: Mirror, rules: Rules, vector: Vector, limit: int) -> list[Neighbour]:
    """The `limit` clusters nearest to a unit vector (d,), best first."""
    products = ScoreTerms(mirror, rules, room=0)
    constant, length = products.question_terms(float(vector @ mirror.mean_sum))
    scores = (mirror.sums @ vector) * products.scale + products.shift * products.centred + constant * products.inverse
    scores = np.clip(scores / length + products.leeway, -1.0, 1.0)
    order = np.argsort(-scores, kind="stable")[:limit]
    return [Neighbour(int(mirror.ids[row]), float(scores[row])) for row in order]
