"""The intents of a namespace: as a worker found them last, else groups of the clusters in the store now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from questream.clustering.levels import Leaves, LevelRules, Levels, Node, leaves_of, regroup
from questream.deciding.level_runs import current_levels
from questream.domain import ClusterState, format_cluster_id
from questream.errors import QuestreamError
from questream.store.protocol import Store

# Finding them compares each cluster with each other: so many take about 12 s of a processor.
MOST_GROUPED = 20_000


@dataclass(frozen=True, slots=True)
class Intent:
    """Clusters of one intent, the largest first, and the largest cluster of all that are of its topic.

    `path` has the ids of the first cluster, its intent and its topic, where the store has levels.
    """

    clusters: tuple[ClusterState, ...]
    topic: int
    path: tuple[Node, ...] | None = None

    @property
    def size(self) -> int:
        """Questions of all its clusters."""
        return sum(state.size for state in self.clusters)


def find_intents(
    store: Store, namespace: str, most: int = MOST_GROUPED, rules: LevelRules | None = None
) -> list[Intent]:
    """The live clusters of a namespace by intent, the largest intent first: as stored, with new clusters where those
    near to them are; grouped now by `rules`, and nothing stored, where no worker has found levels yet.

    A cluster that no other is near to is an intent by itself. Raises QuestreamError for more than `most` to group now.
    """
    rules = rules or LevelRules()
    mirror, stored = store.load(namespace), store.levels(namespace)
    if not stored.version and mirror.count > most:
        raise QuestreamError(
            f"{mirror.count:,} clusters are more than the {most:,} that can be grouped at once",
            "let unused clusters retire (`clusters.retention_seconds`, `clusters.max_clusters`)",
        )
    if not mirror.count:
        return []
    states = {state.cluster_id: state for state in store.summaries(namespace)}
    leaves = leaves_of(mirror, {number: state.size for number, state in states.items()})
    if stored.version:
        levels = current_levels(mirror, stored, rules)
    else:
        levels = regroup(leaves, Levels(), rules.in_force(mirror.rules)).levels
    return _intents(leaves, levels, states, are_stored=bool(stored.version))


def as_document(intent: Intent) -> dict[str, Any]:
    """An intent as a JSON document; it and its topic have ids where a worker has found them, null before."""
    first = intent.clusters[0]
    _, intent_id, topic_id = intent.path or (None, None, None)
    return {
        "intent_id": None if intent_id is None else str(intent_id),
        "topic_id": None if topic_id is None else str(topic_id),
        "largest_cluster": format_cluster_id(first.cluster_id),
        "namespace": first.namespace,
        "size": intent.size,
        "clusters": [format_cluster_id(state.cluster_id) for state in intent.clusters],
        "labels": sorted({state.label for state in intent.clusters if state.label}),
        "largest_cluster_of_topic": format_cluster_id(intent.topic),
        "representative": first.representative,
    }


def _intents(leaves: Leaves, levels: Levels, states: dict[int, ClusterState], *, are_stored: bool) -> list[Intent]:
    members: dict[Node, list[ClusterState]] = {}
    largest: dict[Node, ClusterState] = {}
    # The largest first, of equal ones the older: so each group begins with its largest.
    known = [states[number] for number in leaves.ids.tolist() if number in states]
    for state in sorted(known, key=_rank):
        _, intent, topic = levels.path(state.cluster_id)
        members.setdefault(intent, []).append(state)
        largest.setdefault(topic, state)
    found = [
        Intent(tuple(clusters), largest[path[2]].cluster_id, path if are_stored else None)
        for clusters in members.values()
        for path in [levels.path(clusters[0].cluster_id)]
    ]
    return sorted(found, key=lambda intent: (-intent.size, intent.clusters[0].cluster_id))


def _rank(state: ClusterState) -> tuple[int, int]:
    return -state.size, state.cluster_id
