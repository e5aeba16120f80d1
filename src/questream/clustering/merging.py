"""Merges of clusters that have become one: clusters with moved centroids are scored against all.

With adaptive linkage two near clusters stay two where one cluster of both would be too loose: looser than the threshold
asks of two questions, and than the larger of the two is by itself. Each merge otherwise makes the leeway for the next.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from questream.clustering.constraints import Side, forbid_merge
from questream.clustering.may_merge import MayMerge
from questream.clustering.mirror import Mirror, Rows
from questream.clustering.near_pairs import Pairs, near_pairs, near_row
from questream.clustering.near_unions import ROWS_AT_ONCE, NearUnions
from questream.clustering.rules import Rules
from questream.clustering.scores import ScoreTerms
from questream.clustering.second_look.kept import Kept, conflict_between, keep_both, pack, unpack
from questream.domain import UNNAMED, Exemplar, Naming, Ruling, Vector, joint_exemplars


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


def precedence(naming: Naming, size: int, cluster_id: int, kept_in: Sequence[str] = ()) -> tuple[bool, bool, int, int]:
    """Of two clusters that merge, the one with the lesser survives: the named, else the larger, else the older.

    It is the id that most people have seen. One that is kept in an intent goes before them all: there is what it
    becomes.
    """
    return not kept_in, naming == UNNAMED, -size, cluster_id


def merged_naming(survivor: Naming, loser: Naming, dropped: Naming | None) -> Naming | None:
    """The label and route of the cluster that a merge makes; None where it must not happen: the two differ."""
    if loser in (UNNAMED, survivor):
        return survivor
    if survivor == UNNAMED:
        return loser
    return survivor if loser == dropped else None


def merged_ruling(survivor: Ruling, loser: Ruling, merge: Merge) -> Ruling | None:
    """The ruling of the cluster that a merge makes; None where rulings forbid the merge."""
    naming = merged_naming((survivor.label, survivor.route), (loser.label, loser.route), merge.dropped)
    is_pinned = not merge.by_operator and (survivor.pinned or loser.pinned)
    if naming is None or is_pinned or survivor.is_separate_from(loser):
        return None
    return replace(survivor, label=naming[0], route=naming[1]).with_constraints_of(loser)


def propose_merges(
    mirror: Mirror,
    moved: Sequence[int],
    rules: Rules,
    apart: Collection[tuple[int, int]] = (),
    may_merge: MayMerge | None = None,
) -> list[Merge]:
    """Merges among clusters that score at or above `merge_threshold` and are cohesive as one, best pair first.

    Each pair has a cluster of `moved` in it, or one that a merge before it has moved. Later merges build on earlier
    ones: apply them in order. The pairs `apart` do not merge, nor does what either has become. The mirror is not
    changed. With `may_merge` most clusters need not be scored.
    """
    rows = mirror.rows(moved)
    if not rows or mirror.count < 2:
        return []
    terms = ScoreTerms(mirror, rules, room=0)
    near = [pairs for pairs in near_pairs(mirror, terms, rows, may_merge) if len(pairs.ones)]
    return _Merger(mirror, terms, near, rules, apart).run() if near else []


class _Merger:
    """Pairs of clusters that are near enough to merge, followed as merges add clusters together."""

    def __init__(
        self,
        mirror: Mirror,
        terms: ScoreTerms,
        near: Iterable[Pairs],
        rules: Rules,
        apart: Collection[tuple[int, int]],
    ) -> None:
        self._rules = rules
        self._mirror = mirror
        self._terms = terms
        self._near_unions = NearUnions(mirror, terms)
        self._sums: dict[int, Vector] = {}  # of the rows that merges have changed
        self._kept: dict[int, Kept] = {}  # of the same
        self._exemplars: dict[int, tuple[Exemplar, ...]] = {}  # of the same
        self._gone: set[int] = set()
        # By row, the rows that it must not merge with.
        self._apart: dict[int, set[int]] = {}
        for pair in apart:
            found = mirror.rows(pair)
            if len(found) == 2:
                self._keep_apart(*found)
        # The best pair first. A pair counts no more where a merge has changed either row since it was scored.
        self._near: list[_NearPair] = []
        self._changed: dict[int, int] = {}
        for pairs in near:
            self._add(pairs)

    def run(self) -> list[Merge]:
        """Best pair first until no pair is near enough."""
        merges: list[Merge] = []
        while self._near:
            pair = heapq.heappop(self._near)
            if not self._stands(pair):
                continue
            if self._differ(pair.one, pair.other):
                self._keep_apart(pair.one, pair.other)
            else:
                merges.append(self._merge(pair.one, pair.other))
        return merges

    def _add(self, pairs: Pairs) -> None:
        for one, other, score in zip(pairs.ones.tolist(), pairs.others.tolist(), pairs.scores.tolist(), strict=True):
            if other not in self._gone:
                times = self._changed.get(one, 0) + self._changed.get(other, 0)
                heapq.heappush(self._near, _NearPair(-score, one, other, times))

    def _stands(self, pair: _NearPair) -> bool:
        one, other = pair.one, pair.other
        if one in self._gone or other in self._gone or other in self._apart.get(one, ()):
            return False
        return pair.changed == self._changed.get(one, 0) + self._changed.get(other, 0)

    def _differ(self, one: int, other: int) -> bool:
        """True if their questions differ in what vectors do not see, or by what people decided of them."""
        if self._rules.judges and conflict_between(self._kept_of(one), self._kept_of(other)) is not None:
            return True
        return forbid_merge(self._side(one), self._side(other), self._terms, self._mirror.mean_sum)

    def _side(self, row: int) -> Side:
        exemplars = self._exemplars.get(row)
        known = self._mirror.exemplars(int(self._mirror.ids[row])) if exemplars is None else exemplars
        return Side(row, self._sum(row), known)

    def _kept_of(self, row: int) -> Kept:
        known = self._kept.get(row)
        return unpack(self._mirror.kept(int(self._mirror.ids[row]))) if known is None else known

    def _merge(self, one: int, other: int) -> Merge:
        ids, members = self._mirror.ids, self._terms.members
        survivor, loser = (one, other) if ids[one] < ids[other] else (other, one)
        kept = keep_both(self._kept_of(survivor), self._kept_of(loser))
        merge = Merge(
            int(ids[survivor]),
            int(ids[loser]),
            int(members[survivor]),
            int(members[loser]),
            self._sum(survivor) + self._sum(loser),
            kept=pack(kept) or None,
        )
        exemplars = joint_exemplars(self._side(survivor).exemplars, self._side(loser).exemplars)
        if not self._near_unions.knows((survivor, loser)):
            self._near_unions.score([survivor, loser, *self._next_to_score()])
        near = self._near_unions.unite(survivor, loser)
        self._add_terms(survivor, loser)
        self._kept[survivor], self._exemplars[survivor], self._sums[survivor] = kept, exemplars, merge.vector_sum
        self._gone.add(loser)
        self._sums.pop(loser, None)
        for row in self._apart.get(loser, ()):
            self._keep_apart(survivor, row)
        self._changed[survivor] = self._changed.get(survivor, 0) + 1
        others = np.arange(self._mirror.count) if near is None else np.union1d(near, list(self._sums))
        self._add(near_row(self._terms, survivor, others, self._dots(survivor, others)))
        return merge

    def _next_to_score(self) -> list[int]:
        """The rows of the best pairs that `NearUnions` does not know yet."""
        knows = self._near_unions.knows
        unknown = (pair for pair in self._near if not knows((pair.one, pair.other)) and self._stands(pair))
        best = heapq.nsmallest(ROWS_AT_ONCE, unknown)
        return [row for pair in best for row in (pair.one, pair.other)]

    def _keep_apart(self, one: int, other: int) -> None:
        self._apart.setdefault(one, set()).add(other)
        self._apart.setdefault(other, set()).add(one)

    def _add_terms(self, survivor: int, loser: int) -> None:
        terms = self._terms
        terms.dot_mean[survivor] += terms.dot_mean[loser]
        cross = float(self._sum(survivor) @ self._sum(loser))
        terms.dot_self[survivor] += 2.0 * cross + terms.dot_self[loser]
        terms.members[survivor] += terms.members[loser]
        terms.refresh_row(survivor)

    def _dots(self, row: int, others: Rows) -> Vector:
        """The products (k,) of a changed row's sum with others, ascending; those that merges have changed are there."""
        own, sums = self._sums[row], self._mirror.sums
        dots: Vector = own @ (sums if len(others) == len(sums) else sums[others]).T
        changed = list(self._sums)
        dots[np.searchsorted(others, changed)] = [own @ self._sums[at] for at in changed]
        return dots

    def _sum(self, row: int) -> Vector:
        known = self._sums.get(row)
        if known is not None:
            return known
        total: Vector = self._mirror.sums[row]
        return total


class _NearPair(NamedTuple):
    """Ordered with the best first. `changed`: how many merges had changed either when it was scored."""

    negative_score: float
    one: int
    other: int
    changed: int
