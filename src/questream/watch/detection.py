"""Detection of events in all namespaces; an event that the topic of events already has is not published again."""

from __future__ import annotations

import logging
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson

from questream.broker.port import Message, Outgoing
from questream.events.detector import Detector, EventRules
from questream.records.events import event_document, read_event
from questream.watch.counting import Counted

logger = logging.getLogger(__name__)

MOST_NAMESPACES = 1000
MOST_EVENTS = 100_000
_HEADERS = (("content-type", b"application/cloudevents+json; charset=UTF-8"),)


class PublishedEvent(NamedTuple):
    """An event as the topic of events holds it."""

    time_ms: int
    id: str
    namespace: str
    cluster: str
    kind: str


def read_published(message: Message) -> PublishedEvent | None:
    """A record of the topic of events; None, with a warning, for what is none."""
    try:
        event = read_event(message.value)
    except ValueError:
        place = {"partition": message.partition, "offset": message.offset}
        logger.warning("a record of the event topic is not an event and is skipped", extra=place)
        return None
    return PublishedEvent(event.time_ms, event.id, event.namespace, event.cluster_id, event.kind)


def event_record(topic: str, document: dict[str, Any]) -> Outgoing:
    """An event as a record of the topic of events; the key is `namespace/c17`, as on the cluster topic."""
    key = f"{document['data']['namespace']}/{document['subject']}".encode()
    return Outgoing(topic, key, orjson.dumps(document), _HEADERS)


class Detectors:
    """Detectors of the namespaces. Questions that were seen before are learnt first, then the others are seen.

    Memory: what a `Detector` keeps, for at most 1,000 namespaces, and the ids of the last 100,000 events.
    """

    def __init__(self, rules: EventRules, topic: str, published: Iterable[PublishedEvent]) -> None:
        """`topic` is the output topic; `published` are the earlier events, in any order."""
        self._rules = rules
        self._topic = topic
        self._detectors: dict[str, Detector] = {}
        self._to_recall = deque(sorted(published))
        self._ids = OrderedDict.fromkeys(event.id for event in self._to_recall)

    def learn(self, question: Counted) -> None:
        """Take in a question that was seen before."""
        self._recall(question.time_ms)
        detector = self._detector(question.namespace)
        if detector is not None:
            detector.learn(question.cluster, question.time_ms, question.asker, created=question.created)

    def see(self, question: Counted) -> list[dict[str, Any]]:
        """The events that a question raises, as CloudEvents."""
        # All of them were published before the first question that was not seen.
        self._recall(None)
        detector = self._detector(question.namespace)
        if detector is None:
            return []
        events = detector.see(question.cluster, question.time_ms, question.asker, created=question.created)
        return self.only_new(event_document(question.namespace, event, self._topic) for event in events)

    def only_new(self, documents: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
        """The events with new ids, which are known from now on."""
        return [document for document in documents if self._is_new(document["id"])]

    def _recall(self, before_ms: int | None) -> None:
        while self._to_recall and (before_ms is None or self._to_recall[0].time_ms < before_ms):
            event = self._to_recall.popleft()
            detector = self._detectors.get(event.namespace)
            if detector is not None:
                detector.recall(event.kind, event.cluster, event.time_ms)

    def _detector(self, namespace: str) -> Detector | None:
        found = self._detectors.get(namespace)
        if found is None and len(self._detectors) < MOST_NAMESPACES:
            found = self._detectors[namespace] = Detector(self._rules)
        return found

    def _is_new(self, id_: str) -> bool:
        if id_ in self._ids:
            return False
        self._ids[id_] = None
        if len(self._ids) > MOST_EVENTS:
            self._ids.popitem(last=False)
        return True
