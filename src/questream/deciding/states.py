"""The states that the cluster topic tells, from how clusters stand in the store and where the mirror has them."""

from __future__ import annotations

from questream.clustering.mirror import Mirror
from questream.domain import ClusterEvent, ClusterState, NamespaceState
from questream.store.protocol import AppliedMerge, Identity, Standing


def live_state(namespace: str, model: str, standing: Standing, event: ClusterEvent, mirror: Mirror) -> ClusterState:
    """The state of a cluster that is in the index."""
    cluster_id = standing.cluster_id
    return ClusterState(
        cluster_id=cluster_id,
        namespace=namespace,
        event=event,
        size=standing.size,
        members=mirror.member_count(cluster_id),
        vector_sum=mirror.vector_sum(cluster_id).copy(),
        merged_into=None,
        representative=standing.representative,
        label=standing.label,
        route=standing.route,
        created_at=standing.created_at,
        last_seen_at=standing.last_seen_at,
        model=model,
        revision=standing.revision,
        in_flight=standing.in_flight,
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
