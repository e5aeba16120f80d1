"""Events of clusters, found in the decisions that the output topic holds: the same topic tells the same events."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from questream.broker.connect import open_reader
from questream.broker.port import Consumer, Message
from questream.broker.reading import follow, read_to_end, start_before_end
from questream.domain import Unread
from questream.events.detector import DetectedEvent, Detector, EventRules
from questream.records.times import parse_time
from questream.settings import Settings
from questream.tools.following import read_decision

Asker = Literal["key", "question"]

_MOST_NAMESPACES = 1000


class Told(NamedTuple):
    """An event and its namespace."""

    namespace: str
    event: DetectedEvent


class _Counted(NamedTuple):
    time_ms: int
    namespace: str
    cluster: str
    asker: int
    created: bool


class Events:
    """The events of the namespaces, or of `namespace` alone.

    Memory: `decisions` of each partition while the past is read, then what a `Detector` of each namespace keeps.
    """

    def __init__(self, consumer: Consumer, rules: EventRules, asker: Asker, namespace: str | None) -> None:
        self._consumer = consumer
        self._rules = rules
        self._asker = asker
        self._namespace = namespace
        self._detectors: dict[str, Detector] = {}

    def past(self) -> Iterator[Told]:
        """What happened up to where the topic ends now, in the order of time.

        Raises KafkaUnavailable or KafkaRefused.
        """
        # By time, not by partition: a partition that is read first is not the past of the others.
        for counted in sorted(self._counted(read_to_end(self._consumer))):
            yield from self._see(counted)

    def coming(self) -> Iterator[Told]:
        """What happens after the past was read, as it comes, without end. Raises as `past`."""
        for counted in self._counted(follow(self._consumer)):
            yield from self._see(counted)

    def _see(self, counted: _Counted) -> Iterator[Told]:
        detector = self._detectors.get(counted.namespace)
        if detector is None:
            if len(self._detectors) >= _MOST_NAMESPACES:
                return
            detector = self._detectors[counted.namespace] = Detector(self._rules)
        for event in detector.see(counted.cluster, counted.time_ms, counted.asker, created=counted.created):
            yield Told(counted.namespace, event)

    def _counted(self, messages: Iterable[Message]) -> Iterator[_Counted]:
        for message in messages:
            counting = _counting(message)
            if counting is None or self._namespace not in (None, counting[1]["namespace"]):
                continue
            time_ms, decision = counting
            place = (message.topic, message.partition, message.offset)
            asker = hash(place if self._asker == "question" or not message.key else message.key)
            created = decision["outcome"] == "created"
            yield _Counted(time_ms, decision["namespace"], decision["cluster_id"], asker, created)


@contextmanager
def open_events(settings: Settings, namespace: str | None) -> Iterator[Events]:
    """The events since `events.decisions` before the end of each partition of the output topic.

    Raises KafkaUnavailable or KafkaRefused.
    """
    with open_reader(settings) as consumer:
        start_before_end(consumer, settings.kafka.output_topic, settings.events.decisions)
        rules = EventRules(false_alarms_per_day=settings.events.false_alarms_per_day)
        yield Events(consumer, rules, settings.events.asker, namespace)


def _counting(message: Message) -> tuple[int, dict[str, Any]] | None:
    """When a question was asked, and its decision; None for what is none, joined no cluster or was decided before."""
    if isinstance(message.value, Unread) or (decision := read_decision(message.value)) is None:
        return None
    try:
        counts = decision["outcome"] in ("joined", "created") and decision["cluster_id"] and decision["namespace"]
        return (_time_of(decision), decision) if counts else None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return None


def _time_of(decision: dict[str, Any]) -> int:
    """When the question was asked, in ms since the epoch: what its record says, unless that is after its decision."""
    decided_ms = parse_time(decision["decided_at"])
    asked_ms = decision.get("source", {}).get("timestamp", -1)
    return int(asked_ms) if 0 < asked_ms <= decided_ms else decided_ms
