"""Retirement in memory."""

from __future__ import annotations

from dataclasses import replace

from questream.clustering.mirror import ClusterRemoved
from questream.domain import UNRULED, InFlight
from questream.store.reference.base import MemoryBase
from questream.store.reference.state import Cluster, Namespace, drop_remains, members_of, recovery_needed
from questream.store.retention import Due, Index, Retention, Retired, due_by_age, due_for_room, excess


class MemoryRetirement(MemoryBase):
    """Retirement of clusters, by age and for room."""

    def retire(self, namespace: str, retention: Retention, limit: int) -> Retired:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise recovery_needed(namespace)
            self._forget(state)
            retired = Retired()
            live = sorted(seen for seen, _ in members_of(state, "idle"))
            for due in due_by_age(retention, live[-1] if live else 0):
                retired.add(due.reason, self._retire(state, due, limit, retention))
            while gone := self._make_room(state, retention, limit):
                retired.add("full", gone)
                limit -= len(gone)
            return retired

    def _make_room(self, state: Namespace, retention: Retention, limit: int) -> list[int]:
        live = sorted(seen for seen, _ in members_of(state, "idle"))
        too_many = min(limit, excess(retention, len(live)))
        for due in due_for_room(Index(len(live), live[-1], live[(len(live) - 1) // 2])) if too_many else ():
            gone = self._retire(state, due, too_many, retention)
            if gone:
                return gone
        return []

    def _retire(self, state: Namespace, due: Due, most: int, retention: Retention) -> list[int]:
        """Retire `most` of what is due, those last seen the longest ago first."""
        oldest = 0 if due.timeless else 1
        # As Redis has them: ids that were seen at the same time are in the order of their texts.
        found = sorted((seen, str(i)) for seen, i in members_of(state, due.among) if oldest <= seen <= due.until)
        ids = [
            i for i in (int(text) for _, text in found) if due.among == "aliases" or not _is_kept(state.clusters[i])
        ][:most]
        for i in ids:
            self._make_stub(state, i, retention.tombstone_seconds)
        self._log(state, [] if due.among == "aliases" else [ClusterRemoved(i) for i in ids])
        return ids

    def _make_stub(self, state: Namespace, i: int, tombstone_seconds: float) -> None:
        cluster, old = state.clusters[i], state.clusters[i].cluster_row
        cluster.members, cluster.vector_sum, cluster.merged_into, cluster.retired = 0, None, None, True
        cluster.features = b""
        cluster.labelled = False
        cluster.cluster_row = replace(
            old,
            revision=old.revision + 1,
            representative=None,
            own_representative=None,
            in_flight=InFlight(),
            ruling=UNRULED,
            operation=0,
            kept_members="",
        )
        state.outbox[i] = self._clock() + tombstone_seconds

    def _forget(self, state: Namespace) -> None:
        now = self._clock()
        for i in [i for i, c in state.clusters.items() if c.forgotten_at is not None and c.forgotten_at <= now]:
            del state.clusters[i]
            drop_remains(state, i)


def _is_kept(cluster: Cluster) -> bool:
    return cluster.cluster_row.ruling != UNRULED
