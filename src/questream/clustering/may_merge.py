"""The clusters that may merge with one that a question has just joined, by the scores that the question got anyway.

The question q was scored against every cluster b before it joined a. With q', a' and b' the three as `scores.py`
centres and scales them, |q'| = 1 and c = |b'|^2 the cohesion of b,

    a'.b' <= q'.a' q'.b' + s sqrt(c - (q'.b')^2)        s^2 = |a'|^2 - (q'.a')^2

which is the triangle inequality for the angles between them. It leaves a least q'.b' at which b can merge with a,
whatever its cohesion and the leeway that it gives. Few clusters reach that; the others need no score with a.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from questream.clustering.mirror import Change, Ids, MeanMoved
from questream.clustering.scan import LEAST_SELECTIVE, NearClusters
from questream.clustering.scores import ROUNDING, ScoreTerms
from questream.domain import Matrix

# With a larger share of all clusters, those that may merge are too many to be worth noting.
_LARGEST_SHARE = 1 / 4


@dataclass(frozen=True, slots=True)
class MayMerge:
    """Of clusters that a batch moved, the ids (k,) of those that may merge with each; of `unsure` nothing is known.

    What holds is of the clusters as of the end of the batch and of the mean that they were scored with.
    """

    with_cluster: Mapping[int, Ids]
    unsure: Collection[int]

    def without(self, changes: Iterable[Change] | None) -> MayMerge | None:
        """The part that still holds after these other changes of the log; None where nothing does."""
        if changes is None:
            return None
        moved = set(self.unsure)
        for change in changes:
            if isinstance(change, MeanMoved):
                return None
            moved.add(change.cluster_id)
        return MayMerge(self.with_cluster, moved)

    def renumbered(self, own: int, shift: int, moved: Collection[int]) -> MayMerge:
        """The part that holds after others `moved` or opened clusters; numbers from `own` on are larger by `shift`."""

        def numbered(ids: Ids) -> Ids:
            return np.where(ids >= own, ids + shift, ids)

        with_cluster = {i + shift if i >= own else i: numbered(near) for i, near in self.with_cluster.items()}
        unsure = {i + shift if i >= own else i for i in self.unsure}
        return MayMerge(with_cluster, unsure.union(moved))


class Neighbours:
    """Of each cluster that questions of a batch join, those that may merge with it then.

    `ids` are the clusters of the rows of `products`; `others` are those beside them, which the batch does not move.
    """

    def __init__(self, products: ScoreTerms, ids: Ids, others: NearClusters) -> None:
        self.of: dict[int, Ids] = {}
        self._products = products
        self._ids = ids
        self._others = others
        self._largest_inverse = float(products.inverse[: products.count].max(initial=others.largest_inverse))

    def note(
        self, question: int, row: int, dot: float, constant: float, length: float, scores: Matrix, taken: list[int]
    ) -> None:
        """A question has joined `row`, with whose sum its product is `dot` now.

        `scores` (count,) are its scores times `length`, but for the rows `taken` out of them.
        """
        cluster_id = int(self._ids[row])
        self.of.pop(cluster_id, None)
        least = self._least(row, dot, constant, length)
        others = self._others.of(question, least) if least >= LEAST_SELECTIVE else None
        if others is None:
            return
        near = np.flatnonzero(scores >= np.float32((least + self._products.least_leeway) * length))
        near = near[scores[near] - np.float32(length) * self._products.leeway[near] >= np.float32(least * length)]
        if len(near) + len(others) <= max(1, _LARGEST_SHARE * max(len(scores), self._others.clusters)):
            ids = self._ids[np.concatenate([near, np.array(taken, np.int64)])]
            self.of[cluster_id] = np.concatenate([ids, others])

    def _least(self, row: int, dot: float, constant: float, length: float) -> float:
        products = self._products
        inverse = float(products.inverse[row])
        nearness = (dot * float(products.scale[row]) + float(products.shift[row]) + constant * inverse) / length
        if nearness <= 0.0:
            return -math.inf
        # Where the mean takes nearly all of a vector off, little but its rounding is left.
        rounding = ROUNDING * (1.0 + max(self._largest_inverse, inverse) / length)
        beside = math.sqrt(max(float(products.cohesion[row]) - nearness**2, 0.0) + 4.0 * rounding)
        needed = products.rules.merge_threshold - 0.5 * float(products.leeway[row]) - 4.0 * rounding
        return _least_score(nearness, beside, needed, adaptive=products.adaptive) - rounding


def _least_score(nearness: float, beside: float, needed: float, *, adaptive: bool) -> float:
    """The least q'.b' at which q'.a' q'.b' + s sqrt(c - (q'.b')^2) and half of b's leeway can come to `needed`.

    `nearness` is q'.a' and above 0, `beside` is s. In adaptive linkage half the leeway is (1 - c) / 4 at the most, and
    the c that gives most is 1, or where sqrt(c - (q'.b')^2) is 2 s. Infinite where no b can.
    """
    if needed <= 0.0:
        return -1.0
    square = nearness**2 + beside**2
    least = math.inf
    if needed**2 <= square:
        least = (nearness * needed - beside * math.sqrt(square - needed**2)) / square
    of_loose = 4.0 * (nearness**2 - needed + beside**2) + 1.0
    if adaptive and 2.0 * beside < 1.0 and of_loose >= 0.0:
        loose = 2.0 * nearness - math.sqrt(of_loose)
        if loose <= math.sqrt(1.0 - 4.0 * beside**2):
            least = min(least, loose)
    return least
