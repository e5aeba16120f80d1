"""Similarity from raw sums: one formula for every linkage, centred or not.

With unit questions q, a cluster's raw sum S over n members, s = S/n and the stream's mean m:

    score(q, S) = (q - m).(s - m) / (|q - m| w)      w^2 = |s|^2_linkage - 2 s.m + m.m

where |s|^2_linkage is 1 for average linkage (each member has length 1, so w^2 is the members' mean |x - m|^2 and the
score is the mean centred cosine: UPGMA, Sokal & Michener 1958) and s.s for the normalised centroid. With m = 0 this is
the plain cosine. Every term is a product of raw sums, hence linear in what a join or a merge adds: a question that
joins adds its row of products to a column, and the mean can move without touching a vector.

Adaptive linkage adds half of what the cluster lacks in cohesion, c = |s - m|^2 / w^2, the mean cosine between its
members (each with itself too, so that c is 1 for a cluster of one):

    score(q, S) + (1 - c) / 2 = 1 - |q' - s'|^2 / 2     q' = (q - m) / |q - m|, s' = (s - m) / w

It is the squared distance to the cluster's mean in the form of a cosine: between two single questions it is their
cosine, so a threshold keeps its meaning, but a cluster whose members agree less asks less of a question, and one of
few members more than average linkage would, since a mean of few is as far from its members as they are from each
other. Two clusters score the mean of what the members of each would score against the other: (2 - ca - cb) / 4 more.

Left alone, a cluster slides: whom it takes makes it looser, and a looser one takes more, down to c = 2t - 1 at the
threshold t. So a cohesion below t^2 counts as that: so alike are members that all have the cosine t to one direction,
each in a direction of its own. And a question joins only what it is nearer to than questions are to the whole stream:
before the mean is subtracted their mean cosine to its direction is |m|, so the cosine q'.s' / |s'| to the direction of
a cluster, with the mean subtracted, has to be k = |m|, or t if that is less. In average linkage that follows from t.

On the plain cosine k is |m|, or 3/2 t or 1/2 if that is less, and it is asked of a question that is to the mean what
questions are, with q.m = m.m:

    q.s >= s.m + k sqrt(1 - m.m) |s - m|

What a cluster asks beyond t is a leeway below 0. `merging.py` bounds what merges.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from questream.clustering.mirror import Mirror, Rows
from questream.clustering.rules import MEAN_PRIOR_QUESTIONS, Rules
from questream.domain import Matrix, Vector

Floats = NDArray[np.float64]

# By how much float32 may err in a score of unit vectors, several times over.
ROUNDING = 1e-5
# Below this a squared length is rounding error.
_SMALLEST_SQUARE = 1e-9
# On the plain cosine: so much of the threshold, and no more than this, is asked of the cosine to a cluster's direction.
# Where even unrelated texts have a high cosine, a fine threshold stays what decides (docs/clustering.md).
_SHARE_OF_THRESHOLD = 1.5
_MOST_OF_DIRECTION = 0.5


class ScoreTerms:
    """The products of raw sums that scores need, for `count` clusters with room for `room` more.

    They are those of `rows` (count,) of the mirror, ascending, or of all; what is by row below is by place in `rows`.
    `mean_weight` is n + prior: the mean is mean_sum / mean_weight. `dot_mean` is S.mean_sum, `dot_self` S.S by cluster.
    `cohesion` is c, 1 in other linkages than the adaptive one. `leeway` is (1 - c) / 2 there, for a c of at least t^2,
    and 0 else; less where t is reached farther from a cluster's direction than questions are from the mean's.
    `thresholds` are t by row, where any cluster has one of its own, and else None; `least_threshold` is the least of
    all.
    """

    def __init__(self, mirror: Mirror, rules: Rules, room: int, rows: Rows | None = None) -> None:
        of = slice(0, mirror.count) if rows is None else rows
        self.rules = rules
        self.count = mirror.count if rows is None else len(rows)
        capacity = self.count + room
        self.members = np.ones(capacity, np.float64)
        self.members[: self.count] = mirror.members[of]
        self.mean_questions = mirror.mean_questions
        self.mean_square = float(mirror.mean_sum @ mirror.mean_sum)
        self.dot_mean = np.zeros(capacity, np.float64)
        self.dot_mean[: self.count] = mirror.dot_mean[of]
        self.dot_self = np.ones(capacity, np.float64)
        self.dot_self[: self.count] = mirror.dot_self[of]
        # score(q, c) = (q.S scale + shift + (m.m - q.m) inverse) / |q - m| + leeway
        self.scale: Vector = np.zeros(capacity, np.float32)
        # One array, so that a question's part of the score is one product with it.
        self.terms: Matrix = np.zeros((3, capacity), np.float32)
        self.shift, self.inverse, self.leeway = self.terms
        # No leeway is less; it is not looked for anew where one grows.
        self.least_leeway = 0.0
        self.cohesion = np.ones(capacity, np.float64)
        self.thresholds: Floats | None = None
        if mirror.thresholds:
            self.thresholds = np.full(capacity, rules.threshold, np.float64)
            self._merge_thresholds = np.full(capacity, rules.merge_threshold, np.float64)
            own, values = _own_thresholds(mirror, rows)
            self.thresholds[own] = values
            self._merge_thresholds[own] = np.maximum(self.thresholds[own], rules.merge_threshold)
        self.least_threshold = min([rules.threshold, *mirror.thresholds.values()])
        self.refresh(slice(0, self.count))

    @property
    def centred(self) -> bool:
        """True if a mean is subtracted at all."""
        return self.rules.similarity == "centred"

    @property
    def adaptive(self) -> bool:
        """True if loose clusters have leeway."""
        return self.rules.linkage == "adaptive"

    @property
    def bounded(self) -> bool:
        """True if clusters ask for a cosine to their direction."""
        return self.rules.linkage in ("adaptive", "average")

    @property
    def mean_weight(self) -> float:
        """The divisor of the mean's sum."""
        return float(self.mean_questions + MEAN_PRIOR_QUESTIONS)

    @property
    def mean_norm_square(self) -> float:
        """m.m of the mean that is subtracted: 0 on the plain cosine."""
        return self.stream_mean_square if self.centred else 0.0

    @property
    def stream_mean_square(self) -> float:
        """m.m of the stream's mean, subtracted or not."""
        return self.mean_square / self.mean_weight**2

    @property
    def mean_length(self) -> float:
        """|m| of the stream's mean, subtracted or not."""
        return float(self.stream_mean_square**0.5)

    def threshold(self, row: int) -> float:
        """The least similarity at which a question joins the cluster of a row."""
        return self.rules.threshold if self.thresholds is None else float(self.thresholds[row])

    def needed_to_merge(self, ones: Rows, others: Rows) -> float | Floats:
        """The least score at which clusters merge, by rows: the merge threshold, or one of their own that is higher."""
        if self.thresholds is None:
            return self.rules.merge_threshold
        needed: Floats = np.maximum(self._merge_thresholds[ones], self._merge_thresholds[others])
        return needed

    def take_out_far(self, scores: Vector, length: float) -> tuple[Rows, Vector] | None:
        """Put -inf in `scores` (count,), times `length`, of clusters that a question is not near enough to join.

        Returns the rows and what they had, or None: where no cluster has a threshold of its own, nothing is put there.
        """
        if self.thresholds is None:
            return None
        rows = np.flatnonzero(scores < self.thresholds[: len(scores)] * length)
        had: Vector = scores[rows]
        scores[rows] = -np.inf
        return rows, had

    def refresh_row(self, row: int) -> None:
        """Derive the factors of one row anew: `refresh` in scalars, which is far quicker for one than numpy is."""
        members = float(self.members[row])
        dot_mean = float(self.dot_mean[row]) / (members * self.mean_weight)
        own_square = float(self.dot_self[row]) / members**2
        shifted = self.mean_norm_square - 2.0 * dot_mean if self.centred else 0.0
        square = 1.0 if self.rules.linkage != "centroid" else own_square
        inverse = max(square + shifted, _SMALLEST_SQUARE) ** -0.5
        self.inverse[row] = inverse
        self.scale[row] = inverse / members
        self.shift[row] = -dot_mean * inverse if self.centred else 0.0
        if not self.bounded:
            return
        threshold = max(self.threshold(row), 0.0)
        leeway = 0.0
        if self.adaptive:
            cohesion = (own_square + shifted) * inverse**2
            self.cohesion[row] = cohesion
            leeway = 0.5 - 0.5 * max(cohesion, threshold**2)
        distance = max(own_square - 2.0 * dot_mean + self.stream_mean_square, 0.0) ** 0.5
        if self.centred:
            nearest = min(threshold, self.mean_length) * distance * inverse
        else:
            asked = min(_SHARE_OF_THRESHOLD * threshold, _MOST_OF_DIRECTION, self.mean_length)
            nearest = dot_mean + asked * (1.0 - self.stream_mean_square) ** 0.5 * distance
        self.leeway[row] = leeway = min(leeway, threshold - nearest)
        self.least_leeway = min(self.least_leeway, leeway)

    def refresh(self, rows: slice) -> None:
        """Derive the factors of `rows` anew after their products or the mean changed."""
        members = self.members[rows]
        dot_mean = self.dot_mean[rows] / (members * self.mean_weight)
        own_square = self.dot_self[rows] / members**2
        shifted = self.mean_norm_square - 2.0 * dot_mean if self.centred else 0.0
        square = 1.0 if self.rules.linkage != "centroid" else own_square
        inverse = 1.0 / np.sqrt(np.maximum(square + shifted, _SMALLEST_SQUARE))
        self.inverse[rows] = inverse
        self.scale[rows] = inverse / members
        self.shift[rows] = -dot_mean * inverse if self.centred else 0.0
        if not self.bounded:
            return
        threshold = np.maximum(self.rules.threshold if self.thresholds is None else self.thresholds[rows], 0.0)
        leeway = 0.0
        if self.adaptive:
            cohesion = (own_square + shifted) * inverse**2
            self.cohesion[rows] = cohesion
            leeway = 0.5 - 0.5 * np.maximum(cohesion, threshold**2)
        distance = np.sqrt(np.maximum(own_square - 2.0 * dot_mean + self.stream_mean_square, 0.0))
        if self.centred:
            nearest = np.minimum(threshold, self.mean_length) * distance * inverse
        else:
            asked = np.minimum(_SHARE_OF_THRESHOLD * threshold, min(_MOST_OF_DIRECTION, self.mean_length))
            nearest = dot_mean + asked * (1.0 - self.stream_mean_square) ** 0.5 * distance
        self.leeway[rows] = np.minimum(leeway, threshold - nearest)
        self.least_leeway = min(self.least_leeway, float(self.leeway[rows].min(initial=0.0)))

    def united_cohesion(self, ones: Rows, others: Rows, dots: Vector) -> Floats:
        """The cohesion (k,) that each pair of rows would have as one cluster; `dots` are the products of their sums."""
        members = self.members[ones] + self.members[others]
        square = (self.dot_self[ones] + self.dot_self[others] + 2.0 * dots) / members**2
        dot_mean = (self.dot_mean[ones] + self.dot_mean[others]) / (members * self.mean_weight)
        shifted = self.mean_norm_square - 2.0 * dot_mean if self.centred else 0.0
        cohesion: Floats = (square + shifted) / np.maximum(1.0 + shifted, _SMALLEST_SQUARE)
        return cohesion

    def question_terms(self, dot_mean_sum: float) -> tuple[float, float]:
        """(m.m - q.m, |q - m|) of a question whose product with the mean's sum is `dot_mean_sum`."""
        if not self.centred:
            return 0.0, 1.0
        dot_mean = dot_mean_sum / self.mean_weight
        square = self.mean_norm_square
        return square - dot_mean, max(1.0 - 2.0 * dot_mean + square, _SMALLEST_SQUARE) ** 0.5

    def add_terms(self, scores: Vector, constant: float, length: float, scratch: Vector) -> None:
        """Add shift + constant inverse + length leeway to `scores` of all `count` clusters; `scratch` is as long."""
        if self.centred or self.bounded:
            factors = np.array([1.0, constant, length], np.float32)
            scores += np.matmul(factors, self.terms[:, : self.count], out=scratch)

    def cluster_scores(self, ones: Rows, others: Rows, dots: Matrix) -> Matrix:
        """Scores of clusters with others, a cluster in the question's place; `dots` are the products of their sums.

        `ones` and `others` are rows, broadcast to the shape of `dots`.
        """
        members = self.members[ones]
        scores: Matrix = dots * self.scale[others]
        scores *= (1.0 / members).astype(np.float32)
        if self.centred:
            constants = self.mean_norm_square - self.dot_mean[ones] / (members * self.mean_weight)
            scores += self.shift[others]
            scores += constants.astype(np.float32) * self.inverse[others]
        scores *= self.inverse[ones]
        if self.bounded:
            scores += 0.5 * self.leeway[ones]
            scores += 0.5 * self.leeway[others]
        return scores

    def learn_mean(self, dot_question: NDArray[np.float32], dot_mean_sum: float) -> None:
        """The mean learns a question: `dot_question` are its products with all `count` sums (its own join included)."""
        self.dot_mean[: self.count] += dot_question
        self.mean_square += 2.0 * dot_mean_sum + 1.0
        self.mean_questions += 1
        self.refresh(slice(0, self.count))


def _own_thresholds(mirror: Mirror, rows: Rows | None) -> tuple[Rows, Floats]:
    """The places in `rows` of clusters with a threshold of their own, and these thresholds."""
    own = np.array([mirror.row_of[i] for i in mirror.thresholds], np.int64)
    values = np.array(list(mirror.thresholds.values()), np.float64)
    if rows is None:
        return own, values
    places = np.searchsorted(rows, own)
    there = places < len(rows)
    there[there] = rows[places[there]] == own[there]
    return places[there], values[there]
