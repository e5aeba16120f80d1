"""The clusters that a merged cluster may merge with, by those that its two parts come near to.

With a', c' and b' as `scores.py` centres and scales them, and u the cluster that a and c become,

    u'.b' = f a'.b' + g c'.b'        f = n_a w_a / (n_u w_u), g = n_c w_c / (n_u w_u)

where f + g is 1 at the most: w^2 is linear in s, hence w concave, but for the normalised centroid. So u'.b' is no more
than the larger of a'.b' and c'.b', if that is above 0, and what is far from both is far from u, also where u is as
loose as a cluster can be. Those near to the two are all that need a score with it; a product of u with all clusters
would read every sum for each merge.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from questream.clustering.mirror import Mirror, Rows
from questream.clustering.scores import ROUNDING, ScoreTerms

# Rows that are scored with all clusters at once: reading these is what costs, each row beside the first adds little.
ROWS_AT_ONCE = 64
_CLUSTERS_AT_ONCE = 4096
# Fewer stay in the cache, where a product with all of them costs less than to look up some.
_FEWEST_CLUSTERS = 8192
# Of clusters that come near to more than so many nothing is kept: 16 KiB for each that is.
_MOST_KEPT = 2048


class NearUnions:
    """By row, the rows (k,) of clusters that it, or any union with it that is made here, may merge with.

    That is of the clusters as the mirror has them: rows that merges have changed are beside it.
    """

    def __init__(self, mirror: Mirror, terms: ScoreTerms) -> None:
        self._mirror = mirror
        self._terms = terms
        self._near: dict[int, Rows | None] = {}
        largest_inverse = float(terms.inverse[: terms.count].max())
        self._rounding = ROUNDING * (1.0 + largest_inverse**2)
        self._largest_leeway = 0.5 - 0.5 * max(terms.least_threshold, 0.0) ** 2 if terms.adaptive else 0.0
        rules = terms.rules
        holds = rules.linkage != "centroid" and rules.merge_threshold > self._largest_leeway
        self._is_used = holds and mirror.count >= _FEWEST_CLUSTERS

    def knows(self, rows: Iterable[int]) -> bool:
        """True if some rows need no `score` before they unite."""
        return not self._is_used or all(row in self._near for row in rows)

    def unite(self, survivor: int, loser: int) -> Rows | None:
        """The rows that the union of two rows may merge with; None for all."""
        if not self._is_used:
            return None
        one, other = self._near[survivor], self._near.pop(loser)
        united = None if one is None or other is None else np.union1d(one, other)
        self._near[survivor] = united if united is not None and len(united) <= _MOST_KEPT else None
        return self._near[survivor]

    def score(self, rows: Iterable[int]) -> None:
        """Find what the first of some rows come near to; those that merges have changed are known."""
        new = [row for row in dict.fromkeys(rows) if row not in self._near][:ROWS_AT_ONCE]
        ones, sums = np.array(new, np.int64)[:, None], self._mirror.sums[new]
        # A union gets half of its leeway; these rows get what they lack of the largest that it can have.
        needed = self._terms.rules.merge_threshold - self._rounding
        needed_of = (needed - 0.5 * (self._largest_leeway - self._terms.leeway[new])).astype(np.float32)[:, None]
        found: list[tuple[Rows, Rows]] = []
        for start in range(0, self._mirror.count, _CLUSTERS_AT_ONCE):
            others = np.arange(start, min(start + _CLUSTERS_AT_ONCE, self._mirror.count))
            dots = sums @ self._mirror.sums[start : start + len(others)].T
            near = np.flatnonzero(self._terms.cluster_scores(ones, others, dots) >= needed_of)
            at, column = np.divmod(near, len(others))
            found.append((at, others[column]))
        places, near = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.argsort(places, kind="stable")
        counts = np.bincount(places, minlength=len(new))
        for row, some in zip(new, np.split(near[order], np.cumsum(counts)[:-1]), strict=True):
            self._near[row] = some if len(some) <= _MOST_KEPT else None
