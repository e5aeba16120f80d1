"""The newest events of each namespace, kept up by the topic of events."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque

from questream.broker.connect import open_reader
from questream.broker.port import Message
from questream.broker.reading import read_to_end, start_before_end
from questream.domain import Unread
from questream.records.events import ClusterEvent, read_event
from questream.settings import Settings

logger = logging.getLogger(__name__)

MOST_EVENTS = 500
_MOST_NAMESPACES = 1000
_PAST_RECORDS = 5000


class EventBoard:
    """At most 500 events of each of at most 1,000 namespaces. For any thread."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._events: OrderedDict[str, deque[ClusterEvent]] = OrderedDict()

    def newest(self, namespace: str, kind: str | None, limit: int) -> list[ClusterEvent]:
        """The newest events of a namespace, the newest first."""
        with self._guard:
            found = [event for event in self._events.get(namespace, ()) if kind in (None, event.kind)]
        return sorted(found, key=lambda event: event.time_ms, reverse=True)[:limit]

    def take(self, message: Message) -> None:
        """A record of the topic of events."""
        try:
            if isinstance(message.value, Unread):
                raise ValueError
            event = read_event(message.value)
        except ValueError:
            logger.warning("a record of the event topic is not an event", extra={"offset": message.offset})
            return
        with self._guard:
            kept = self._events.setdefault(event.namespace, deque(maxlen=MOST_EVENTS))
            if all(event.id != other.id for other in kept):
                kept.append(event)
            self._events.move_to_end(event.namespace)
            if len(self._events) > _MOST_NAMESPACES:
                self._events.popitem(last=False)

    def read_past(self, settings: Settings) -> None:
        """Take what the topic holds. Raises KafkaUnavailable or KafkaRefused."""
        with open_reader(settings) as consumer:
            start_before_end(consumer, settings.kafka.event_topic, _PAST_RECORDS)
            for message in read_to_end(consumer):
                self.take(message)
