"""`questream events deliver`: tells a receiver of webhooks what the topic of events holds, each event at least once.

It reads with a group of its own, so that a slow receiver delays nobody. Events go in the order of their partition; the
offset moves once the receiver took an event, or refused it for good. What it was not given stays in the topic, and is
sent again by its place.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, wait
from importlib.metadata import version
from typing import cast

from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential_jitter

from questream.broker.connect import make_consumer, open_reader
from questream.broker.port import Consumer, Message, Partition
from questream.broker.reading import RecordLookup, partitions_of
from questream.errors import QuestreamError, SettingsError
from questream.metrics import WebhookMetrics
from questream.settings import Settings, WebhookSettings
from questream.watch.condition import WatchCondition
from questream.watch.receiver import Outcome, Receiver
from questream.watch.sessions import run_sessions
from questream.watch.webhooks import Told, body_of, is_wanted, signature_headers

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
# So long may a request take before the group is polled beside it.
_PATIENCE_SECONDS = 0.5
_MOST_RECORDS = 100
_LEAVE_SECONDS = 10.0
_backoff = wait_exponential_jitter(initial=1.0, max=300.0, jitter=1.0)


def group_of(settings: Settings) -> str:
    """The group of the processes that tell this receiver."""
    return f"{settings.kafka.group_id}.webhooks.{settings.webhooks.name}"


def receiver_of(webhooks: WebhookSettings) -> Receiver:
    """The receiver of the settings. Raises SettingsError where they name none."""
    if webhooks.url is None:
        raise SettingsError("webhooks.url is not set", "give webhooks.url or webhooks.url_file")
    return Receiver(webhooks.url.get_secret_value(), webhooks.timeout_seconds)


class _Moved(Exception):
    """The group was rebalanced, or the process is to end: what was in hand is read again from the committed offset."""


class _Rebalances:
    """Counts them."""

    def __init__(self) -> None:
        self.count = 0

    def revoked(self) -> None:
        self.count += 1

    def lost(self) -> None:
        self.count += 1

    def assigned(self) -> None:
        self.count += 1


class Delivery:
    """Tells the receiver until stopped. Several may run: each has partitions of its own, and the others stand by."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where no receiver is named."""
        own = {"group_id": group_of(settings)}
        self._settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update=own)})
        self._name = f"{settings.kafka.worker_id or f'{socket.gethostname()}-{uuid.uuid4().hex[:8]}'}-webhooks"
        self._receiver = receiver_of(settings.webhooks)
        self.metrics = WebhookMetrics()
        self.condition = WatchCondition(settings.kafka.max_poll_interval_seconds)
        self._stopping = threading.Event()
        self.metrics.build.info({"version": version("questream")})

    def stop(self) -> None:
        """End after the request in hand; safe from any thread and from a signal handler."""
        self._stopping.set()

    def run(self) -> None:
        """Blocks until `stop`; raises what cannot be mended by trying again, such as a missing topic or right."""
        run_sessions(self._run_session, self._stopping, self.condition)

    def _run_session(self) -> None:
        consumer = make_consumer(self._settings, self._name)
        try:
            Session(consumer, self._settings, self._receiver, self.metrics, self.condition, self._stopping).run()
        finally:
            self.metrics.waiting_seconds.set(0)
            self.condition.ends()
            consumer.close(_LEAVE_SECONDS)


class Session:
    """A membership in the group; for one thread, but for the request itself."""

    def __init__(
        self,
        consumer: Consumer,
        settings: Settings,
        receiver: Receiver,
        metrics: WebhookMetrics,
        condition: WatchCondition,
        stopping: threading.Event,
    ) -> None:
        self._consumer = consumer
        self._topic = settings.kafka.event_topic
        self._webhooks = settings.webhooks
        self._receiver = receiver
        self._metrics = metrics
        self._condition = condition
        self._stopping = stopping
        self._rebalances = _Rebalances()
        self._begun_at = 0

    def run(self) -> None:
        """Until the process is stopped. Raises Superseded, KafkaUnavailable or KafkaRefused."""
        partitions_of(self._consumer, self._topic)
        self._consumer.subscribe(self._topic, self._rebalances)
        while not self._stopping.is_set():
            polled = self._consumer.poll(_POLL_SECONDS, max_records=_MOST_RECORDS)
            if self._rebalances.count != self._begun_at:
                self._begin()
                continue
            if not self._consumer.assignment():
                self._condition.stands_by(is_member=self._consumer.group_metadata().generation_id >= 0)
                continue
            self._condition.tells()
            try:
                for partition, messages in polled.items():
                    for message in messages:
                        self._take(partition, message)
                self._consumer.resume(self._consumer.paused())
            except _Moved:
                self._begin()

    def _begin(self) -> None:
        """Read on where the group stands; a group that never told anything begins where the topic ends now."""
        self._begun_at = self._rebalances.count
        partitions = partitions_of(self._consumer, self._topic)
        mine = self._consumer.assignment()
        committed = {partition: self._consumer.committed(partition) for partition in partitions}
        starts = self._consumer.beginning_offsets(partitions)
        if all(offset is None for offset in committed.values()):
            starts = self._consumer.end_offsets(partitions)
            # For all members: one whose partitions have no offset yet would tell what was before.
            self._consumer.commit(starts)
        for partition in mine:
            offset = committed[partition]
            self._consumer.seek(partition, starts[partition] if offset is None else offset)
        self._consumer.resume(self._consumer.paused())

    def _take(self, partition: Partition, message: Message) -> None:
        if self._stopping.is_set():
            raise _Moved
        place = {"partition": message.partition, "offset": message.offset}
        try:
            told = Told(message.value, message.timestamp)
        except ValueError:
            logger.warning("a record of the topic of events is no event and is passed over", extra=place)
        else:
            if is_wanted(told, self._webhooks):
                self._tell(told, place)
            else:
                self._metrics.events.labels("filtered").inc()
        if self._rebalances.count != self._begun_at:
            raise _Moved
        self._consumer.commit({partition: message.offset + 1})

    def _tell(self, told: Told, place: dict[str, int]) -> None:
        """Until the receiver takes it, refuses it for good, or it is older than `webhooks.patience_seconds`."""
        retrying = Retrying(
            retry=retry_if_result(lambda outcome: outcome.fault is not None and outcome.may_pass),
            stop=lambda _: _age_seconds(told) > self._webhooks.patience_seconds,
            wait=_wait_seconds,
            sleep=self._sleep,
            before_sleep=lambda state: self._missed(told, state),
            retry_error_callback=_result,
        )
        outcome: Outcome = retrying(self._ask, lambda: send(self._receiver, told, self._webhooks))
        self._metrics.waiting_seconds.set(0)
        if outcome.fault is None:
            self._metrics.events.labels("delivered").inc()
            self._condition.tells()
            return
        self._metrics.failures.inc()
        self._metrics.events.labels("given_up").inc()
        logger.error(
            "the receiver of webhooks did not take an event; send it again with: questream events deliver --at %s",
            f"{place['partition']}/{place['offset']}",
            extra={"fault": outcome.fault},
        )

    def _missed(self, told: Told, state: RetryCallState) -> None:
        fault = _result(state).fault
        self._metrics.failures.inc()
        self._metrics.waiting_seconds.set(_age_seconds(told))
        self._condition.remarks(f"the receiver does not take events: {fault}")
        logger.warning(
            "the receiver of webhooks did not take an event; trying again",
            extra={"fault": fault, "attempt": state.attempt_number, "wait_seconds": round(state.upcoming_sleep, 1)},
        )

    def _ask(self, call: Callable[[], Outcome]) -> Outcome:
        """What the call gives, which another thread makes, so that this one stays in the group."""
        answer: Future[Outcome] = Future()

        def ask() -> None:
            try:
                answer.set_result(call())
            except BaseException as error:  # raised again on the thread that waits
                answer.set_exception(error)

        threading.Thread(target=ask, name="webhook", daemon=True).start()
        while not wait([answer], timeout=_PATIENCE_SECONDS).done:
            # The request in hand is waited for even where the process is to end: it may have been taken.
            self._stay()
        return answer.result()

    def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._stay()
            if self._stopping.wait(min(left, _PATIENCE_SECONDS)):
                raise _Moved

    def _stay(self) -> None:
        """Stay in the group. Raises _Moved where it was rebalanced."""
        self._consumer.pause(self._consumer.assignment() - self._consumer.paused())
        self._consumer.poll(0.0)
        self._condition.turns()
        if self._rebalances.count != self._begun_at:
            raise _Moved


def send(receiver: Receiver, told: Told, webhooks: WebhookSettings) -> Outcome:
    """One request about an event; blocks."""
    content_type, body = body_of(told, webhooks)
    secrets = None if webhooks.secret is None else webhooks.secret.get_secret_value()
    signed = signature_headers(told, body, secrets, int(time.time()))
    return receiver.send(body, {"content-type": content_type, "user-agent": "questream", **signed})


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
                told = Told(record.value, record.source.timestamp)
            except ValueError:
                raise QuestreamError(f"there is no event at {partition}/{offset} of the topic of events") from None
            outcomes.append(send(receiver, told, settings.webhooks))
    return outcomes


def _age_seconds(told: Told) -> float:
    return max(0.0, time.time() - told.published_ms / 1000)


def _result(state: RetryCallState) -> Outcome:
    # There is one after an attempt.
    outcome: Outcome = cast("Future[Outcome]", state.outcome).result()
    return outcome


def _wait_seconds(state: RetryCallState) -> float:
    """Twice as long each time, up to five minutes; longer where the receiver asks for it."""
    return max(_backoff(state), _result(state).wait_seconds)
