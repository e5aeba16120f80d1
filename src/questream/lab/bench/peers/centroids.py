"""Clusters in the memory of one process, as tutorials keep them: running means, nearest first."""

from __future__ import annotations

import numpy as np

from questream.domain import Matrix, Vector

_FIRST_ROOM = 1024


class Centroids:
    """Sums of unit vectors; a vector joins the sum with the highest cosine, or begins one."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._sums: Matrix = np.empty((0, 0), np.float32)
        self._unit: Matrix = np.empty((0, 0), np.float32)
        self._count = 0

    def assign(self, vectors: Matrix) -> list[str]:
        """The cluster of each unit vector (n, d), one after the other, as c1, c2 and so on."""
        return [f"c{self._assign(vector) + 1}" for vector in vectors]

    def _assign(self, vector: Vector) -> int:
        if self._count:
            cosines = self._unit[: self._count] @ vector
            best = int(cosines.argmax())
            if cosines[best] >= self._threshold:
                self._put(best, self._sums[best] + vector)
                return best
        if self._count == len(self._sums):
            self._grow(len(vector))
        self._count += 1
        self._put(self._count - 1, vector)
        return self._count - 1

    def _put(self, row: int, vector_sum: Vector) -> None:
        self._sums[row] = vector_sum
        self._unit[row] = vector_sum / np.linalg.norm(vector_sum)

    def _grow(self, dimension: int) -> None:
        room = max(_FIRST_ROOM, 2 * len(self._sums))
        for name in ("_sums", "_unit"):
            grown = np.empty((room, dimension), np.float32)
            grown[: self._count] = getattr(self, name)[: self._count] if self._count else 0
            setattr(self, name, grown)
