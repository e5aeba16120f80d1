"""Which questions clusters are embedded from."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from questream.broker.decided import Place, Published


class Chosen:
    """The questions that clusters are embedded from: the first `limit` that each learned, and a sample of all.

    A centroid learns from the first members of its cluster, so these make it what it would have been. The sample makes
    the stream's mean.
    """

    def __init__(self, limit: int, sample: int, first_offsets: Mapping[int, int]) -> None:
        self._limit = limit
        self._sample_size = sample
        self._first_offsets = first_offsets
        self._random = Random(0)  # noqa: S311 - draws a sample, guards nothing
        self._seen = 0
        self.by_cluster: dict[int, list[Place]] = {}
        self.sample: list[Place] = []

    def note(self, published: Published) -> None:
        """Look at the next decision."""
        partition, offset = published.place
        if offset < self._first_offsets.get(partition, 0):
            return
        places = self.by_cluster.setdefault(published.cluster_id, [])
        if len(places) < self._limit:
            places.append(published.place)
        self._seen += 1
        if len(self.sample) < self._sample_size:
            self.sample.append(published.place)
        else:
            # Algorithm R (Vitter 1985).
            at = self._random.randrange(self._seen)
            if at < self._sample_size:
                self.sample[at] = published.place
