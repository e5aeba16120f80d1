"""The present clusters in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from questream.domain import ClusterState
from questream.store.reference.base import MemoryBase
from questream.store.reference.state import recovery_needed, state_of


class MemoryClusters(MemoryBase):
    """The part of the protocol Clusters, but for retirement."""

    def label(self, namespace: str, cluster_id: int, label: str | None, route: str | None) -> ClusterState:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise recovery_needed(namespace)
            cluster = state.clusters[cluster_id]
            while cluster.merged_into is not None:
                cluster = state.clusters[cluster.merged_into]
            if cluster.retired:
                raise KeyError(cluster_id)
            old = cluster.cluster_row
            ruling = replace(
                old.ruling,
                label=old.label if label is None else label or None,
                route=old.route if route is None else route or None,
            )
            cluster.cluster_row = replace(old, ruling=ruling, revision=old.revision + 1)
            cluster.labelled = True
            state.outbox[old.cluster_id] = self._clock()
            return state_of(namespace, state, old.cluster_id)

    def cluster(self, namespace: str, cluster_id: int) -> ClusterState | None:
        with self._lock:
            state = self._get(namespace)
            return state_of(namespace, state, cluster_id) if cluster_id in state.clusters else None

    def states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        with self._lock:
            state = self._get(namespace)
            return [state_of(namespace, state, i) for i in cluster_ids if i in state.clusters]

    def clusters(self, namespace: str) -> Iterator[ClusterState]:
        with self._lock:
            state = self._get(namespace)
            live = [i for i, cluster in sorted(state.clusters.items()) if cluster.vector_sum is not None]
            states = [state_of(namespace, state, cluster_id) for cluster_id in live]
        yield from states

    def summaries(self, namespace: str) -> Iterator[ClusterState]:
        return (replace(state, vector_sum=None) for state in self.clusters(namespace))
