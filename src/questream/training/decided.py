"""The running stream as groups of the same question: decisions of the output topic with texts of the input topic.

Redis need not hold a text: it is read where it was sent to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import orjson
from kafka import TopicPartition

from questream.domain import ClusterState, Record, Source, format_cluster_id, parse_cluster_id
from questream.errors import BadRecord
from questream.kafka.connect import open_reader
from questream.kafka.reading import partitions_of, read_to_end, read_up_to, start_before_end
from questream.records.decode import QuestionDecoder
from questream.settings import Settings
from questream.store.protocol import Store

Wanted = dict[TopicPartition, dict[int, int]]


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
    decided = _decisions(settings, namespace, newest)
    ids = sorted({cluster for offsets in decided.values() for cluster in offsets.values()})
    groups = groups_of(store, namespace, ids, Counter(c for offsets in decided.values() for c in offsets.values()))
    wanted = {
        partition: {offset: cluster for offset, cluster in offsets.items() if chosen(groups[cluster])}
        for partition, offsets in decided.items()
    }
    wanted = {partition: offsets for partition, offsets in wanted.items() if offsets}
    missed.questions = sum(map(len, wanted.values()))
    for question in _texts(settings, namespace, wanted, groups):
        missed.questions -= 1
        yield question


def groups_of(store: Store, namespace: str, cluster_ids: list[int], decisions: Counter[int]) -> dict[int, Group]:
    """What each of the cluster ids stands for today; `decisions` counts how often each was given."""
    known: dict[int, ClusterState] = {}
    asked = set(cluster_ids)
    while asked:
        states = store.states(namespace, sorted(asked))
        known.update((state.cluster_id, state) for state in states)
        asked = {s.merged_into for s in states if s.merged_into is not None} - known.keys()

    def survivor(cluster_id: int) -> int:
        # An alias may have retired with the cluster that it stood for: then the id stands for itself.
        while cluster_id in known and (into := known[cluster_id].merged_into) is not None:
            cluster_id = into
        return cluster_id

    survivors = {cluster_id: survivor(cluster_id) for cluster_id in cluster_ids}
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


def _decisions(settings: Settings, namespace: str, newest: int) -> Wanted:
    """The cluster of each decided record of the input topic, by partition and offset."""
    decided: Wanted = {}
    with open_reader(settings) as reader:
        start_before_end(reader, settings.kafka.output_topic, newest)
        for message in read_to_end(reader):
            decision = orjson.loads(message.value)
            source = decision["source"]
            if (
                decision["cluster_id"] is not None
                and decision["namespace"] == namespace
                and source["topic"] == settings.kafka.input_topic
            ):
                partition = TopicPartition(source["topic"], source["partition"])
                decided.setdefault(partition, {})[source["offset"]] = parse_cluster_id(decision["cluster_id"])
    return decided


def _texts(settings: Settings, namespace: str, wanted: Wanted, groups: dict[int, Group]) -> Iterator[DecidedQuestion]:
    decoder = QuestionDecoder(settings.input, settings.clusters.namespace)
    with open_reader(settings) as reader:
        there = [partition for partition in partitions_of(reader, settings.kafka.input_topic) if partition in wanted]
        if not there:
            return
        starts, ends = reader.beginning_offsets(there), reader.end_offsets(there)
        reader.assign(there)
        for partition in there:
            reader.seek(partition, max(starts[partition], min(wanted[partition])))
            ends[partition] = min(ends[partition], max(wanted[partition]) + 1)
        for message in read_up_to(reader, ends):
            cluster = wanted[TopicPartition(message.topic, message.partition)].get(message.offset)
            if cluster is None:
                continue
            source = Source(message.topic, message.partition, message.offset, message.timestamp)
            try:
                question = decoder.decode(Record(source, message.key, message.value, tuple(message.headers)))
            except BadRecord:
                # The settings of input say something else now than when it was decided.
                continue
            if question.namespace == namespace:
                group = groups[cluster]
                yield DecidedQuestion(question.id, question.text, format_cluster_id(group.gold), group.label)
