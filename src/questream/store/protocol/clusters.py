"""Clusters as people see them: read, named and retired."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from questream.domain import ClusterState
from questream.store.retention import Retention, Retired


class Clusters(Protocol):
    """The clusters of a namespace."""

    def cluster(self, namespace: str, cluster_id: int) -> ClusterState | None:
        """One cluster, live, merged or lately retired, or None."""

    def states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        """The states of the clusters that `cluster` knows, in this order."""

    def clusters(self, namespace: str) -> Iterator[ClusterState]:
        """All live clusters."""

    def summaries(self, namespace: str) -> Iterator[ClusterState]:
        """All live clusters, without their vectors: for people, and much quicker."""

    def label(self, namespace: str, cluster_id: int, label: str | None, route: str | None) -> ClusterState:
        """Set a cluster's label and route; None leaves it as it is, an empty text removes it.

        Follows merges. Raises KeyError if there is no such cluster, RecoveryNeeded.
        """

    def retire(self, namespace: str, retention: Retention, limit: int) -> Retired:
        """Take clusters, and ids that were merged away, out of the index that are due by `retention`.

        About `limit` of each kind at most: call again for more. A cluster that is seen anew, or has a label or a route,
        stays. What left is in `unpublished` once `tombstone_seconds` have passed, and its state is `retired` until ten
        minutes after that is confirmed. No number is ever given again.
        """
