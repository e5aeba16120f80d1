"""The running stream as groups of the same question: decisions of the output topic with texts of the input topic.

Redis need not hold a text: it is read where it was sent to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Set
from dataclasses import dataclass

from questream.broker.decided import DecidedTopics
from questream.clustering.levels import LevelRules, Node, leaf
from questream.clustering.stored_levels import StoredLevels
from questream.deciding.level_runs import current_levels
from questream.settings import Settings
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.protocol import Store
from questream.tools.stored_sentences import StoredSentences


@dataclass(frozen=True, slots=True)
class Group:
    """The present group of a cluster: the id of a cluster, intent or topic, its naming by people, and how many of the
    decisions are its."""

    gold: str
    label: str | None
    questions: int


@dataclass(frozen=True, slots=True)
class DecidedQuestion:
    """A question of the stream with the group that it is of; `gold` is the group's public id."""

    id: str
    text: str
    gold: str
    label: str | None


@dataclass(slots=True)
class Missed:
    """The number of questions that could not be read: the input topic no longer has their record, or has another."""

    questions: int = 0


def decided_questions(
    settings: Settings,
    store: Store,
    namespace: str,
    newest: int,
    chosen: Callable[[Group], bool],
    missed: Missed,
    level: int = 0,
) -> Iterator[DecidedQuestion]:
    """The questions of a namespace whose group is `chosen`, of the newest decisions of each partition.

    A group is a cluster, of level 1 an intent, of 2 a topic. An alias means its survivor.
    Two groups that an operator gave the same label are one, named by the older. A question comes once, however often
    its decision was published. Raises KafkaUnavailable, KafkaRefused and what the store raises.
    """
    with DecidedTopics(settings, namespace, newest, StoredSentences(lambda: store)) as topics:
        cluster_of = {published.place: published.cluster_id for published in topics.read_decisions()}
        decisions = Counter(cluster_of.values())
        groups = groups_of(store, namespace, level, decisions)
        wanted = {place for place, cluster_id in cluster_of.items() if chosen(groups[cluster_id])}
        missed.questions = len(wanted)
        for place, question in topics.questions(wanted):
            missed.questions -= 1
            group = groups[cluster_of[place]]
            yield DecidedQuestion(question.id, question.text, group.gold, group.label)


def groups_of(store: Store, namespace: str, level: int, decisions: Counter[int]) -> dict[int, Group]:
    """The present group of each cluster id on a level; `decisions` counts the decisions with each."""
    cluster_ids = sorted(decisions)
    chains = follow_aliases(store, namespace, cluster_ids)
    # An alias may have retired with its survivor: then the id is a group of its own.
    survivors = {cluster_id: survivor_of(cluster_id, chain) for cluster_id, chain in chains.items()}
    own = {state.cluster_id: state.label or None for chain in chains.values() for state in chain}
    paths = _paths_from(level, store, namespace, set(survivors.values()))
    stored = store.levels(namespace) if level else StoredLevels()
    labels = {
        path[0]: (None if path[0].level else own.get(survivor)) or stored.naming(path)[0]
        for survivor, path in sorted(paths.items())
    }
    oldest: dict[str, Node] = {}
    for node, label in sorted(labels.items()):
        if label is not None:
            oldest.setdefault(label, node)
    named = {node: node if label is None else oldest[label] for node, label in labels.items()}
    group_of = {cluster_id: named[paths[survivor][0]] for cluster_id, survivor in survivors.items()}
    questions: Counter[Node] = Counter()
    for cluster_id, node in group_of.items():
        questions[node] += decisions[cluster_id]
    return {cluster_id: Group(str(node), labels[node], questions[node]) for cluster_id, node in group_of.items()}


def _paths_from(level: int, store: Store, namespace: str, clusters: Set[int]) -> dict[int, tuple[Node, ...]]:
    """The parents of each cluster, from this level up; a cluster alone there has its parent of the level below."""
    if not level:
        return {cluster_id: (leaf(cluster_id),) for cluster_id in clusters}
    levels = current_levels(store.load(namespace), store.levels(namespace), LevelRules())
    return {cluster_id: levels.path(cluster_id)[level:] for cluster_id in clusters}
