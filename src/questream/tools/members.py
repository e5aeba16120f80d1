"""The questions of one cluster: found in the output topic, their texts read where they were sent to."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any

from questream.broker.decided import DecidedTopics, Place, Published
from questream.domain import Question, format_cluster_id
from questream.records.times import format_time
from questream.settings import Settings
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.protocol import Store
from questream.tools.stored_sentences import StoredSentences

# Decisions that are looked at together: aliases and texts are asked for once for all of them.
_CHUNK = 2000
# More decisions than a partition can hold.
WHOLE_TOPIC = 2**62


class First(StrEnum):
    """The order of members: the most alike, the newest, or the least alike first."""

    TYPICAL = "typical"
    NEWEST = "newest"
    DOUBTFUL = "doubtful"


@dataclass(frozen=True, slots=True)
class Member:
    """A question of a cluster as it was decided; `question` is None where the input topic holds it no longer."""

    published: Published
    topic: str
    question: Question | None

    def __repr__(self) -> str:
        """A line without the text."""
        return f"Member({self.topic}, {self.published.place})"


class Members:
    """Finds the members of clusters of a namespace.

    Of each partition of the output topic the `newest` decisions are looked at. An alias means
    its survivor. A question is returned once, however often its decision was published. Each call may raise
    KafkaUnavailable, KafkaRefused and what the store raises.
    """

    def __init__(self, settings: Settings, store: Store, namespace: str, newest: int) -> None:
        self._settings = settings
        self._store = store
        self._namespace = namespace
        self._newest = newest

    def _topics(self) -> DecidedTopics:
        return DecidedTopics(self._settings, self._namespace, self._newest, StoredSentences(lambda: self._store))

    def first(self, cluster_id: int, order: First, limit: int, search: str = "") -> list[Member]:
        """The first `limit` members with `search` in their text, in this order; memory is bounded by the limit."""
        rank = _RANKS[order]
        with self._topics() as topics:
            best: dict[Place, Published] = {}
            for members in self._walk(topics, cluster_id, search):
                both = best | {one.published.place: one.published for one in members}
                best = {one.place: one for one in heapq.nlargest(limit, both.values(), key=rank)}
            return _with_questions(topics, best.values())

    def all(self, cluster_id: int, search: str = "") -> Iterator[Member]:
        """All members with `search` in their text, in the order of the output topic."""
        seen: set[Place] = set()
        with self._topics() as topics:
            for members in self._walk(topics, cluster_id, search):
                new = [one.published for one in members if one.published.place not in seen]
                seen.update(one.place for one in new)
                yield from _with_questions(topics, new)

    def _walk(self, topics: DecidedTopics, cluster_id: int, search: str) -> Iterator[list[Member]]:
        """The members among some decisions, then among the next; with a question only where one is searched."""
        wanted = search.casefold().strip()
        survivors: dict[int, int] = {}
        for decisions in _chunks(topics.read_decisions()):
            unknown = {one.cluster_id for one in decisions} - survivors.keys()
            chains = follow_aliases(self._store, self._namespace, sorted(unknown))
            survivors |= {one: survivor_of(one, chain) for one, chain in chains.items()}
            ours = {one.place: one for one in decisions if survivors[one.cluster_id] == cluster_id}
            if not wanted:
                yield [Member(one, topics.input_topic, None) for one in ours.values()]
                continue
            found = _with_questions(topics, ours.values())
            yield [one for one in found if one.question and wanted in one.question.text.casefold()]


def as_document(member: Member) -> dict[str, Any]:
    """A member as a JSON document: its cluster is the one that the decision named, or that keeps a reference to it."""
    published, question = member.published, member.question
    return {
        "cluster_id": format_cluster_id(published.cluster_id),
        "outcome": "created" if published.created else "joined",
        "similarity": published.similarity,
        "decided_at": published.decided_at or None,
        "question_id": question and question.id,
        "text": question and question.text,
        "timestamp": question and format_time(max(0, question.record.source.timestamp)),
        "topic": member.topic,
        "partition": published.place[0],
        "offset": published.place[1],
    }


def _with_questions(topics: DecidedTopics, published: Iterable[Published]) -> list[Member]:
    """In the order given."""
    decisions = list(published)
    questions = dict(topics.questions(one.place for one in decisions))
    return [Member(one, topics.input_topic, questions.get(one.place)) for one in decisions]


def _chunks(decisions: Iterator[Published]) -> Iterator[list[Published]]:
    while chunk := list(islice(decisions, _CHUNK)):
        yield chunk


# Who opens a cluster is alike to nothing yet: it says neither that it is typical nor that it is doubtful.
_RANKS: dict[First, Callable[[Published], tuple[Any, ...]]] = {
    First.TYPICAL: lambda one: (not one.created, one.similarity, one.decided_at, one.place),
    First.NEWEST: lambda one: (one.decided_at, one.place),
    First.DOUBTFUL: lambda one: (not one.created, -one.similarity, one.decided_at, one.place),
}
