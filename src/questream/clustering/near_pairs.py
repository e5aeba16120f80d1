"""Pairs of clusters that are near enough to merge, and would be cohesive as one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from questream.clustering.may_merge import MayMerge
from questream.clustering.mirror import Ids, Mirror, Rows
from questream.clustering.scores import ScoreTerms
from questream.domain import Matrix, Vector

# Scores that fit the cache: most of them are looked at once and never again.
_CLUSTERS_AT_ONCE = 4096
_ROWS_AT_ONCE = 1024
# The cost of reading a cluster's sum by itself, in units of that in a product of many rows with all.
_SPARSE_SHARE = 1 / 32
_SHARE_WORTH_READING = 1 / 2


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs (k,) of rows of a mirror, and the score of each."""

    ones: Rows
    others: Rows
    scores: Vector


def near_pairs(
    mirror: Mirror, terms: ScoreTerms, rows: Sequence[int], may_merge: MayMerge | None = None
) -> Iterator[Pairs]:
    """Every pair of one of `rows` with another cluster that scores `merge_threshold` and would be cohesive as one.

    Some may come twice. `may_merge` changes what that costs, not what is found.
    """
    known = {} if may_merge is None else _known(mirror, rows, may_merge)
    unknown = np.array([row for row in rows if row not in known], np.int64)
    for first in range(0, len(unknown), _ROWS_AT_ONCE):
        ones = unknown[first : first + _ROWS_AT_ONCE]
        sums = mirror.sums[ones]
        for start in range(0, mirror.count, _CLUSTERS_AT_ONCE):
            others = np.arange(start, min(start + _CLUSTERS_AT_ONCE, mirror.count))
            yield _near(terms, ones, others, sums @ mirror.sums[others[0] : others[-1] + 1].T)
    if may_merge is not None and known:
        ones, unsure = np.array(list(known), np.int64), np.array(mirror.rows(sorted(may_merge.unsure)), np.int64)
        yield _near(terms, ones, unsure, mirror.sums[ones] @ mirror.sums[unsure].T)
        yield _scored_each(mirror, terms, known)


def _known(mirror: Mirror, rows: Sequence[int], may_merge: MayMerge) -> dict[int, Rows]:
    """By row those that it may merge with, for the rows for which scoring these alone costs less than scoring all."""
    ids = {row: may_merge.with_cluster.get(int(mirror.ids[row])) for row in rows}
    known = {row: near for row, near in ids.items() if near is not None}
    dense = [row for row, near in known.items() if len(near) > _SPARSE_SHARE * mirror.count]
    # Reading all sums once for a matrix product is what costs; each row beside the first adds little to it.
    all_are_read = len(known) < len(rows) or sum(len(known[row]) for row in dense) > _SHARE_WORTH_READING * mirror.count
    if all_are_read:
        for row in dense:
            del known[row]
    return _rows_of(mirror, known) if known and 2 * len(known) >= len(rows) else {}


def _rows_of(mirror: Mirror, ids: Mapping[int, Ids]) -> dict[int, Rows]:
    """The rows of those of each array of cluster ids that are in the index."""
    by_id = np.argsort(mirror.ids, kind="stable")
    sorted_ids = mirror.ids[by_id]
    rows: dict[int, Rows] = {}
    for key, wanted in ids.items():
        places = np.minimum(np.searchsorted(sorted_ids, wanted), mirror.count - 1)
        rows[key] = by_id[places[sorted_ids[places] == wanted]]
    return rows


def near_row(terms: ScoreTerms, row: int, others: Rows, dots: Vector) -> Pairs:
    """The pairs of one cluster with others (k,); `dots` (k,) are the products of their sums."""
    return _near(terms, np.array([row]), others, dots[None, :])


def _near(terms: ScoreTerms, ones: Rows, others: Rows, dots: Matrix) -> Pairs:
    """The pairs of all `ones` (m,) with all `others` (k,), by the products (m, k) of their sums."""
    scores = terms.cluster_scores(ones[:, None], others, dots)
    near = np.flatnonzero(scores >= terms.needed_to_merge(ones[:, None], others))
    at, column = np.divmod(near, len(others))
    return _cohesive(terms, ones[at], others[column], scores[at, column], dots[at, column])


def _scored_each(mirror: Mirror, terms: ScoreTerms, with_rows: Mapping[int, Rows]) -> Pairs:
    """The near pairs of each row with the rows that it may merge with."""
    counts = [len(others) for others in with_rows.values()]
    ones, others = np.repeat(list(with_rows), counts), np.concatenate(list(with_rows.values()))
    dots = np.concatenate([mirror.sums[of] @ mirror.sums[row] for row, of in with_rows.items()])
    scores = terms.cluster_scores(ones, others, dots)
    near = np.flatnonzero(scores >= terms.needed_to_merge(ones, others))
    return _cohesive(terms, ones[near], others[near], scores[near], dots[near])


def _cohesive(terms: ScoreTerms, ones: Rows, others: Rows, scores: Vector, dots: Vector) -> Pairs:
    """The pairs but for a cluster with itself and, in adaptive linkage, those that would be too loose as one."""
    good = ones != others
    if terms.adaptive and len(ones):
        own, members = terms.cohesion, terms.members
        ahead = members[ones] - members[others]
        alike = np.minimum(own[ones], own[others])
        of_the_larger = np.where(ahead > 0, own[ones], np.where(ahead < 0, own[others], alike))
        needed = np.minimum(terms.needed_to_merge(ones, others), of_the_larger)
        good &= terms.united_cohesion(ones, others, dots) >= needed
    return Pairs(ones[good], others[good], scores[good])
