"""The clusters of a running stream, looked at."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from questream.domain import ClusterState, format_cluster_id
from questream.errors import QuestreamError
from questream.records.states import chosen_document
from questream.records.times import format_time
from questream.settings import Settings
from questream.store.aliases import follow_aliases
from questream.store.protocol import Store
from questream.store.redis.store import RedisStore, open_store


class NoSuchCluster(QuestreamError):
    """A namespace has no cluster of that id, or no longer."""

    def __init__(self, cluster_id: int, namespace: str) -> None:
        super().__init__(
            f"there is no cluster {format_cluster_id(cluster_id)} in namespace {namespace!r}",
            "the list of clusters has those that are there",
        )


def open_namespace(settings: Settings, namespace: str | None) -> tuple[RedisStore, str]:
    """The store, and the namespace asked for, else that of the settings. Raises QuestreamError if it is not there."""
    store = open_store(settings.redis, settings.clusters.log_entries, settings.clusters.undo_seconds)
    chosen = namespace or settings.clusters.namespace
    if store.namespace_state(chosen) is None:
        known = ", ".join(store.namespaces()) or "none yet"
        raise QuestreamError(f"there is no namespace {chosen!r}", f"there are: {known}")
    return store, chosen


def lineage(store: Store, namespace: str, cluster_id: int) -> list[ClusterState]:
    """The cluster, and what it was merged into, one after the other; the last one lives. Raises NoSuchCluster."""
    states = follow_aliases(store, namespace, [cluster_id])[cluster_id]
    if not is_live(states):
        raise NoSuchCluster(cluster_id, namespace)
    return states


def is_live(chain: Sequence[ClusterState]) -> bool:
    """True if a chain of `follow_aliases` leads to a live cluster."""
    return bool(chain) and chain[-1].merged_into is None and chain[-1].event != "retired"


def as_document(state: ClusterState) -> dict[str, Any]:
    """A cluster as a JSON document, without its vector."""
    return {
        "cluster_id": format_cluster_id(state.cluster_id),
        "namespace": state.namespace,
        "size": state.size,
        "members": state.members,
        "label": state.label,
        "route": state.route,
        "created_at": format_time(state.created_at),
        "last_seen_at": format_time(state.last_seen_at),
        "model": state.model,
        "representative": state.representative,
        "status": state.status,
        "muted": state.ruling.muted,
        "pinned": state.ruling.pinned,
        "threshold": state.ruling.threshold,
        "represented_by": chosen_document(state.ruling.represented_by),
    }
