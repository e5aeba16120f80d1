"""Clusters in Redis, read, named and retired."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

from questream.domain import ClusterState
from questream.errors import LostMemory
from questream.store.redis.calls import RedisCalls, chunked, on_namespace
from questream.store.redis.codec import STATE_FIELDS, SUMMARY_FIELDS, parse_state
from questream.store.redis.failures import translated
from questream.store.redis.retiring import RedisRetirement
from questream.store.retention import Retention, Retired


class RedisClusters(RedisCalls):
    """The protocol Clusters."""

    @functools.cached_property
    def _retirement(self) -> RedisRetirement:
        return RedisRetirement(self._client, self._keys, self._scripts["retire"], self._log_entries)

    @on_namespace
    def cluster(self, namespace: str, cluster_id: int) -> ClusterState | None:
        return self._state(namespace, cluster_id)

    @on_namespace
    def states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        return [state for chunk in chunked(cluster_ids) for state in self._whole_states(namespace, chunk)]

    def clusters(self, namespace: str) -> Iterator[ClusterState]:
        return self._live_states(namespace, STATE_FIELDS)

    def summaries(self, namespace: str) -> Iterator[ClusterState]:
        return self._live_states(namespace, SUMMARY_FIELDS)

    @on_namespace
    def label(self, namespace: str, cluster_id: int, label: str | None, route: str | None) -> ClusterState:
        fields = [
            part for name, text in (("label", label), ("route", route)) if text is not None for part in (name, text)
        ]
        self.require_rights(namespace)
        while True:
            state = self._state(namespace, cluster_id)
            if state is None or state.event == "retired":
                raise KeyError(cluster_id)
            cluster_id = state.merged_into or cluster_id
            if state.merged_into is not None:
                continue
            keys = [
                self._keys.cluster(namespace, cluster_id),
                self._keys.of(namespace, "outbox"),
                self._keys.of(namespace, "meta"),
            ]
            # 0 where it was merged away in between: then its survivor is labelled.
            if self._scripts["label"](keys=keys, args=[cluster_id, *fields]):
                labelled = self._state(namespace, cluster_id)
                if labelled is not None:
                    return labelled

    @on_namespace
    def retire(self, namespace: str, retention: Retention, limit: int) -> Retired:
        return self._retirement.retire(namespace, retention, limit)

    def _state(self, namespace: str, cluster_id: int) -> ClusterState | None:
        states = self._whole_states(namespace, [cluster_id])
        return states[0] if states else None

    def _live_states(self, namespace: str, fields: list[str]) -> Iterator[ClusterState]:
        for chunk in chunked(self._live_ids(namespace)):
            yield from self._states(namespace, chunk, fields)

    @translated()
    def _states(self, namespace: str, cluster_ids: Sequence[int], fields: list[str]) -> list[ClusterState]:
        pipeline = self._client.pipeline(transaction=False)
        for cluster_id in cluster_ids:
            pipeline.hmget(self._keys.cluster(namespace, cluster_id), fields)
        model = self._model(namespace)
        return [
            parse_state(namespace, cluster_id, model, values)
            for cluster_id, values in zip(cluster_ids, pipeline.execute(), strict=True)
            if values[2] is not None
        ]

    def _whole_states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        """Raises LostMemory where one is cut short, or missing though an index names it."""
        states = self._states(namespace, cluster_ids, STATE_FIELDS)
        if any(state.vector_sum is None and state.event not in ("merged", "retired") for state in states):
            # Never published to the cluster topic: newer states there would be overwritten.
            raise LostMemory("a cluster is cut short")
        found = {state.cluster_id for state in states}
        self._require_unnamed(namespace, [i for i in cluster_ids if i not in found])
        return states

    def _require_unnamed(self, namespace: str, missing: Sequence[int]) -> None:
        """A cluster that is not there may be in no index either. Raises LostMemory."""
        for chunk in chunked(missing):
            pipeline = self._client.pipeline(transaction=False)
            for cluster_id in chunk:
                pipeline.zscore(self._keys.of(namespace, "idle"), cluster_id)
                pipeline.zscore(self._keys.of(namespace, "aliases"), cluster_id)
            if any(score is not None for score in pipeline.execute()):
                raise LostMemory("a cluster is missing")
