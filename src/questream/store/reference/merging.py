"""Merges in memory, by workers and by people."""

from __future__ import annotations

import uuid
from dataclasses import replace

from questream.clustering.kept_members import KeptMembers
from questream.clustering.merging import Merge, precedence
from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved
from questream.domain import InFlight, Naming, Ruling
from questream.store.protocol import REMAINS_KEPT, AppliedMerge, ClusterRow, Remains
from questream.store.reference.base import MemoryBase
from questream.store.reference.state import Cluster, Namespace


class MemoryMerging(MemoryBase):
    """Merges of two clusters."""

    def _merge_by_operation(self, state: Namespace, merge: Merge, ruling: Ruling) -> list[Change]:
        """Merge two clusters whose rulings the operation has set; returns its changes for the log."""
        survivor, loser = state.clusters[merge.survivor], state.clusters[merge.loser]
        revisions, labelled = (survivor.cluster_row.revision, loser.cluster_row.revision), survivor.labelled
        self._merge(state, merge, survivor, loser, ruling)
        for cluster, revision in zip((survivor, loser), revisions, strict=True):
            cluster.cluster_row = replace(cluster.cluster_row, revision=revision)
        survivor.labelled = labelled
        return merged_changes(merge, survivor.cluster_row)

    def _keep_remains(self, state: Namespace, survivor: Cluster, loser: Cluster) -> None:
        kept, lost, now = survivor.cluster_row, loser.cluster_row, self._clock()
        assert loser.vector_sum is not None  # noqa: S101 - it is live
        remains = Remains(
            uuid.uuid4().hex,
            lost.cluster_id,
            kept.cluster_id,
            lost.size,
            loser.members,
            loser.vector_sum,
            loser.features,
            lost.kept_members,
            tuple(one.name for one in lost.ruling.exemplars),
            replace(kept.ruling, exemplars=(), represented_by=None),
            tuple(one.name for one in kept.ruling.exemplars),
            kept.kept_members,
        )
        state.remains.pop(lost.cluster_id, None)
        state.remains[lost.cluster_id] = remains, lost.in_flight, now
        oldest = now - self._undo_seconds
        last = list(state.remains.items())[-REMAINS_KEPT:]
        state.remains = {i: one for i, one in last if one[2] > oldest}

    def _merge(self, state: Namespace, merge: Merge, survivor: Cluster, loser: Cluster, ruling: Ruling) -> AppliedMerge:
        kept, lost = survivor.cluster_row, loser.cluster_row
        survivor.members, survivor.vector_sum = merge.members, merge.vector_sum
        survivor.features, loser.features = merge.kept or survivor.features, b""
        survivor.cluster_row = replace(
            kept.ruled(ruling),
            size=kept.size + lost.size,
            revision=kept.revision + 1,
            operation=max(kept.operation, lost.operation),
            created_at=min(kept.created_at, lost.created_at),
            last_seen_at=max(kept.last_seen_at, lost.last_seen_at),
            in_flight=absorbing(kept.in_flight, merge.loser, lost.in_flight),
            kept_members=united_kept(lost.kept_members, kept.kept_members),
        )
        survivor.labelled = False
        loser.members, loser.vector_sum, loser.merged_into = 0, None, merge.survivor
        loser.merged_at = survivor.cluster_row.last_seen_at
        loser.cluster_row = replace(
            lost,
            revision=lost.revision + 1,
            in_flight=InFlight(),
            ruling=replace(lost.ruling, exemplars=()),
            kept_members="",
        )
        state.outbox[merge.survivor] = state.outbox[merge.loser] = self._clock()
        return AppliedMerge(merge, survivor.cluster_row, loser.cluster_row)


def united_kept(known: str, later: str) -> str:
    """The references of a cluster once `later` questions have joined it."""
    if not known or not later:
        return known or later
    return str(KeptMembers.parse(known).joined_by(KeptMembers.parse(later)))


def absorbing(kept: InFlight, loser: int, lost: InFlight) -> InFlight:
    """The questions in flight of a cluster that has absorbed another."""
    joins = {at: kept.joins.get(at, ()) + lost.joins.get(at, ()) for at in {**kept.joins, **lost.joins}}
    return InFlight(joins, (loser, *kept.absorbed, *lost.absorbed))


def merged_changes(merge: Merge, survivor: ClusterRow) -> list[Change]:
    """The log entries of a merge."""
    return [
        ClusterRemoved(merge.loser),
        ClusterMoved(merge.survivor, merge.members, merge.vector_sum, merge.kept, survivor.ruling.exemplars or None),
    ]


def _naming(cluster: Cluster) -> Naming:
    return cluster.cluster_row.label, cluster.cluster_row.route


def precedence_of(cluster: Cluster) -> tuple[bool, bool, int, int]:
    """By what a cluster survives a merge."""
    row = cluster.cluster_row
    return precedence(_naming(cluster), row.size, row.cluster_id, row.ruling.kept_in)
