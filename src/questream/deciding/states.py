"""The states that the cluster topic gets, from how clusters stand in the store and where the mirror has them."""

from __future__ import annotations

from questream.clustering.mirror import Mirror
from questream.domain import ClusterEvent, ClusterState, NamespaceState
from questream.store.protocol import AppliedMerge, ClusterRow, Identity


def live_state(
    namespace: str, model: str, cluster_row: ClusterRow, event: ClusterEvent, mirror: Mirror
) -> ClusterState:
    """The state of a cluster that is in the index."""
    cluster_id = cluster_row.cluster_id
    return ClusterState(
        cluster_id=cluster_id,
        namespace=namespace,
        event=event,
        size=cluster_row.size,
        members=mirror.member_count(cluster_id),
        vector_sum=mirror.vector_sum(cluster_id).copy(),
        merged_into=None,
        representative=cluster_row.representative,
        label=cluster_row.label,
        route=cluster_row.route,
        created_at=cluster_row.created_at,
        last_seen_at=cluster_row.last_seen_at,
        model=model,
        revision=cluster_row.revision,
        in_flight=cluster_row.in_flight,
        pinned=cluster_row.pinned,
        separations=cluster_row.separations,
        operation=cluster_row.operation,
    )


def merged_state(namespace: str, model: str, applied: AppliedMerge) -> ClusterState:
    """The last state of a cluster that was merged away."""
    loser = applied.loser
    return ClusterState(
        cluster_id=loser.cluster_id,
        namespace=namespace,
        event="merged",
        size=loser.size,
        members=0,
        vector_sum=None,
        merged_into=applied.merge.survivor,
        representative=loser.representative,
        label=loser.label,
        route=loser.route,
        created_at=loser.created_at,
        last_seen_at=loser.last_seen_at,
        model=model,
        revision=loser.revision,
        pinned=loser.pinned,
        separations=loser.separations,
        operation=loser.operation,
    )


def namespace_state(namespace: str, identity: Identity, mirror: Mirror) -> NamespaceState:
    """The namespace as the mirror has it."""
    return NamespaceState(
        namespace=namespace,
        model=identity.model,
        model_revision=identity.revision,
        similarity=identity.similarity,
        linkage=identity.linkage,
        threshold=identity.threshold,
        next_cluster=mirror.next_id,
        mean_questions=mirror.mean_questions,
        mean_sum=mirror.mean_sum,
        seq=mirror.seq,
        generation=mirror.generation,
    )
