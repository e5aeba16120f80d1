"""Intents and topics of a running stream as a worker found them last: listed, and one by one."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Any

from questream.clustering.levels import LEVEL_NAMES, LevelRules, Levels, Node, leaf
from questream.clustering.merging import UNNAMED
from questream.clustering.stored_levels import StoredLevels, Within
from questream.deciding.level_runs import standing
from questream.deciding.paths import clusters_within
from questream.domain import ClusterState, Naming, format_cluster_id
from questream.errors import QuestreamError
from questream.naming.names import Vocabulary, name_of
from questream.store.protocol import Store
from questream.tools.sorting import Level

# The clusters of these ids that are there.
StatesOf = Callable[[Sequence[int]], Iterable[ClusterState]]


class NoSuchCommunity(QuestreamError):
    """A namespace has no intent or topic of that id, or no longer."""


@dataclass(frozen=True, slots=True)
class Community:
    """An intent or a topic with its live clusters, the largest first; what stands alone on a level is a cluster's node.

    `within` is the topic of an intent, None of a topic; `parts` are the intents of a topic, the largest first.
    `naming` is the label and route that people gave it, `inherited` that of the topic of an intent.
    """

    node: Node
    level: Level
    clusters: tuple[ClusterState, ...]
    within: Node | None = None
    parts: tuple[Community, ...] = ()
    naming: Naming = (None, None)
    inherited: Naming = (None, None)

    @property
    def label(self) -> str | None:
        """Its own label, or else that of its topic."""
        return self.naming[0] or self.inherited[0]

    @property
    def route(self) -> str | None:
        """As `label`."""
        return self.naming[1] or self.inherited[1]

    @property
    def title(self) -> str | None:
        """What it is shown by where people named it or its clusters: its own label, or the only one of these."""
        return self.naming[0] or (self.labels[0] if len(self.labels) == 1 else None)

    @property
    def size(self) -> int:
        """Questions of all its clusters."""
        return sum(state.size for state in self.clusters)

    @property
    def labels(self) -> list[str]:
        """The labels of its clusters, each once."""
        return sorted({state.label for state in self.clusters if state.label})


class Communities:
    """The intents and topics of clusters; `levels` has clusters that are new since they were stored."""

    def __init__(self, stored: StoredLevels, states: Iterable[ClusterState], levels: Levels | None = None) -> None:
        levels = levels or stored.levels
        self._ended = stored.ended
        by_intent: dict[Node, list[ClusterState]] = {}
        topic_of: dict[Node, Node] = {}
        in_topic: dict[Node, list[ClusterState]] = {}
        # Of 100,000 clusters, as a page has them: two sorts by a field are faster than one by a pair of them.
        by_id = sorted(states, key=attrgetter("cluster_id"))
        for state in sorted(by_id, key=attrgetter("size"), reverse=True):
            found = levels.parents.get(leaf(state.cluster_id))
            intent = leaf(state.cluster_id) if found is None or found.level != 1 else found
            topic = topic_of.get(intent)
            if topic is None:
                topic = topic_of[intent] = levels.path(state.cluster_id)[-1]
                by_intent[intent] = []
                in_topic.setdefault(topic, [])
            by_intent[intent].append(state)
            in_topic[topic].append(state)
        named = stored.named
        self._intents = _ranked(
            Community(
                node,
                Level.INTENT,
                tuple(clusters),
                topic_of[node],
                naming=named.get(node, UNNAMED),
                inherited=named.get(topic_of[node], UNNAMED),
            )
            for node, clusters in by_intent.items()
        )
        by_topic: dict[Node, list[Community]] = {}
        for intent_of in self._intents:
            by_topic.setdefault(topic_of[intent_of.node], []).append(intent_of)
        self._topics = _ranked(
            Community(node, Level.TOPIC, tuple(in_topic[node]), None, tuple(parts), named.get(node, UNNAMED))
            for node, parts in by_topic.items()
        )
        # What stands alone among topics is an intent or a cluster there too.
        self._known = {one.node: one for one in self._intents if one.node.level == 1}
        self._known.update((one.node, one) for one in self._topics if one.node.level == len(LEVEL_NAMES))

    def of(self, level: Level) -> list[Community]:
        """Those of a level, the largest first."""
        return self._intents if level is Level.INTENT else self._topics

    def get(self, node: Node) -> Community:
        """An intent or topic, or where most questions of one are that is no more. Raises NoSuchCommunity."""
        seen: set[Node] = set()
        at: Node | None = node
        while at is not None and at not in self._known and at not in seen:
            seen.add(at)
            at = self._ended.get(at)
        if at is None or at not in self._known:
            raise NoSuchCommunity(f"there is no {LEVEL_NAMES[node.level - 1]} {node}", "see: questream clusters list")
        return self._known[at]


def narrowed(found: Iterable[Community], cluster_ids: Collection[int]) -> list[Community]:
    """Intents or topics with these of their clusters alone, in the same order, but for those that have none of them."""
    kept = []
    for one in found:
        clusters = tuple(state for state in one.clusters if state.cluster_id in cluster_ids)
        if clusters:
            parts = tuple(narrowed(one.parts, cluster_ids))
            kept.append(one if clusters == one.clusters else replace(one, clusters=clusters, parts=parts))
    return kept


def read_communities(store: Store, namespace: str) -> Communities:
    """Those of a namespace, with new clusters where those near to them are.

    Raises QuestreamError where no worker has found any.
    """
    stored = store.levels(namespace)
    if not stored.version:
        raise QuestreamError(
            f"no worker has found intents and topics of namespace {namespace!r} yet",
            "let one run with `levels.enabled`, or group what stands now: questream clusters intents",
        )
    levels = standing(store.load(namespace), stored, LevelRules())
    return Communities(stored, store.summaries(namespace), levels)


def read_within(store: Store, namespace: str, cluster_id: int) -> Within | None:
    """What a cluster is in, None where that is not known."""
    stored = store.levels(namespace)
    if stored.knows(cluster_id):
        return stored.within(stored.levels.path(cluster_id))
    return clusters_within(stored, store.load(namespace), [cluster_id], LevelRules()).get(cluster_id)


def title_of(
    node: Node, stored: StoredLevels, states_of: StatesOf, name: Callable[[ClusterState], str | None]
) -> str | None:
    """What an intent or topic is shown by, as in a list of its level: clusters that are new since are left out.

    `name` names a cluster. None where none of its clusters is there any more.
    """
    found = sorted(states_of(leaves_within(node, stored.levels)), key=lambda state: (-state.size, state.cluster_id))
    if not found:
        return stored.named.get(node, UNNAMED)[0]
    level = Level.INTENT if node.level == 1 else Level.TOPIC
    return Community(node, level, tuple(found), naming=stored.named.get(node, UNNAMED)).title or name(found[0])


def leaves_within(node: Node, levels: Levels) -> list[int]:
    """The clusters of an intent or a topic, by id."""
    nodes, found = {node}, []
    while nodes:
        nodes = {child for child, parent in levels.parents.items() if parent in nodes}
        found += [child.number for child in nodes if not child.level]
        nodes = {child for child in nodes if child.level}
    return sorted(found)


def within_document(within: Within | None) -> dict[str, Any]:
    """Where a cluster is, as JSON tells it: its path as a decision has it, null where it is not known.

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
    """An intent or topic as JSON tells it: its name is its label, else that of its largest cluster, as its question is.

    Label and route are its own, or else those of its topic; `named` tells its own.
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
        "intents": [str(part.node) for part in one.parts],
        "clusters": [format_cluster_id(state.cluster_id) for state in one.clusters],
        "representative": first.representative,
    }


def _ranked(communities: Iterable[Community]) -> list[Community]:
    return sorted(communities, key=lambda one: (-one.size, one.clusters[0].cluster_id))
