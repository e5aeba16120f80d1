"""Events of clusters, found in the decisions that the output topic holds: the same topic gives the same events."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from questream.broker.connect import open_reader
from questream.broker.port import Consumer, Message
from questream.broker.reading import follow, read_to_end, start_before_end
from questream.events.detector import DetectedEvent, Detector, EventRules
from questream.settings import Settings
from questream.watch.counting import Asker, Counted, counted

_MOST_NAMESPACES = 1000


class NamespaceEvent(NamedTuple):
    """An event and its namespace."""

    namespace: str
    event: DetectedEvent


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

    def past(self) -> Iterator[NamespaceEvent]:
        """The events up to the present end of the topic, in the order of time.

        Raises KafkaUnavailable or KafkaRefused.
        """
        # By time, not by partition: a partition that is read first is not the past of the others.
        for one in sorted(self._counted(read_to_end(self._consumer))):
            yield from self._see(one)

    def coming(self) -> Iterator[NamespaceEvent]:
        """The events after the past was read, as they come, without end. Raises as `past`."""
        for one in self._counted(follow(self._consumer)):
            yield from self._see(one)

    def _see(self, question: Counted) -> Iterator[NamespaceEvent]:
        detector = self._detectors.get(question.namespace)
        if detector is None:
            if len(self._detectors) >= _MOST_NAMESPACES:
                return
            detector = self._detectors[question.namespace] = Detector(self._rules)
        for event in detector.see(question.cluster, question.time_ms, question.asker, created=question.created):
            yield NamespaceEvent(question.namespace, event)

    def _counted(self, messages: Iterable[Message]) -> Iterator[Counted]:
        for message in messages:
            found = counted(message, self._asker, time.time_ns() // 1_000_000)
            if found is not None and self._namespace in (None, found.namespace):
                yield found


@contextmanager
def open_events(settings: Settings, namespace: str | None) -> Iterator[Events]:
    """The events since `events.decisions` before the end of each partition of the output topic.

    Raises KafkaUnavailable or KafkaRefused.
    """
    with open_reader(settings) as consumer:
        start_before_end(consumer, settings.kafka.output_topic, settings.events.decisions)
        rules = EventRules(false_alarms_per_day=settings.events.false_alarms_per_day)
        yield Events(consumer, rules, settings.events.asker, namespace)
