"""All clusters of a mirror scored with a batch of questions in blocks that stay in the cache: the best few are kept.

What is held at a time, a block of scores and the pairs that are near, does not grow with the clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from questream.clustering.mirror import Ids, Mirror, Rows
from questream.clustering.rules import Rules
from questream.clustering.scores import ScoreTerms
from questream.domain import Matrix, Vector

# Questions, rows of clusters, and their scores.
_Scored = tuple[Rows, Rows, Vector]

# Scores that stay in the cache while they are looked at, of as many clusters as a product is quick with.
_SCORES_AT_ONCE = 2**17
_FEWEST_AT_ONCE, _MOST_AT_ONCE = 1024, 2048
_BLOCKS_WITH_TERMS = 16
# Below this score those that may merge are too many to be worth noting.
LEAST_SELECTIVE = 0.05
# So many pairs of a question and a cluster near to it are kept: 40 MiB, and for a moment 110. Where clusters are scored
# in blocks at all (contenders.py), that is a sixteenth of them or less for each question on average.
_MOST_NEAR = 2**21


@dataclass(frozen=True, slots=True)
class NearClusters:
    """Of each question of a batch the ids of clusters that are near to it, without their leeway, by question.

    Those of question i begin at `first[i]` and end before `first[i + 1]`. All that score `least[i]` are there. They
    are of so many `clusters`, among which `largest_inverse` is the largest factor of that name (ScoreTerms).
    """

    first: Rows
    ids: Ids
    scores: Vector
    least: Vector
    clusters: int
    largest_inverse: float

    @classmethod
    def none(cls, questions: int) -> NearClusters:
        """Of a batch beside which no cluster is left."""
        nothing = np.zeros(0, np.int64)
        least: Vector = np.full(questions, -np.inf, np.float32)
        return cls(np.zeros(questions + 1, np.int64), nothing, np.zeros(0, np.float32), least, 0, 1.0)

    def of(self, question: int, least: float) -> Ids | None:
        """The clusters that score at least `least` with a question; None where they are not known."""
        if least < self.least[question]:
            return None
        some = slice(self.first[question], self.first[question + 1])
        return self.ids[some][self.scores[some] >= np.float32(least)]


@dataclass(frozen=True, slots=True)
class Scanned:
    """The rows (k,) of the clusters that are among the best of any question of a batch, ascending.

    `floors` (n,): those that are not among the best of a question score no more with it, times its length. `near` are
    those beside `rows`.
    """

    rows: Rows
    floors: Vector
    near: NearClusters


def scan(vectors: Matrix, mirror: Mirror, rules: Rules, most: int) -> Scanned:
    """The `most` best clusters of each unit vector (n, d), and those near to it where that spares a second look."""
    terms = _question_terms(vectors, mirror, rules)
    best, near = _Best(len(vectors), most), _Near(terms[:, 2], _least_near(rules))
    largest_inverse = 1.0
    for block in _blocks(vectors, terms, mirror, rules):
        start, scores = block.start, block.scores
        largest_inverse = max(largest_inverse, float(block.inverse.max()))
        if not start:
            best.begin(scores)
        # One look at all scores, the next at the few that are high.
        high = np.flatnonzero(scores >= np.minimum(best.floors, near.floors + block.least_leeway * terms[:, 2]))
        places, questions = np.divmod(high, len(vectors))
        some = scores.ravel()[high]
        best.add(questions, start + places, some)
        near.add(questions, start + places, some, block.leeway[places])
    best.settle()
    rows = np.unique(best.rows)
    return Scanned(rows, best.floors, near.beside(rows, mirror.ids, largest_inverse))


def _least_near(rules: Rules) -> float:
    """A floor: clusters that may merge with one that a question joins seldom score less with the question.

    A rule of thumb, by what real questions joined at thresholds of .7 and .8: half of what they joined needs more.
    """
    return max(2.0 * rules.merge_threshold - 1.15, LEAST_SELECTIVE)


def _question_terms(vectors: Matrix, mirror: Mirror, rules: Rules) -> Matrix:
    """(1, m.m - q.m, |q - m|) of each question, as `ScoreTerms.terms` is multiplied with them: (n, 3)."""
    of_none = ScoreTerms(mirror, rules, room=0, rows=np.zeros(0, np.int64))
    dots = (vectors @ mirror.mean_sum).astype(np.float64).tolist()
    return np.array([(1.0, *of_none.question_terms(dot)) for dot in dots], np.float32)


class _Block(NamedTuple):
    """Some clusters, from the row `start` on, and their scores (k, n), times the questions' lengths.

    `inverse` and `leeway` (k,) are as in ScoreTerms, and so is `least_leeway`.
    """

    start: int
    scores: Matrix
    inverse: Vector
    leeway: Vector
    least_leeway: float


def _blocks(vectors: Matrix, terms: Matrix, mirror: Mirror, rules: Rules) -> Iterator[_Block]:
    """All clusters in blocks; what a block has is overwritten by the next."""
    size = min(max(_FEWEST_AT_ONCE, min(_SCORES_AT_ONCE // len(vectors), _MOST_AT_ONCE)), mirror.count)
    room = np.empty((2, size, len(vectors)), np.float32)
    for first in range(0, mirror.count, _BLOCKS_WITH_TERMS * size):
        rows = np.arange(first, min(first + _BLOCKS_WITH_TERMS * size, mirror.count))
        of_rows = ScoreTerms(mirror, rules, room=0, rows=rows)
        for start in range(0, len(rows), size):
            at = slice(start, min(start + size, len(rows)))
            scores, scratch = room[:, : at.stop - start]
            np.matmul(mirror.sums[first:][at], vectors.T, out=scores)
            scores *= of_rows.scale[at, None]
            scores += np.matmul(of_rows.terms[:, at].T, terms.T, out=scratch)
            least_leeway = of_rows.least_leeway
            yield _Block(first + start, scores, of_rows.inverse[at], of_rows.leeway[at], least_leeway)


class _Best:
    """The best clusters of each question so far; what is not among them scores no more than the question's floor."""

    def __init__(self, questions: int, most: int) -> None:
        self._most = most
        self.floors: Vector = np.full(questions, -np.inf, np.float32)
        self._kept: _Scored = (np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))
        self._added: list[_Scored] = []
        self._count = 0

    @property
    def rows(self) -> Rows:
        """The rows of what is kept, of any question."""
        return self._kept[1]

    def begin(self, scores: Matrix) -> None:
        """Floors by the scores (k, n) of some clusters: the least of the best of as many groups as are kept."""
        in_group = len(scores) // self._most
        if in_group:
            groups = scores[: in_group * self._most].reshape(self._most, in_group, -1)
            self.floors = groups.max(axis=1).min(axis=0)

    def add(self, questions: Rows, rows: Rows, scores: Vector) -> None:
        """Clusters that may be among the best."""
        good = scores >= self.floors[questions]
        self._added.append((questions[good], rows[good], scores[good]))
        self._count += int(good.sum())
        if self._count > self._most * len(self.floors):
            self.settle()

    def settle(self) -> None:
        """Keep the best."""
        questions, rows, scores = (np.concatenate(parts) for parts in zip(self._kept, *self._added, strict=True))
        order = np.lexsort((-scores, questions))
        questions, rows, scores = questions[order], rows[order], scores[order]
        rank = np.arange(len(order)) - np.searchsorted(questions, np.arange(len(self.floors)))[questions]
        last = rank == self._most - 1
        self.floors[questions[last]] = scores[last]
        best = rank < self._most
        self._kept = questions[best], rows[best], scores[best]
        self._added.clear()
        self._count = 0


class _Near:
    """The clusters that are near to each question; of questions that they are too many for none is kept."""

    def __init__(self, lengths: Vector, least: float) -> None:
        self._lengths = lengths
        self._least: Vector = np.full(len(lengths), least, np.float32)
        self._counts = np.zeros(len(lengths), np.int64)
        self._found: list[_Scored] = []

    @property
    def floors(self) -> Vector:
        """The least scores of near clusters, times each question's length: infinite where none is kept."""
        floors: Vector = self._least * self._lengths
        return floors

    def add(self, questions: Rows, rows: Rows, scores: Vector, leeway: Vector) -> None:
        """Clusters that may be near: their scores, times the questions' lengths, and the leeway in them."""
        bare = scores / self._lengths[questions] - leeway
        near = bare >= self._least[questions]
        self._found.append((questions[near], rows[near], bare[near]))
        self._counts += np.bincount(questions[near], minlength=len(self._counts))
        if self._counts.sum() > _MOST_NEAR:
            self._drop_largest()

    def beside(self, rows: Rows, ids: Ids, largest_inverse: float) -> NearClusters:
        """The found clusters without `rows`; `ids` are those of all rows."""
        others = np.ones(len(ids), bool)
        others[rows] = False
        questions, found, scores = self._select(lambda _, rows: others[rows])
        order = np.argsort(questions, kind="stable")
        first = np.searchsorted(questions[order], np.arange(len(self._least) + 1))
        return NearClusters(first, ids[found[order]], scores[order], self._least, len(ids), largest_inverse)

    def _drop_largest(self) -> None:
        """Keep none of the questions that most clusters are near to, until half of the room is free."""
        largest_first = np.argsort(-self._counts)
        left = self._counts.sum() - np.cumsum(self._counts[largest_first])
        dropped = largest_first[: 1 + np.count_nonzero(left > _MOST_NEAR // 2)]
        self._least[dropped] = np.inf
        self._counts[dropped] = 0
        self._found = [self._select(lambda questions, _: self._least[questions] < np.inf)]

    def _select(self, kept: Callable[[Rows, Rows], NDArray[np.bool_]]) -> _Scored:
        """The found scores whose questions and rows `kept` accepts."""
        some = [(one[0][at], one[1][at], one[2][at]) for one in self._found for at in [kept(one[0], one[1])]]
        questions, rows, scores = (np.concatenate(parts) for parts in zip(*some, strict=True))
        return questions, rows, scores
