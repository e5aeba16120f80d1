"""The intents of a namespace: groups of the clusters that stand in the store now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from questream.clustering.levels import Leaves, LevelRules, Levels, Node, leaves_of, regroup
from questream.domain import ClusterState, format_cluster_id
from questream.errors import QuestreamError
from questream.store.protocol import Store

# Finding them compares each cluster with each other: so many take about 12 s of a processor.
MOST_GROUPED = 20_000


@dataclass(frozen=True, slots=True)
class Intent:
    """Clusters of one intent, the largest first, and the largest cluster of all that are of its topic."""

    clusters: tuple[ClusterState, ...]
    topic: int

    @property
    def size(self) -> int:
        """Questions of all its clusters."""
        return sum(state.size for state in self.clusters)


def find_intents(store: Store, namespace: str, most: int = MOST_GROUPED) -> list[Intent]:
    """Group the live clusters of a namespace, the largest intent first. Nothing is stored.

    A cluster that no other is near to is an intent by itself. Raises QuestreamError for more than `most`.
    """
    mirror = store.load(namespace)
    if mirror.count > most:
        raise QuestreamError(
            f"{mirror.count:,} clusters are more than the {most:,} that can be grouped at once",
            "let unused clusters retire (`clusters.retention_seconds`, `clusters.max_clusters`)",
        )
    if not mirror.count:
        return []
    states = {state.cluster_id: state for state in store.summaries(namespace)}
    leaves = leaves_of(mirror, {number: state.size for number, state in states.items()})
    levels = regroup(leaves, Levels(), LevelRules()).levels
    return _intents(leaves, levels, states)


def as_document(intent: Intent) -> dict[str, Any]:
    """An intent as JSON tells it; it and its topic are named by their largest clusters."""
    first = intent.clusters[0]
    return {
        "largest_cluster": format_cluster_id(first.cluster_id),
        "namespace": first.namespace,
        "size": intent.size,
        "clusters": [format_cluster_id(state.cluster_id) for state in intent.clusters],
        "labels": sorted({state.label for state in intent.clusters if state.label}),
        "largest_cluster_of_topic": format_cluster_id(intent.topic),
        "representative": first.representative,
    }


def _intents(leaves: Leaves, levels: Levels, states: dict[int, ClusterState]) -> list[Intent]:
    members: dict[Node, list[ClusterState]] = {}
    largest: dict[Node, ClusterState] = {}
    # The largest first, of equal ones the older: so each group begins with its largest.
    known = [states[number] for number in leaves.ids.tolist() if number in states]
    for state in sorted(known, key=_rank):
        _, intent, topic = levels.path(state.cluster_id)
        members.setdefault(intent, []).append(state)
        largest.setdefault(topic, state)
    found = [
        Intent(tuple(clusters), largest[levels.path(clusters[0].cluster_id)[2]].cluster_id)
        for clusters in members.values()
    ]
    return sorted(found, key=lambda intent: (-intent.size, intent.clusters[0].cluster_id))


def _rank(state: ClusterState) -> tuple[int, int]:
    return -state.size, state.cluster_id
