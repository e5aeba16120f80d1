"""Which clusters have become one: those whose centroids moved, scored against all.

With adaptive linkage two near clusters stay two where one cluster of both would be a heap: looser than the threshold
asks of two questions, and than the larger of the two is by itself. Each merge otherwise makes the leeway for the next.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from questream.clustering.constraints import Side, forbid_merge
from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.clustering.scores import ScoreTerms
from questream.clustering.second_look.kept import Kept, conflict_between, keep_both, pack, unpack
from questream.domain import Exemplar, Matrix, Ruling, Vector, joint_exemplars

_CLUSTERS_AT_ONCE = 4096

# A cluster's label and route, which survive together or not at all.
Naming = tuple[str | None, str | None]
UNNAMED: Naming = (None, None)


@dataclass(frozen=True, slots=True)
class Merge:
    """Two clusters become one. Member counts are those that the two of the proposal were seen with.

    A proposal names the older one as the survivor; the store, which knows sizes and namings, decides which id survives
    (`precedence`). `dropped` is the loser's label and route that an operator gives up, and binds the survivor; an
    automatic merge (None) drops no naming. `by_operator` merges pinned clusters too. `kept` is what the two keep
    together for a second look, packed; None leaves the survivor its own.
    """

    survivor: int
    loser: int
    survivor_members: int
    loser_members: int
    vector_sum: Vector
    dropped: Naming | None = None
    kept: bytes | None = None
    by_operator: bool = False

    @property
    def members(self) -> int:
        """Centroid members of the survivor after the merge."""
        return self.survivor_members + self.loser_members

    def of(self, survivor: int, loser: int) -> Merge:
        """The merge as it comes out: which of the two, or of what they have become, survives."""
        return replace(self, survivor=survivor, loser=loser)


def precedence(naming: Naming, size: int, cluster_id: int) -> tuple[bool, int, int]:
    """Of two clusters that merge, the one with the lesser survives: the named, else the larger, else the older.

    It is the id that most people have seen.
    """
    return naming == UNNAMED, -size, cluster_id


def merged_naming(survivor: Naming, loser: Naming, dropped: Naming | None) -> Naming | None:
    """The label and route of the cluster that a merge makes; None where it must not happen: the two differ."""
    if loser in (UNNAMED, survivor):
        return survivor
    if survivor == UNNAMED:
        return loser
    return survivor if loser == dropped else None


def merged_ruling(survivor: Ruling, loser: Ruling, merge: Merge) -> Ruling | None:
    """What binds the cluster that a merge makes; None where people's decisions forbid the merge."""
    naming = merged_naming((survivor.label, survivor.route), (loser.label, loser.route), merge.dropped)
    is_pinned = not merge.by_operator and (survivor.pinned or loser.pinned)
    if naming is None or is_pinned or survivor.is_separate_from(loser):
        return None
    return replace(survivor, label=naming[0], route=naming[1]).with_constraints_of(loser)


def propose_merges(
    mirror: Mirror, moved: Sequence[int], rules: Rules, apart: Collection[tuple[int, int]] = ()
) -> list[Merge]:
    """Merges among clusters that score at or above `merge_threshold` and make no heap, best pair first.

    Each pair has a cluster of `moved` in it, or one that a merge before it has moved. Later merges build on earlier
    ones: apply them in order. The pairs `apart` do not merge, nor does what either has become. The mirror is not
    changed.
    """
    rows = mirror.rows(moved)
    if not rows or mirror.count < 2:
        return []
    products = ScoreTerms(mirror, rules, room=0)
    moved_rows = np.array(rows)
    if not any(
        (_scores(products, moved_rows, block, mirror.sums[rows] @ mirror.sums[block].T) >= rules.merge_threshold).any()
        for block in _blocks(mirror.count)
    ):
        return []
    return _Merger(mirror, products, rows, rules, apart).run()


def _blocks(count: int) -> Iterator[slice]:
    """Most batches merge nothing: finding that out takes scores that fit the cache, not all of them at once."""
    for start in range(0, count, _CLUSTERS_AT_ONCE):
        yield slice(start, min(start + _CLUSTERS_AT_ONCE, count))


class _Merger:
    """Scores of `moved` rows (m) against all clusters (count), updated as merges add rows together."""

    def __init__(
        self, mirror: Mirror, products: ScoreTerms, rows: list[int], rules: Rules, apart: Collection[tuple[int, int]]
    ) -> None:
        self._rules = rules
        self._mirror = mirror
        self._rows = rows
        self._products = products
        self._sums: dict[int, Vector] = {}  # of the rows that merges have changed
        self._kept: dict[int, Kept] = {}  # of the same
        self._exemplars: dict[int, tuple[Exemplar, ...]] = {}  # of the same
        self._alive = np.ones(mirror.count, bool)
        self._members = mirror.members.copy()
        # By row, the rows that it must not merge with.
        self._apart: dict[int, set[int]] = {}
        for pair in apart:
            found = mirror.rows(pair)
            if len(found) == 2:
                self._keep_apart(*found)
        self._scores = self._score(np.array(rows), mirror.sums[rows] @ mirror.sums.T)

    def run(self) -> list[Merge]:
        """Best pair first until no pair is near enough."""
        merges: list[Merge] = []
        while True:
            best = self._scores.max(axis=1)
            at = int(best.argmax())
            if best[at] < self._rules.merge_threshold:
                return merges
            one, other = self._rows[at], int(self._scores[at].argmax())
            if self._differ(one, other):
                self._keep_apart(one, other)
                self._rule_out(one, other)
            else:
                merges.append(self._merge(one, other))

    def _differ(self, one: int, other: int) -> bool:
        """Whether their questions differ in what vectors do not see, or by what people decided of them."""
        if self._rules.judges and conflict_between(self._kept_of(one), self._kept_of(other)) is not None:
            return True
        return forbid_merge(self._side(one), self._side(other), self._products, self._mirror.mean_sum)

    def _side(self, row: int) -> Side:
        exemplars = self._exemplars.get(row)
        known = self._mirror.exemplars(int(self._mirror.ids[row])) if exemplars is None else exemplars
        return Side(row, self._sum(row), known)

    def _kept_of(self, row: int) -> Kept:
        known = self._kept.get(row)
        return unpack(self._mirror.kept(int(self._mirror.ids[row]))) if known is None else known

    def _rule_out(self, one: int, other: int) -> None:
        for row, column in ((one, other), (other, one)):
            if row in self._rows:
                self._scores[self._rows.index(row), column] = -np.inf

    def _merge(self, one: int, other: int) -> Merge:
        ids = self._mirror.ids
        survivor, loser = (one, other) if ids[one] < ids[other] else (other, one)
        total: Vector = self._sum(survivor) + self._sum(loser)
        kept = self._kept[survivor] = keep_both(self._kept_of(survivor), self._kept_of(loser))
        exemplars = joint_exemplars(self._side(survivor).exemplars, self._side(loser).exemplars)
        merge = Merge(
            int(ids[survivor]),
            int(ids[loser]),
            int(self._members[survivor]),
            int(self._members[loser]),
            total,
            kept=pack(kept) or None,
        )
        self._exemplars[survivor] = exemplars
        self._add_products(survivor, loser)
        self._sums[survivor] = total
        self._members[survivor] = merge.members
        self._alive[loser] = False
        for row in self._apart.get(loser, ()):
            self._keep_apart(survivor, row)
        self._replace_rows(survivor, loser)
        return merge

    def _keep_apart(self, one: int, other: int) -> None:
        self._apart.setdefault(one, set()).add(other)
        self._apart.setdefault(other, set()).add(one)

    def _add_products(self, survivor: int, loser: int) -> None:
        products = self._products
        products.dot_mean[survivor] += products.dot_mean[loser]
        cross = float(self._sum(survivor) @ self._sum(loser))
        products.dot_self[survivor] += 2.0 * cross + products.dot_self[loser]
        products.members[survivor] += products.members[loser]
        products.refresh_row(survivor)

    def _replace_rows(self, survivor: int, loser: int) -> None:
        """The survivor counts as moved; the loser is out."""
        dots = self._sums[survivor] @ self._mirror.sums.T
        for row, vector_sum in self._sums.items():
            dots[row] = self._sums[survivor] @ vector_sum
        kept = [at for at, row in enumerate(self._rows) if row not in (survivor, loser)]
        scores = self._score(np.array([survivor]), dots[None, :])
        self._rows = [self._rows[at] for at in kept]
        self._scores = self._scores[kept]
        # Scores are symmetric: what the survivor scores against a row is what that row scores against it.
        self._scores[:, survivor] = scores[0, self._rows]
        self._scores[:, loser] = -np.inf
        self._rows.append(survivor)
        self._scores = np.vstack([self._scores, scores])

    def _score(self, rows: NDArray[np.int64], dots: Matrix) -> Matrix:
        scores = _scores(self._products, rows, slice(0, self._mirror.count), dots)
        scores[:, ~self._alive] = -np.inf
        if self._apart:
            for at, row in enumerate(rows):
                scores[at, list(self._apart.get(int(row), ()))] = -np.inf
        return scores

    def _sum(self, row: int) -> Vector:
        known = self._sums.get(row)
        if known is not None:
            return known
        total: Vector = self._mirror.sums[row]
        return total


def _scores(products: ScoreTerms, rows: NDArray[np.int64], block: slice, dots: Matrix) -> Matrix:
    """Scores of clusters (m,) against a block of all: the formula of `scores.py`, a cluster in the question's place."""
    members = products.members[rows]
    scores: Matrix = dots * products.scale[block]
    scores *= (1.0 / members).astype(np.float32)[:, None]
    if products.centred:
        constants = products.mean_norm_square - products.dot_mean[rows] / (members * products.mean_weight)
        scores += products.shift[block]
        scores += constants.astype(np.float32)[:, None] * products.inverse[block]
    scores *= products.inverse[rows][:, None]
    if products.adaptive:
        scores += 0.5 * products.leeway[rows][:, None]
        scores += 0.5 * products.leeway[block]
        _rule_out_heaps(products, rows, block, dots, scores)
    within = np.flatnonzero((rows >= block.start) & (rows < block.stop))
    scores[within, rows[within] - block.start] = -np.inf
    return scores


def _rule_out_heaps(products: ScoreTerms, rows: NDArray[np.int64], block: slice, dots: Matrix, scores: Matrix) -> None:
    """Take the pairs out of the running that are near enough, and as one cluster would be too loose."""
    at, column = np.nonzero(scores >= products.rules.merge_threshold)
    ones, others = rows[at], column + block.start
    own, members = products.cohesion, products.members
    ahead = members[ones] - members[others]
    larger_own = np.where(ahead > 0, own[ones], np.where(ahead < 0, own[others], np.minimum(own[ones], own[others])))
    needed = np.minimum(products.rules.merge_threshold, larger_own)
    heaps = products.united_cohesion(ones, others, dots[at, column]) < needed
    scores[at[heaps], column[heaps]] = -np.inf
