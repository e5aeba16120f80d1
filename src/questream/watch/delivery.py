"""`questream events deliver`: sends events of the topic of events to a receiver of webhooks, each at least once.

It reads with a group of its own, so that a slow receiver delays nobody. What the receiver was not given stays in the
topic, and is sent again by its place.
"""

from __future__ import annotations

import socket
import threading
import uuid
from importlib.metadata import version

from questream.broker.connect import make_consumer, open_reader
from questream.broker.port import Partition
from questream.broker.reading import RecordLookup, partitions_of
from questream.broker.sessions import run_sessions
from questream.errors import QuestreamError, SettingsError
from questream.metrics import WebhookMetrics
from questream.settings import Settings, WebhookSettings
from questream.watch.condition import WatchCondition
from questream.watch.delivering import Session
from questream.watch.receiver import Outcome, Receiver
from questream.watch.webhooks import Notification, send

_LEAVE_SECONDS = 10.0


def group_of(settings: Settings) -> str:
    """The group of the processes that deliver to this receiver."""
    return f"{settings.kafka.group_id}.webhooks.{settings.webhooks.name}"


def receiver_of(webhooks: WebhookSettings) -> Receiver:
    """The receiver of the settings. Raises SettingsError where they name none."""
    if webhooks.url is None:
        raise SettingsError("webhooks.url is not set", "give webhooks.url or webhooks.url_file")
    return Receiver(webhooks.url.get_secret_value(), webhooks.timeout_seconds)


class Delivery:
    """Delivers events to the receiver until stopped. Of several, each has its own partitions, or is in reserve."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where no receiver is named."""
        own = {"group_id": group_of(settings)}
        self._settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update=own)})
        self._name = f"{settings.kafka.worker_id or f'{socket.gethostname()}-{uuid.uuid4().hex[:8]}'}-webhooks"
        self._receiver = receiver_of(settings.webhooks)
        self.metrics = WebhookMetrics()
        self.condition = WatchCondition("delivers", settings.kafka.max_poll_interval_seconds)
        self._stopping = threading.Event()
        self.metrics.build.info({"version": version("questream")})

    def stop(self) -> None:
        """End after the request in hand; safe from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """Blocks until `stop`; raises what cannot be mended by trying again, such as a missing topic or right."""
        run_sessions(self._run_session, self._stopping, self.condition.note_lost)

    def _run_session(self) -> None:
        consumer = make_consumer(self._settings, self._name)
        try:
            Session(consumer, self._settings, self._receiver, self.metrics, self.condition, self._stopping).run()
        finally:
            self.metrics.waiting_seconds.set(0)
            self.condition.note_end()
            consumer.close(_LEAVE_SECONDS)


def redeliver(settings: Settings, places: list[tuple[int, int]]) -> list[Outcome]:
    """Send the events at these partitions and offsets again, once each, whatever the filters say; offsets stay.

    Raises QuestreamError for a place that holds no event, KafkaUnavailable or KafkaRefused, SettingsError.
    """
    receiver = receiver_of(settings.webhooks)
    outcomes = []
    with open_reader(settings) as consumer:
        known = partitions_of(consumer, settings.kafka.event_topic)
        lookup = RecordLookup(consumer)
        for partition, offset in places:
            is_known = Partition(settings.kafka.event_topic, partition) in known
            record = lookup.find(settings.kafka.event_topic, partition, offset) if is_known else None
            try:
                if record is None:
                    raise ValueError
                notification = Notification(record.value, record.source.timestamp)
            except ValueError:
                raise QuestreamError(f"there is no event at {partition}/{offset} of the topic of events") from None
            outcomes.append(send(receiver, notification, settings.webhooks))
    return outcomes
