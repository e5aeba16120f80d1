"""A worker's copy of one namespace's centroids, in rows that one matrix product can score."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from questream.clustering.constraints import Constraints
from questream.domain import Exemplar, Matrix, NamespaceRules, Vector

# Places of clusters in a mirror, or in some of its rows; and the clusters' own numbers.
Rows = NDArray[np.int64]
Ids = NDArray[np.int64]

_FIRST_CAPACITY = 256
_GROWTH = 1.5


@dataclass(frozen=True, slots=True)
class ClusterMoved:
    """A cluster is new or its centroid moved: the sum (d,) of its `members` centroid members.

    `kept` is what a second look compares with (`second_look/kept.py`), packed; None where that is as it was. So are
    `exemplars`, what people decided to belong to the cluster or not, and `threshold`, the one that it has of its own, 0
    for none.
    """

    cluster_id: int
    members: int
    vector_sum: Vector
    kept: bytes | None = None
    exemplars: tuple[Exemplar, ...] | None = None
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class ClusterRemoved:
    """A cluster left the index: merged into another or retired."""

    cluster_id: int


@dataclass(frozen=True, slots=True)
class MeanMoved:
    """The stream's mean learned: the sum (d,) over its first `questions` questions.

    `rules` are those that people set for the namespace, None where these are as they were.
    """

    questions: int
    vector_sum: Vector
    rules: NamespaceRules | None = None


Change = ClusterMoved | ClusterRemoved | MeanMoved


class Mirror:
    """The centroids of one namespace as raw sums, exactly as the store holds them at `seq` of a store epoch.

    `generation` counts how often the namespace was moved to another model, `rules` are those that people set for it.

    Rows are unordered; `row_of` maps a cluster id to its row. Everything a score needs derives from the raw sums, so
    the mean can move without rewriting a row.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.store_epoch = ""
        self.generation = 0
        self.seq = 0
        self.next_id = 1
        self.rules = NamespaceRules()
        self.count = 0
        self.row_of: dict[int, int] = {}
        self._mean = MeanMoved(0, np.zeros(dimension, np.float32))
        self._ids = np.zeros(_FIRST_CAPACITY, np.int64)
        self._members = np.zeros(_FIRST_CAPACITY, np.int64)
        self._sums: Matrix = np.zeros((_FIRST_CAPACITY, dimension), np.float32)
        # Kept beside the sums, since deriving them for all rows would read every sum for each batch.
        self._dot_mean = np.zeros(_FIRST_CAPACITY, np.float64)
        self._dot_self = np.zeros(_FIRST_CAPACITY, np.float64)
        self._kept: dict[int, bytes] = {}
        self._exemplars: dict[int, tuple[Exemplar, ...]] = {}
        self._constraints: Constraints | None = None
        self._thresholds: dict[int, float] = {}

    @property
    def ids(self) -> Ids:
        """Cluster ids by row, (count,)."""
        return self._ids[: self.count]

    @property
    def members(self) -> NDArray[np.int64]:
        """Centroid members by row, (count,)."""
        return self._members[: self.count]

    @property
    def sums(self) -> Matrix:
        """Raw sums by row, (count, dimension)."""
        return self._sums[: self.count]

    @property
    def dot_mean(self) -> NDArray[np.float64]:
        """Products of the sums with the mean's sum, by row (count,)."""
        return self._dot_mean[: self.count]

    @property
    def dot_self(self) -> NDArray[np.float64]:
        """Products of the sums with themselves, by row (count,)."""
        return self._dot_self[: self.count]

    @property
    def mean_questions(self) -> int:
        """The number of questions that the mean has learned from."""
        return self._mean.questions

    @property
    def mean_sum(self) -> Vector:
        """The raw sum (dimension,) of the questions that the mean has learned from."""
        return self._mean.vector_sum

    def vector_sum(self, cluster_id: int) -> Vector:
        """The raw sum (dimension,) of a cluster. Raises KeyError if it is not in the index."""
        row: Vector = self._sums[self.row_of[cluster_id]]
        return row

    def member_count(self, cluster_id: int) -> int:
        """The centroid members of a cluster. Raises KeyError if it is not in the index."""
        return int(self._members[self.row_of[cluster_id]])

    def kept(self, cluster_id: int) -> bytes:
        """The packed features of kept members, for the second look; empty for a cluster that keeps none."""
        return self._kept.get(cluster_id, b"")

    def exemplars(self, cluster_id: int) -> tuple[Exemplar, ...]:
        """The exemplars of clusters."""
        return self._exemplars.get(cluster_id, ())

    @property
    def constraints(self) -> Constraints:
        """The exemplars of all clusters; the same object until one of them changes."""
        if self._constraints is None:
            self._constraints = Constraints.of(self._exemplars, self.dimension)
        return self._constraints

    @property
    def thresholds(self) -> Mapping[int, float]:
        """The thresholds of clusters that have one of their own, by id; the same object until one changes."""
        return self._thresholds

    def reserve(self, count: int) -> None:
        """Make room for `count` clusters at once, as before a load of known size."""
        if count <= len(self._ids):
            return
        capacity = max(count, int(len(self._ids) * _GROWTH))
        self._ids = np.resize(self._ids, capacity)
        self._members = np.resize(self._members, capacity)
        self._dot_mean = np.resize(self._dot_mean, capacity)
        self._dot_self = np.resize(self._dot_self, capacity)
        sums = np.empty((capacity, self.dimension), np.float32)
        sums[: self.count] = self._sums[: self.count]
        self._sums = sums

    def apply(self, changes: Iterable[Change]) -> set[int]:
        """Follow the log; returns the rows whose content changed, as far as they are still in use."""
        rows: set[int] = set()
        for kind, run in itertools.groupby(changes, type):
            if kind is ClusterMoved:
                rows.update(self._put(cast("list[ClusterMoved]", list(run))))
                continue
            for change in run:
                match change:
                    case ClusterRemoved():
                        rows.update(self._remove(change.cluster_id))
                    case MeanMoved():
                        self._mean = change
                        self.rules = self.rules if change.rules is None else change.rules
                        self._dot_mean[: self.count] = self.sums @ change.vector_sum
        return {row for row in rows if row < self.count}

    def rows(self, cluster_ids: Sequence[int]) -> list[int]:
        """The rows of those of `cluster_ids` that are in the index."""
        return [self.row_of[cluster_id] for cluster_id in cluster_ids if cluster_id in self.row_of]

    def _put(self, changes: Sequence[ClusterMoved]) -> list[int]:
        """Put clusters where they are now, and return their rows; of one that is there twice the later change holds."""
        rows = [self._row(change) for change in changes]
        sums: Matrix = np.stack([change.vector_sum for change in changes])
        self._members[rows] = [change.members for change in changes]
        self._sums[rows] = sums
        # Each row by itself: workers that follow in other steps have the same products to the bit.
        self._dot_mean[rows] = np.einsum("ij,j->i", sums, self._mean.vector_sum)
        self._dot_self[rows] = np.einsum("ij,ij->i", sums, sums)
        return rows

    def _row(self, change: ClusterMoved) -> int:
        """The row of a cluster, which is opened where there is none; with all that is kept by id."""
        row = self.row_of.get(change.cluster_id)
        if row is None:
            self.reserve(self.count + 1)
            row = self.count
            self.count += 1
            self.row_of[change.cluster_id] = row
            self._ids[row] = change.cluster_id
            self.next_id = max(self.next_id, change.cluster_id + 1)
        if change.kept:
            self._kept[change.cluster_id] = change.kept
        if change.exemplars is not None and change.exemplars != self.exemplars(change.cluster_id):
            self._exemplars[change.cluster_id] = change.exemplars
            self._constraints = None
        if change.threshold is not None and change.threshold != self._thresholds.get(change.cluster_id, 0.0):
            own = {change.cluster_id: change.threshold} if change.threshold else {}
            self._thresholds = {i: one for i, one in self._thresholds.items() if i != change.cluster_id} | own
        return row

    def _remove(self, cluster_id: int) -> set[int]:
        row = self.row_of.pop(cluster_id, None)
        if row is None:
            return set()
        self._kept.pop(cluster_id, None)
        if self._exemplars.pop(cluster_id, ()):
            self._constraints = None
        if cluster_id in self._thresholds:
            self._thresholds = {i: one for i, one in self._thresholds.items() if i != cluster_id}
        self.count -= 1
        last = self.count
        if row != last:
            self._ids[row] = self._ids[last]
            self._members[row] = self._members[last]
            self._dot_mean[row] = self._dot_mean[last]
            self._dot_self[row] = self._dot_self[last]
            self._sums[row] = self._sums[last]
            self.row_of[int(self._ids[row])] = row
        return {row}
