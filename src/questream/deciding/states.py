"""The states that the cluster topic gets, from the rows in the store and the centroids of the mirror."""

from __future__ import annotations

from dataclasses import replace

from questream.clustering.mirror import Mirror
from questream.domain import ClusterEvent, ClusterState, InFlight, NamespaceState
from questream.store.protocol import AppliedMerge, ClusterRow, Identity


def live_state(
    namespace: str, model: str, cluster_row: ClusterRow, event: ClusterEvent, mirror: Mirror
) -> ClusterState:
    """The state of a cluster that is in the index."""
    cluster_id = cluster_row.cluster_id
    members, vector_sum = mirror.member_count(cluster_id), mirror.vector_sum(cluster_id).copy()
    features = mirror.kept(cluster_id)
    return cluster_row.state(namespace, event, model, members=members, vector_sum=vector_sum, features=features)


def merged_state(namespace: str, model: str, applied: AppliedMerge) -> ClusterState:
    """The last state of a cluster that was merged away."""
    loser = replace(applied.loser, in_flight=InFlight())
    return loser.state(namespace, "merged", model, merged_into=applied.merge.survivor)


def namespace_state(namespace: str, identity: Identity, mirror: Mirror) -> NamespaceState:
    """The namespace as the mirror has it."""
    rules = mirror.rules
    return NamespaceState(
        namespace=namespace,
        model=identity.model,
        model_revision=identity.revision,
        similarity=identity.similarity,
        linkage=rules.linkage or identity.linkage,
        threshold=identity.threshold if rules.threshold is None else rules.threshold,
        next_cluster=mirror.next_id,
        mean_questions=mirror.mean_questions,
        mean_sum=mirror.mean_sum,
        seq=mirror.seq,
        generation=mirror.generation,
        rules=rules,
    )
