"""A mirror from Redis: clusters are read part by part, and the log is followed between two parts.

However many clusters there are, the log has to reach back over the time that one part takes, and no further.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from questream.clustering.mirror import ClusterMoved, ClusterRemoved, Mirror
from questream.errors import LostMemory
from questream.store.protocol import Tail
from questream.store.redis.codec import from_bytes, is_count, parse_exemplars, parse_features, parse_ruled, reading
from questream.store.redis.keys import Keys

_FIRST_PART = 1000
_SMALLEST_PART = 25
_LARGEST_PART = 4000

Follow = Callable[[str, str, int], Tail]


class MirrorLoad:
    """Loads one namespace's clusters; what one attempt learns about the log's speed, the next begins with.

    `follow` is `Store.tail`; what it raises is raised.
    """

    def __init__(self, client: Any, keys: Keys, namespace: str, log_entries: int, follow: Follow) -> None:
        self._client = client
        self._keys = keys
        self._namespace = namespace
        self._log_entries = log_entries
        self._follow = follow
        self._part = _FIRST_PART

    def fill(self, mirror: Mirror, cluster_ids: Sequence[int]) -> bool:
        """Read these clusters into a mirror at a seq, and bring it up to the head of the log.

        What changes meanwhile is in the log and is applied again, state by state. False where the log was trimmed
        before a part was read: then clusters may have come and gone unseen.
        """
        mirror.reserve(len(cluster_ids))
        removed: set[int] = set()
        start = 0
        while True:
            # One that is retired leaves Redis for good after a while.
            wanted = [i for i in cluster_ids[start : start + self._part] if i not in removed]
            mirror.apply(_read_centroids(self._client, self._keys, self._namespace, mirror.dimension, wanted))
            start += self._part
            tail = self._follow(self._namespace, mirror.store_epoch, mirror.seq)
            if tail.changes is None:
                self._part = max(_SMALLEST_PART, self._part // 4)
                return False
            removed.update(change.cluster_id for change in tail.changes if isinstance(change, ClusterRemoved))
            mirror.apply(tail.changes)
            mirror.seq = tail.seq
            if start >= len(cluster_ids):
                return True
            self._adapt(len(tail.changes))

    def _adapt(self, changes: int) -> None:
        """The less of the log the time of a part takes, the larger the next part."""
        if changes > self._log_entries // 8:
            self._part = max(_SMALLEST_PART, self._part // 4)
        elif changes < self._log_entries // 32:
            self._part = min(_LARGEST_PART, self._part * 2)


def _read_centroids(
    client: Any, keys: Keys, namespace: str, dimension: int, cluster_ids: Sequence[int]
) -> Iterator[ClusterMoved]:
    pipeline = client.pipeline(transaction=False)
    for cluster_id in cluster_ids:
        pipeline.hmget(
            keys.cluster(namespace, cluster_id),
            ["members", "sum", "merged_into", "retired", "features", "exemplars", "ruled"],
        )
    for cluster_id, fields in zip(cluster_ids, pipeline.execute(), strict=True):
        members, vector_sum, merged_into, retired, features, exemplars, ruled = fields
        if is_count(members) and vector_sum is not None and len(vector_sum) == 4 * dimension:
            with reading("a cluster"):
                constraints, threshold = parse_exemplars(exemplars), parse_ruled(ruled)[0].threshold
            centroid = int(members), from_bytes(vector_sum)
            yield ClusterMoved(cluster_id, *centroid, parse_features(features), constraints, threshold or 0.0)
        elif merged_into is None and retired is None:
            # A move to another model leaves it so as well: its next worker recovers the rest.
            raise LostMemory("a cluster is missing or cut short")
