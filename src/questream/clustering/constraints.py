"""Exemplars bind later questions: they are vectors with a cluster that owns them.

An exemplar is scored as a cluster of its own with one member would be, by the formula of `scores.py`. A question that
is nearer to a `must` exemplar than to the members of its cluster has that score with the cluster. A question whose
score with a `cannot` exemplar is at least the owner's threshold and its score with the owner (but for what half
precision takes off) does not join the owner: the next best cluster takes it, or a new one. Two clusters do not merge
automatically where the one would take a question that was turned away from the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from questream.domain import ConstraintKind, Exemplar, Matrix, Vector

if TYPE_CHECKING:
    from questream.clustering.scores import ScoreTerms

_FLOAT16 = np.dtype("<f2")
_SMALLEST_LENGTH = 3e-5
# The most that half precision may take off an exemplar's score: a question that opened a cluster and was turned away
# from it is as near to the cluster as to its own exemplar.
_ROUNDING = 1e-3


def pack_vector(vector: Vector) -> bytes:
    """A unit vector (d,) in half precision: cosines are off by a thousandth at most."""
    return vector.astype(_FLOAT16).tobytes()


def unpack_vector(packed: bytes) -> Vector:
    """The unit vector (d,) of an exemplar. Raises ValueError where the bytes are no whole number of floats."""
    vector: Vector = np.frombuffer(packed, _FLOAT16).astype(np.float32)
    length = float(np.linalg.norm(vector))
    return vector / np.float32(length) if length > 0 and np.isfinite(length) else np.zeros_like(vector)


@dataclass(frozen=True, slots=True)
class Constraints:
    """The exemplars of a namespace: those of kind `must` come before those of kind `cannot`.

    `owners` (k,) are the clusters that own them, `vectors` (k, d) unit rows; the first `must` of them pull.
    """

    owners: NDArray[np.int64]
    vectors: Matrix
    must: int

    @classmethod
    def of(cls, exemplars: Mapping[int, Iterable[Exemplar]], dimension: int) -> Constraints:
        """The exemplars of all clusters. One of another dimension is of another model, and binds nothing."""
        found = [
            (owner, exemplar)
            for kind in ("must", "cannot")
            for owner, owned in exemplars.items()
            for exemplar in owned
            if exemplar.kind == kind and len(exemplar.vector) == dimension * _FLOAT16.itemsize
        ]
        vectors = np.zeros((len(found), dimension), np.float32)
        for at, (_, exemplar) in enumerate(found):
            vectors[at] = unpack_vector(exemplar.vector)
        owners = np.array([owner for owner, _ in found], np.int64)
        return cls(owners, vectors, sum(exemplar.kind == "must" for _, exemplar in found))

    def __len__(self) -> int:
        return len(self.owners)


class Bound:
    """The constraints of a namespace upon a batch of unit vectors (n, d), by the rows that its clusters have now.

    `mean_sum` (d,) is the mean's raw sum before the batch. All scores are those of the exemplars as clusters of one.
    """

    def __init__(
        self,
        constraints: Constraints,
        row_of: Mapping[int, int],
        vectors: Matrix,
        products: ScoreTerms,
        mean_sum: Vector,
    ) -> None:
        self._constraints = constraints
        self._products = products
        self._rows = np.array([row_of[owner] for owner in constraints.owners.tolist()], np.intp)
        own = products.thresholds
        # By exemplar the threshold of its owner, where any cluster has one of its own.
        self._threshold = products.rules.threshold if own is None else own[self._rows].astype(np.float32)
        self._must_rows, self._cannot_rows = self._rows[: constraints.must], self._rows[constraints.must :]
        self._scores: Matrix | None = None
        if len(constraints):
            self._dots: Matrix = vectors @ constraints.vectors.T
            self._dot_mean_sum = (constraints.vectors @ mean_sum).astype(np.float64)
            self._refresh()
            if products.mean_questions >= products.rules.mean_questions:
                self._score_all(vectors, mean_sum)

    def bind(self, i: int, scores: Matrix, constant: float, length: float) -> list[int]:
        """Change the scores (count,) of question `i` by what people decided: -inf with the rows that it may not join.

        Returns those rows. `scores` are not yet divided by the question's own `length`; `constant` is of the same
        question (`ScoreTerms`).
        """
        if not len(self._rows):
            return []
        if self._scores is None:
            of_exemplars = (self._dots[i] + np.float32(constant)) * self._inverse - self._shift
            near = np.flatnonzero(of_exemplars >= self._threshold * length)
        else:
            of_exemplars = self._scores[i]
            near = self._near[self._first_near[i] : self._first_near[i + 1]]
        if not len(near):
            return []
        must = self._constraints.must
        pulling, barring = near[near < must], near[near >= must]
        np.maximum.at(scores, self._rows[pulling], of_exemplars[pulling])
        own = scores[self._rows[barring]] - np.float32(_ROUNDING * length)
        barred = self._rows[barring][of_exemplars[barring] >= own]
        scores[barred] = -np.inf
        rows: list[int] = barred.tolist()
        return rows

    def _score_all(self, vectors: Matrix, mean_sum: Vector) -> None:
        """All scores (n, k) at once, where the mean learns no more; few of them are near enough to be looked at."""
        products = self._products
        terms = [products.question_terms(dot) for dot in (vectors @ mean_sum).astype(np.float64).tolist()]
        constants, lengths = np.array(terms, np.float32).T
        # In place: the pages of three arrays of this size would cost more than what is done with them.
        scores = self._scores = self._dots
        scores += constants[:, None]
        scores *= self._inverse
        scores -= self._shift
        found = np.flatnonzero(scores >= np.multiply(self._threshold, lengths[:, None], dtype=np.float32))
        questions, self._near = np.divmod(found, len(self._constraints))
        self._first_near = np.searchsorted(questions, np.arange(len(vectors) + 1)).tolist()

    def learn_mean(self, i: int) -> None:
        """The mean learned question `i`; its `products` have learned it already."""
        if len(self._rows):
            self._dot_mean_sum += self._dots[i]
            self._refresh()

    def _refresh(self) -> None:
        products = self._products
        dot_mean = self._dot_mean_sum / products.mean_weight if products.centred else np.zeros(len(self._rows))
        square = 1.0 - 2.0 * dot_mean + products.mean_norm_square
        inverse = 1.0 / np.maximum(np.sqrt(np.maximum(square, 0.0)), _SMALLEST_LENGTH)
        self._inverse = inverse.astype(np.float32)
        self._shift = (dot_mean * inverse).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Side:
    """One of two clusters that might merge: its row, its raw sum (d,) and its exemplars."""

    row: int
    vector_sum: Vector
    exemplars: tuple[Exemplar, ...]


def forbid_merge(one: Side, other: Side, products: ScoreTerms, mean_sum: Vector) -> bool:
    """True if either of two clusters would take a question that was turned away from the other: they do not merge."""
    return _takes_rejected(one, other, products, mean_sum) or _takes_rejected(other, one, products, mean_sum)


def _takes_rejected(taker: Side, rejecter: Side, products: ScoreTerms, mean_sum: Vector) -> bool:
    rejected = _vectors(rejecter, "cannot")
    if not len(rejected):
        return False
    row = taker.row
    for vector in rejected:
        constant, length = products.question_terms(float(vector @ mean_sum))
        score = float(vector @ taker.vector_sum) * float(products.scale[row])
        if products.centred:
            score += float(products.shift[row]) + constant * float(products.inverse[row])
        if score / length + float(products.leeway[row]) >= products.threshold(row):
            return True
    return _any_near(rejected, _vectors(taker, "must"), products, mean_sum, products.threshold(row))


def _any_near(ones: Matrix, others: Matrix, products: ScoreTerms, mean_sum: Vector, threshold: float) -> bool:
    """True if any two of these would be one cluster of this threshold."""
    if not len(others):
        return False
    mean = mean_sum / np.float32(products.mean_weight) if products.centred else np.zeros_like(mean_sum)
    ones, others = ones - mean, others - mean
    lengths = np.linalg.norm(ones, axis=1)[:, None] * np.linalg.norm(others, axis=1)
    return bool((ones @ others.T >= threshold * lengths).any())


def _vectors(side: Side, kind: ConstraintKind) -> Matrix:
    """The vectors (k, d) of a cluster's exemplars of one kind."""
    dimension = len(side.vector_sum)
    found = [
        unpack_vector(one.vector)
        for one in side.exemplars
        if one.kind == kind and len(one.vector) == dimension * _FLOAT16.itemsize
    ]
    return np.array(found, np.float32).reshape(len(found), dimension)
