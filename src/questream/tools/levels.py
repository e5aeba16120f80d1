"""Intents and topics of a running stream as a worker found them last: listed, and one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from questream.clustering.levels import LEVEL_NAMES, LevelRules, Node, leaves_within
from questream.clustering.stored_levels import StoredLevels, Within
from questream.deciding.level_runs import current_levels
from questream.deciding.paths import LevelsNow, clusters_within
from questream.domain import UNNAMED, ClusterState, Naming, format_cluster_id
from questream.errors import QuestreamError
from questream.naming.names import Vocabulary, name_of
from questream.store.protocol import Store
from questream.tools.communities import Clusters, Communities, Community, Places

# The clusters of these ids that are there.
StatesOf = Callable[[Sequence[int]], Iterable[ClusterState]]


def read_communities(store: Store, namespace: str) -> Communities:
    """The levels of a namespace, with new clusters beside the clusters near to them.

    Raises QuestreamError where no worker has found any.
    """
    stored = store.levels(namespace)
    if not stored.version:
        raise QuestreamError(
            f"no worker has found intents and topics of namespace {namespace!r} yet",
            "let one run with `levels.enabled`, or group the present clusters: questream clusters intents",
        )
    levels = current_levels(store.load(namespace), stored, LevelRules())
    return Communities(stored, Clusters.of(store.summaries(namespace)), Places.of(levels))


def read_within(store: Store, namespace: str, cluster_id: int) -> Within | None:
    """The intent and topic of a cluster, None where they are not known."""
    stored = store.levels(namespace)
    if stored.knows(cluster_id):
        return stored.within(stored.levels.path(cluster_id))
    return clusters_within(LevelsNow.of(stored), store.load(namespace), [cluster_id], LevelRules()).get(cluster_id)


def title_of(
    node: Node, stored: StoredLevels, states_of: StatesOf, name: Callable[[ClusterState], str | None]
) -> str | None:
    """The title of an intent or topic, as in a list of its level, without clusters that are newer than the levels.

    `name` names a cluster. None where none of its clusters is there any more.
    """
    found = sorted(
        states_of(leaves_within([node], stored.levels.children())), key=lambda state: (-state.size, state.cluster_id)
    )
    own, _ = stored.naming_of(node)
    return own or (name(found[0]) if found else None)


def within_document(within: Within | None) -> dict[str, Any]:
    """The place of a cluster as a JSON document: its path as a decision has it, null where it is not known.

    `inherited` is the label and the route that its questions have where it has none itself; `levels` are the intent and
    the topic that it is in, with what people named these.
    """
    if within is None:
        return {"path": None, "inherited": {"label": None, "route": None}, "levels": []}
    label, route = within.inherited
    return {
        "path": [str(node) for node in reversed(within.path)],
        "inherited": {"label": label, "route": route},
        "levels": [_named_document(node, within.named.get(node, UNNAMED)) for node in within.above],
    }


def _named_document(node: Node, naming: Naming) -> dict[str, Any]:
    return {"id": str(node), "level": LEVEL_NAMES[node.level - 1], "label": naming[0], "route": naming[1]}


def as_document(one: Community, vocabulary: Vocabulary) -> dict[str, Any]:
    """An intent or topic as a JSON document: name and question are its own, else those of its largest cluster.

    Label and route are its own, or else those of its topic; `named`: it has a label or route of its own.
    """
    first = one.clusters[0]
    return {
        "id": str(one.node),
        "level": one.level.value,
        "namespace": first.namespace,
        "topic_id": None if one.within is None else str(one.within),
        "size": one.size,
        "name": one.title or name_of(first, vocabulary),
        "label": one.label,
        "route": one.route,
        "named": any(one.naming),
        "labels": one.labels,
        "intents": [str(node) for node in one.part_nodes],
        "clusters": [format_cluster_id(number) for number in one.ids],
        "representative": first.representative,
    }
