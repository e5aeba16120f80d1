"""The clusters that the questions of a batch may come near to, and the products of these alone with the questions.

The mirror is scored in blocks that stay in the cache. Of each question the best few are kept, and a floor: what is not
kept scores no more than that. So the plan of a batch is made of ten clusters for each question, however many there are,
and of questions whose plan asks for one that scores less than their floor, more are kept. While the mean learns, which
moves all scores, and with few clusters, all are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from questream.clustering.mirror import Mirror, Rows
from questream.clustering.rules import Rules
from questream.clustering.scan import NearClusters, Scanned, scan
from questream.clustering.scores import ROUNDING
from questream.domain import Matrix, Vector

# Of so many products, 128 MiB, all are held: up to there one large product is a little quicker than many small ones.
# Beyond, 256 questions hold 4 MiB of products with what is kept of them, and 4096, the most in a batch, 720 MiB.
_PRODUCTS_HELD = 2**25
# Columns of products for clusters that others open while a batch is planned, at the most.
_MOST_ROOM = 1024
# Of each question: those that may be passed over, the one that it joins and the next.
_MOST_OF_EACH = 10
_WIDENING = 8


class Contenders:
    """Of a batch of unit vectors (n, d) the clusters that its plan is made of, by mirror rows (k,), ascending.

    `dots` (n, k and room for more) are the products of the questions with these clusters' sums. `floors` (n,): what is
    not in `rows` scores less than this, times the question's length. `near` has clusters beside them.
    """

    def __init__(self, vectors: Matrix, mirror: Mirror, rules: Rules) -> None:
        self._vectors = vectors
        self._mirror = mirror
        self._rules = rules
        self._seen = 0
        self.rows: Rows = np.zeros(0, np.int64)
        self._keep(self.rows)

    @property
    def some(self) -> Rows | None:
        """The `rows`, or None where they are all, which is quicker to look up."""
        return None if len(self.rows) == self._mirror.count else self.rows

    @property
    def column_of(self) -> Mapping[int, int]:
        """The place in `rows` of each cluster there, by id."""
        if len(self.rows) == self._mirror.count:
            return self._mirror.row_of
        return dict(zip(self._mirror.ids[self.rows].tolist(), range(len(self.rows)), strict=True))

    def columns(self, rows: Rows) -> Rows:
        """The places in `rows` of some that are there."""
        return np.searchsorted(self.rows, rows)

    def widen(self, questions: Rows) -> None:
        """Keep more clusters of these questions, by the mirror that was last seen."""
        self._most[questions] = _WIDENING * self._most[questions].max()
        found = scan(self._vectors[questions], self._mirror, self._rules, int(self._most[questions[0]]))
        self._hold(np.union1d(self.rows, found.rows), np.setdiff1d(found.rows, self.rows))
        self.floors[questions] = _above(found)

    def update(self, stale: Iterable[int]) -> None:
        """The mirror moved on: its `stale` rows get their products anew, those that it added get theirs."""
        mirror = self._mirror
        changed = np.union1d(np.array(list(stale), np.int64), np.arange(self._seen, mirror.count))
        changed = changed[changed < mirror.count]
        had = self.rows[: np.searchsorted(self.rows, mirror.count)]
        all_are_kept = len(self.rows) == self._seen
        rows = np.arange(mirror.count) if all_are_kept else np.union1d(had, changed)
        self._seen = mirror.count
        if mirror.mean_sum is not self._mean_sum:
            self._keep(rows)
            return
        self.rows = had
        self._hold(rows, changed)

    def _keep(self, rows: Rows) -> None:
        """Keep the contenders that matter by the present mirror, and `rows`."""
        mirror, rules, questions = self._mirror, self._rules, len(self._vectors)
        self._mean_sum, self._seen = mirror.mean_sum, mirror.count
        self._most = np.full(questions, _MOST_OF_EACH)
        if mirror.mean_questions < rules.mean_questions or mirror.count <= _PRODUCTS_HELD // questions:
            self.rows = np.arange(mirror.count)
            self.floors: Vector = np.full(questions, -np.inf, np.float32)
            self.near = NearClusters.none(questions)
        else:
            found = scan(self._vectors, mirror, rules, _MOST_OF_EACH)
            bound = [*mirror.constraints.owners.tolist(), *mirror.thresholds]
            self.rows = np.union1d(np.union1d(found.rows, rows), np.array(mirror.rows(bound), np.int64))
            self.floors = _above(found)
            self.near = found.near
        self.dots: Matrix = np.empty((questions, self._room(len(self.rows))), np.float32)
        sums = mirror.sums if len(self.rows) == mirror.count else mirror.sums[self.rows]
        np.matmul(self._vectors, sums.T, out=self.dots[:, : len(self.rows)])

    def _hold(self, rows: Rows, changed: Rows) -> None:
        """Have the products of `rows`: those there were, and anew those of the rows that `changed`."""
        self._make_room(self.rows, rows)
        self.rows = rows
        if len(changed):
            self.dots[:, self.columns(changed)] = self._vectors @ self._mirror.sums[changed].T

    def _make_room(self, had: Rows, rows: Rows) -> None:
        """Move the columns of rows that were there to where they are among `rows`."""
        is_prefix = np.array_equal(rows[: len(had)], had)
        if is_prefix and len(rows) + len(self._vectors) <= self.dots.shape[1]:
            return
        dots: Matrix = np.empty((len(self._vectors), self._room(len(rows))), np.float32)
        dots[:, np.searchsorted(rows, had)] = self.dots[:, : len(had)]
        self.dots = dots

    def _room(self, count: int) -> int:
        """Room for products beyond this batch's own creations, so that what others create needs no more each time."""
        questions = len(self._vectors)
        return count + questions + min(7 * questions + 64, _MOST_ROOM)


def _above(found: Scanned) -> Vector:
    """The floors of what was found, above what products that are rounded in another way than the scan's come to."""
    floors: Vector = found.floors + np.float32(ROUNDING * (1.0 + found.near.largest_inverse))
    return floors
