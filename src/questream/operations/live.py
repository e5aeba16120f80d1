"""The live cluster behind an id."""

from __future__ import annotations

from questream.domain import ClusterState
from questream.store.aliases import follow_aliases
from questream.store.protocol import Store


def live_cluster(store: Store, namespace: str, cluster_id: int) -> ClusterState:
    """The live cluster of an id: itself, or the survivor of its merges. Raises KeyError if that is gone."""
    chain = follow_aliases(store, namespace, [cluster_id])[cluster_id]
    if not chain or chain[-1].merged_into is not None or chain[-1].event == "retired":
        raise KeyError(cluster_id)
    return chain[-1]
