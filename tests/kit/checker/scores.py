"""The score of a question against clusters, in float64 from DESIGN.

With the stream's mean m (of its first questions, shrunk as if `mean_prior` of mean zero had come before), S the sum and
n the number of a cluster's members, s = S/n:

    score(q, cluster) = (q - m).(s - m) / (|q - m| w)     w^2 = |s|^2 - 2 s.m + m.m, with 1 for |s|^2 in average linkage

and in adaptive linkage (1 - c) / 2 more, where c is |s - m|^2 / w^2 with the w of average linkage, or the square of the
threshold t if that is more. In both linkages no more than leaves a cosine of |m|, or of t if less, to the cluster's
direction. On the plain cosine, without m in the above, the least is s.m + k sqrt(1 - m.m) |s - m| for a k of |m|, or of
1.5 t or .5 if less.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tests.kit.checker.rules import Floats, Rules


@dataclass(frozen=True, slots=True)
class Centroid:
    """The raw sum (d,) of a cluster's centroid members, and their number; the mean's questions alike."""

    members: int
    vector_sum: Floats

    def plus(self, vectors: Sequence[Floats]) -> Centroid:
        """The same after it learned these too."""
        total = self.vector_sum + np.sum(vectors, axis=0) if len(vectors) else self.vector_sum
        return Centroid(self.members + len(vectors), total)


def score(question: Floats, centroids: Iterable[Centroid], mean: Centroid | None, rules: Rules) -> Floats:
    """The similarity of a unit question (d,) to each centroid, (k,)."""
    clusters = list(centroids)
    s = np.stack([cluster.vector_sum / cluster.members for cluster in clusters])
    stream = np.zeros_like(question)
    if mean is not None:
        stream = mean.vector_sum / (mean.members + rules.mean_prior)
    m = stream if rules.similarity == "centred" else np.zeros_like(question)
    square = np.sum(s * s, axis=1) if rules.linkage == "centroid" else 1.0
    lengths = np.sqrt(np.maximum(square - 2 * s @ m + m @ m, 1e-9)) * max(float(np.linalg.norm(question - m)), 1e-9)
    scores: Floats = (s - m) @ (question - m) / lengths
    if rules.linkage not in ("adaptive", "average"):
        return scores
    cohesion = np.sum((s - m) ** 2, axis=1) / np.maximum(1.0 - 2 * s @ m + m @ m, 1e-9)
    threshold, length = max(rules.threshold, 0.0), float(np.linalg.norm(stream))
    if rules.similarity == "centred":
        least = min(threshold, length) * np.sqrt(cohesion)
    else:
        beside = np.sqrt(1.0 - length**2) * np.linalg.norm(s - stream, axis=1)
        least = s @ stream + min(1.5 * threshold, 0.5, length) * beside
    leeway = (1.0 - np.maximum(cohesion, threshold**2)) / 2 if rules.linkage == "adaptive" else 0.0
    bounded: Floats = scores + np.minimum(leeway, threshold - least)
    return bounded
