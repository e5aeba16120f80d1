"""The running stream as groups of the same question: decisions of the output topic with texts of the input topic.

Redis need not hold a text: it is read where it was sent to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from questream.broker.decided import DecidedTopics
from questream.domain import format_cluster_id
from questream.settings import Settings
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Group:
    """What a cluster stands for today: an id, how an operator named it, and how many of the decisions are its."""

    gold: int
    label: str | None
    questions: int


@dataclass(frozen=True, slots=True)
class DecidedQuestion:
    """A question of the stream with the group that it is of; `gold` is a cluster's public id."""

    id: str
    text: str
    gold: str
    label: str | None


@dataclass(slots=True)
class Missed:
    """What could not be told: questions whose record is no longer in the input topic, or reads otherwise now."""

    questions: int = 0


def decided_questions(
    settings: Settings, store: Store, namespace: str, newest: int, chosen: Callable[[Group], bool], missed: Missed
) -> Iterator[DecidedQuestion]:
    """The questions of a namespace whose group is `chosen`, of the newest decisions of each partition.

    An id that was merged away stands for what survived it. Two clusters that an operator gave the same label are one
    group, named by the older. A question is told once, however often its decision was published.
    Raises KafkaUnavailable, KafkaRefused and what the store raises.
    """
    with DecidedTopics(settings, namespace, newest) as topics:
        cluster_of = {published.place: published.cluster_id for published in topics.read_decisions()}
        decisions = Counter(cluster_of.values())
        groups = groups_of(store, namespace, sorted(decisions), decisions)
        wanted = {place for place, cluster_id in cluster_of.items() if chosen(groups[cluster_id])}
        missed.questions = len(wanted)
        for place, question in topics.questions(wanted):
            missed.questions -= 1
            group = groups[cluster_of[place]]
            yield DecidedQuestion(question.id, question.text, format_cluster_id(group.gold), group.label)


def groups_of(store: Store, namespace: str, cluster_ids: list[int], decisions: Counter[int]) -> dict[int, Group]:
    """What each of the cluster ids stands for today; `decisions` counts how often each was given."""
    chains = follow_aliases(store, namespace, cluster_ids)
    # An alias may have retired with the cluster that it stood for: then the id stands for itself.
    survivors = {cluster_id: survivor_of(cluster_id, chain) for cluster_id, chain in chains.items()}
    known = {state.cluster_id: state for chain in chains.values() for state in chain}
    labels = {s: known[s].label or None if s in known else None for s in set(survivors.values())}
    oldest: dict[str, int] = {}
    for cluster_id in sorted(labels):
        if (label := labels[cluster_id]) is not None:
            oldest.setdefault(label, cluster_id)
    named = {s: s if label is None else oldest[label] for s, label in labels.items()}
    questions: Counter[int] = Counter()
    for cluster_id in cluster_ids:
        questions[named[survivors[cluster_id]]] += decisions[cluster_id]
    return {cluster_id: Group(named[s], labels[s], questions[named[s]]) for cluster_id, s in survivors.items()}
