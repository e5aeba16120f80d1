"""The communities of one level: Leiden over ties to the nearest, around what people keep, and calm about changes.

Leiden with modularity begins from the former communities (Traag, Waltman and van Eck, "From Louvain to Leiden:
guaranteeing well-connected communities", 2019; for the resolution Reichardt and Bornholdt, 2006). What people keep in
one stays there, and has no ties to what they keep in another. Where Leiden joins two such, each other node goes with
the one that it is tied to more; what it finds of one such in several places is one. Nodes that would change theirs do
so only for a clear gain: what they have in the new one exceeds what they had in the old by a share of all their ties.
A resolution is a share of all ties: the fewer other subjects a stream has, the further it parts each. Communities that
are near to each other as a whole are therefore one at any resolution, and a node that is not near to the rest of its
community as a whole is in none.
"""

from __future__ import annotations

import heapq
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix

Floats = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

# A resolution makes about as many communities, however few nodes there are: it is no higher than one for so many.
_NODES_OF_A_COMMUNITY = 8
_ROWS_AT_ONCE = 1024
_ROUNDS_OF_CALM = 10
_SHARE_OF_WIDE = 0.5
_SEED = 7
# What Leiden draws when it refines a partition: as good as none, so that a run is the likely one.
_RANDOMNESS = 0.001
_SHORTEST = 1e-9
_HARDLY = 1e-9


class TieRules(NamedTuple):
    """A node is tied to its `neighbours` nearest whose cosine is at least `least_cosine`.

    Two communities are one from a mean cosine of `one_from` between a question of the one and a question of the other.
    A node whose questions have a mean cosine below `least_mean_cosine` to the others of its community is in none; where
    that is None a community may be of any width. `inertia` is the share of a node's ties that a change of its community
    has to gain.
    """

    neighbours: int
    least_cosine: float
    one_from: float
    least_mean_cosine: float | None
    inertia: float


class LevelGraph:
    """One level's nodes (n) with their ties; the former community of each, and the one it is kept in: 0 for none.

    Nodes that are kept in two communities have no tie to each other. Those that are `new` were in none, and have been
    given the one that is nearest, if any.
    """

    def __init__(
        self,
        unit: Matrix,
        sizes: Floats,
        former: Numbers,
        kept_in: Numbers,
        new: Flags,
        resolution: float,
        rules: TieRules,
    ) -> None:
        self._former = former
        self._kept_in = kept_in
        self._new = new & (kept_in == 0)
        self._one_from = rules.one_from
        self._least_mean_cosine = rules.least_mean_cosine
        self._inertia = rules.inertia
        self._count = len(unit)
        self._unit, self._sizes = unit, sizes
        one, other, weights = _ties(unit, sizes, rules)
        ties = (kept_in[one] == kept_in[other]) | (kept_in[one] == 0) | (kept_in[other] == 0)
        self._one, self._other, self._weights = one[ties], other[ties], weights[ties]
        self._strengths: Floats = np.zeros(self._count)
        for rows in (self._one, self._other):
            self._strengths += np.bincount(rows, self._weights, self._count)
        tied = int(np.count_nonzero(self._strengths))
        self._resolution = min(resolution, max(1.0, tied / _NODES_OF_A_COMMUNITY))

    def communities(self) -> Numbers:
        """The community (n,) of each node: the number of a former one, or another above all those."""
        found = self._parted(self._leiden()) if len(self._weights) else np.arange(self._count)
        # What people put into a community, or what is new there, does not take its id from those that it came to,
        # however large it is.
        votes = np.where((self._kept_in > 0) | self._new, _HARDLY * self._strengths, self._strengths)
        # Nor does what is new give that id to others, which never were in the community.
        former = np.where(self._new & np.isin(found, found[~self._new]), 0, self._former)
        fresh = int(self._former.max(initial=0)) + 1
        named = self._united(found, after_former(found, former, votes, fresh))
        calmed = self._calmed(np.where(self._kept_in > 0, self._kept_in, named))
        joined = self._joined(calmed, votes)
        least = self._least_mean_cosine
        return self._renumbered(joined if least is None else self._without_far(joined, least))

    def _parted(self, found: Numbers) -> Numbers:
        """Communities with nodes that people keep in several: each other node goes where its strongest ties lead."""
        kept = np.flatnonzero(self._kept_in)
        pairs = np.unique(np.stack([found[kept], self._kept_in[kept]]), axis=1)
        communities, counts = np.unique(pairs[0], return_counts=True)
        crowded = np.isin(found, communities[counts > 1])
        if not crowded.any():
            return found
        parted = np.where(crowded, -1, found)
        ties: dict[int, list[tuple[int, float]]] = {}
        within = crowded[self._one] & (found[self._one] == found[self._other])
        ends = (end[within].tolist() for end in (self._one, self._other, self._weights))
        for one, other, weight in zip(*ends, strict=True):
            ties.setdefault(one, []).append((other, weight))
            ties.setdefault(other, []).append((one, weight))
        fresh = int(found.max()) + 1
        of = {pair: fresh + at for at, pair in enumerate(zip(*pairs.tolist(), strict=True))}
        seeds = kept[crowded[kept]]
        waiting = [
            (-np.inf, row, of[community, into])
            for row, community, into in zip(
                *(part.tolist() for part in (seeds, found[seeds], self._kept_in[seeds])), strict=True
            )
        ]
        heapq.heapify(waiting)
        while waiting:
            _, row, community = heapq.heappop(waiting)
            if parted[row] < 0:
                parted[row] = community
                for other, weight in ties.get(row, ()):
                    heapq.heappush(waiting, (-weight, other, community))
        return parted

    def _united(self, found: Numbers, named: Numbers) -> Numbers:
        """The names of what Leiden found; a part of which people keep most in a community is of that one."""
        _, part = np.unique(found, return_inverse=True)
        part = part.ravel()
        kept = np.bincount(part, self._strengths * (self._kept_in > 0))
        is_of_kept = (2 * kept > np.bincount(part, self._strengths))[part]
        into = np.zeros(int(part.max(initial=0)) + 1, np.int64)
        # Of those that people keep something in there is one in each by now.
        into[part[self._kept_in > 0]] = self._kept_in[self._kept_in > 0]
        return np.where(is_of_kept, into[part], named)

    def _leiden(self) -> Numbers:
        from graspologic_native import leiden  # for those alone who group

        start = {str(row): int(part) for row, part in zip(*self._connected_parts(), strict=True)}
        ties = zip(self._one.tolist(), self._other.tolist(), self._weights.tolist(), strict=True)
        _, found = leiden(
            edges=[(str(one), str(other), weight) for one, other, weight in ties],
            starting_communities=start,
            resolution=self._resolution,
            randomness=_RANDOMNESS,
            iterations=1,
            use_modularity=True,
            seed=_SEED,
        )
        communities = np.arange(self._count) + self._count
        for row, community in found.items():
            communities[int(row)] = community
        return communities

    def _connected_parts(self) -> tuple[Numbers, Numbers]:
        """The rows that have ties, and the number of the connected part of its former community that each is in.

        Begun with a community in parts that no tie connects, graspologic-native 1.3.1 panics.
        """
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components

        within = (self._former[self._one] == self._former[self._other]) & (self._former[self._one] > 0)
        ends = self._one[within], self._other[within]
        graph = coo_array((np.ones(len(ends[0])), ends), shape=(self._count, self._count))
        _, parts = connected_components(graph, directed=False)
        tied = np.flatnonzero(self._strengths > 0)
        _, numbered = np.unique(parts[tied], return_inverse=True)
        return tied, numbered.ravel()

    def _calmed(self, found: Numbers) -> Numbers:
        """Nodes that change their community together do so for a clear gain alone; else they stay where they were."""
        kept = found.copy()
        total = max(float(self._strengths.sum()), _SHORTEST)
        for _ in range(_ROUNDS_OF_CALM):
            moving = np.flatnonzero((kept != self._former) & (self._former > 0) & (self._strengths > 0))
            if not len(moving):
                break
            moves, block = np.unique(np.stack([self._former[moving], kept[moving]]), axis=1, return_inverse=True)
            block_of = np.full(self._count, -1, np.int64)
            block_of[moving] = block.ravel()
            blocks = moves.shape[1]
            strength = np.bincount(block_of[moving], self._strengths[moving], blocks)
            communities, at = np.unique(np.concatenate([kept, *moves]), return_inverse=True)
            strengths = np.bincount(at.ravel()[: self._count], self._strengths, len(communities))
            old, new = (strengths[np.searchsorted(communities, side)] for side in moves)
            gain = self._ties_to(block_of, kept, moves[1]) - self._ties_to(block_of, kept, moves[0])
            gain -= self._resolution * strength * (new - strength - old) / total
            back = gain < self._inertia * strength
            if not back.any():
                break
            returning = moving[back[block_of[moving]]]
            kept[returning] = self._former[returning]
        return kept

    def _joined(self, found: Numbers, votes: Floats) -> Numbers:
        """The communities (n,) with those as one that are tied and near as a whole, the nearest first.

        Two that were one are joined for less, by half of the inertia; one in which people keep something is joined with
        none. Their number is the one that more `votes` (n,) were for.
        """
        numbers, of = np.unique(found, return_inverse=True)
        of = of.ravel()
        pairs = of[np.stack([self._one, self._other])]
        pairs = np.unique(np.sort(pairs[:, pairs[0] != pairs[1]], axis=0), axis=1)
        sums, sizes = sums_of(self._unit, self._sizes, of, len(numbers))
        homes = most_shared(of, self._former, self._strengths, len(numbers))
        claims = np.bincount(of, np.where(self._former == found, votes, 0.0))
        is_kept = np.bincount(of, self._kept_in > 0) > 0

        def nearness(one: Numbers, other: Numbers) -> Floats:
            """Mean cosines above what is asked of these pairs."""
            cosines = np.empty(len(one))
            for start in range(0, len(one), _ROWS_AT_ONCE):
                rows = slice(start, start + _ROWS_AT_ONCE)
                cosines[rows] = np.einsum("pd,pd->p", sums[one[rows]], sums[other[rows]])
            cosines /= sizes[one] * sizes[other]
            were_one = (homes[one] == homes[other]) & (homes[one] > 0)
            asked = self._one_from * np.where(were_one, 1.0 - self._inertia / 2.0, 1.0)
            above: Floats = np.where(is_kept[one] | is_kept[other], -np.inf, cosines - asked)
            return above

        near = nearness(*pairs)
        while near.size and near.max() >= 0.0:
            two = pairs[:, near.argmax()].tolist()
            into, gone = sorted(two, key=lambda at: (-claims[at], -sizes[at], at))
            sums[into] += sums[gone]
            sizes[into] += sizes[gone]
            homes[into] = homes[into] or homes[gone]
            of[of == gone] = into
            pairs[pairs == gone] = into
            others = pairs[0] != pairs[1]
            pairs, near = pairs[:, others], near[others]
            changed = (pairs == into).any(axis=0)
            near[changed] = nearness(*pairs[:, changed])
        return numbers[of]

    def _without_far(self, found: Numbers, least: float) -> Numbers:
        """The communities (n,) without the nodes that are not near to the rest of theirs: each of these is alone."""
        _, of, counts = np.unique(found, return_inverse=True, return_counts=True)
        apart = found.copy()
        fresh = self._fresh(found)
        for rows in np.split(np.argsort(of.ravel(), kind="stable"), np.cumsum(counts)[:-1]):
            if len(rows) > 1:
                far = rows[self._far(rows, found[rows], least)]
                apart[far] = fresh + far
        return apart

    def _renumbered(self, found: Numbers) -> Numbers:
        """The communities (n,), those under other numbers of whose former nodes none is left."""
        # What is new keeps the number that it was given among what is new alone.
        claims = (self._former == found) & ~(self._new & np.isin(found, found[~self._new]))
        return np.where(np.isin(found, found[claims]), found, self._fresh(found) + found)

    def _fresh(self, found: Numbers) -> int:
        """The first number above those of all communities (n,) and of all former ones."""
        return int(max(found.max(initial=0), self._former.max(initial=0))) + 1

    def _far(self, rows: Numbers, found: Numbers, least: float) -> Flags:
        """Which nodes (n,) of one community are to leave it, the farthest first, until each is near to the others.

        One that was in it stays for less, by half of the inertia; what people keep there stays, and what it came to
        does not leave for that: it may be near to the others alone.
        """
        unit, sizes = self._unit[rows].astype(np.float64), self._sizes[rows]
        is_kept = self._kept_in[rows] > 0
        ease = np.where(found == self._former[rows], 1.0 - self._inertia / 2.0, 1.0)
        kept, left = np.where(is_kept, sizes, 0.0), np.where(is_kept, 0.0, sizes)
        far = np.zeros(len(rows), np.bool_)
        # Of the others alone. A node is 1 near to itself but for rounding, which is much beside few others.
        itself = np.einsum("nd,nd->n", unit, unit)
        while True:
            of_kept, of_left = kept @ unit, left @ unit
            to_left, others = unit @ of_left - left * itself, left.sum() - left
            to_all, all_others = unit @ of_kept + to_left, kept.sum() + others
            nearness = np.maximum(mean_of(to_left, others), mean_of(to_all, all_others))
            asked = least_mean_cosine(of_kept + of_left, float((kept + left).sum()), least)
            above = nearness - asked * ease
            leaving = np.flatnonzero(~far & ~is_kept & (all_others > _SHORTEST) & (above < 0.0))
            if not len(leaving):
                return far
            # Without the farther half the others may be near: few rounds, however many are far.
            leaving = leaving[np.argsort(above[leaving], kind="stable")][: (len(leaving) + 1) // 2]
            far[leaving], left[leaving] = True, 0.0

    def _ties_to(self, block_of: Numbers, kept: Numbers, community: Numbers) -> Floats:
        """By block, the weight of its ties to those of a community that are not in the block."""
        total: Floats = np.zeros(len(community))
        for here, there in ((self._one, self._other), (self._other, self._one)):
            block = block_of[here]
            counts = (block >= 0) & (block != block_of[there]) & (kept[there] == community[block])
            total += np.bincount(block[counts], self._weights[counts], len(community))
        return total


def least_mean_cosine(total: Floats, questions: float, least: float) -> float:
    """The mean cosine to a community that what is in it has at least; `total` (d,) is the sum of its directions.

    In a wide one it is half of the mean cosine that its questions have to each other.
    """
    return min(least, _SHARE_OF_WIDE * float(total @ total) / questions**2)


def mean_of(sums: Floats, counts: Floats) -> Floats:
    """The mean (n,) by sums and counts; below any cosine where there is none."""
    means: Floats = np.where(counts > _SHORTEST, sums / np.maximum(counts, _SHORTEST), -np.inf)
    return means


def most_shared(of: Numbers, former: Numbers, weights: Floats, count: int) -> Numbers:
    """The former community (count,) that most of each of `count` communities was in, by weights of its parts `of` (n,).

    0 for one whose parts have no weight; the lowest number among equals.
    """
    pairs, pair = np.unique(np.stack([of, former]), axis=1, return_inverse=True)
    shared = np.bincount(pair.ravel(), weights, pairs.shape[1])
    pairs, shared = pairs[:, shared > 0.0], shared[shared > 0.0]
    numbers = np.zeros(count, np.int64)
    # The last one that is written stays.
    order = np.lexsort((-pairs[1], shared))
    numbers[pairs[0, order]] = pairs[1, order]
    return numbers


def sums_of(unit: Matrix, sizes: Floats, of: Numbers, count: int) -> tuple[Floats, Floats]:
    """Sums of directions by size (count, d) and sizes (count,) of communities; `of` (n,) is that of each row."""
    sums: Floats = np.zeros((count, unit.shape[1]), np.float64)
    np.add.at(sums, of, unit * sizes[:, None])
    return sums, np.bincount(of, sizes, count).astype(np.float64)


def _ties(unit: Matrix, sizes: Floats, rules: TieRules) -> tuple[Numbers, Numbers, Floats]:
    """Each pair of rows that is tied once, lesser row first, with its weight."""
    count = len(unit)
    nearest = min(rules.neighbours, count - 1)
    if nearest < 1:
        return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
    keys, cosines = [], []
    for start in range(0, count, _ROWS_AT_ONCE):
        rows = np.arange(start, min(start + _ROWS_AT_ONCE, count))
        block = unit[rows] @ unit.T
        block[rows - start, rows] = -np.inf
        near = np.argpartition(-block, nearest - 1, axis=1)[:, :nearest]
        cosine = np.take_along_axis(block, near, axis=1)
        at, column = np.nonzero(cosine >= rules.least_cosine)
        one, other = rows[at], near[at, column]
        keys.append(np.minimum(one, other) * count + np.maximum(one, other))
        cosines.append(cosine[at, column])
    pairs, first = np.unique(np.concatenate(keys), return_index=True)
    one, other = np.divmod(pairs, count)
    weights: Floats = np.concatenate(cosines)[first].astype(np.float64) * np.sqrt(sizes[one] * sizes[other])
    return one, other, weights


def after_former(found: Numbers, former: Numbers, weights: Floats, fresh: int) -> Numbers:
    """Communities (n,) numbered by the former one (n,), 0 for none, of which they have most; each of these names one.

    The others are new, numbered from `fresh` on.
    """
    known = former > 0
    pairs, pair = np.unique(np.stack([found[known], former[known]]), axis=1, return_inverse=True)
    shared = np.bincount(pair.ravel(), weights[known], pairs.shape[1])
    named: dict[int, int] = {}
    used: set[int] = set()
    for at in np.lexsort((pairs[0], pairs[1], -shared)).tolist():
        community, number = int(pairs[0, at]), int(pairs[1, at])
        if community not in named and number not in used:
            named[community] = number
            used.add(number)
    for community in found.tolist():
        if community not in named:
            named[community] = fresh
            fresh += 1
    return np.array([named[community] for community in found.tolist()], np.int64).reshape(-1)
