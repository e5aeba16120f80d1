"""A membership in the group of the processes that deliver to a receiver of webhooks: events in partition order.

The offset moves once the receiver took an event, or refused it for good. One that it never takes is known by those
behind it that it does take, and holds them up no longer.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from functools import partial
from typing import cast

from tenacity import RetryCallState, Retrying, retry_if_result, wait_exponential_jitter

from questream.broker.port import Consumer, Message, Partition
from questream.broker.reading import partitions_of
from questream.metrics import WebhookMetrics
from questream.settings import Settings
from questream.watch.condition import WatchCondition
from questream.watch.receiver import Outcome, Receiver
from questream.watch.webhooks import Notification, is_wanted, send

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
# So long may a request take before the group is polled beside it.
_PATIENCE_SECONDS = 0.5
_MOST_RECORDS = 100
# So many of the events behind one that is not taken are tried, to find out whether event or receiver is at fault.
_MOST_TRIED_BEHIND = 3
_backoff = wait_exponential_jitter(initial=1.0, max=300.0, jitter=1.0)


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
        # In the order of delivery: of at most two polls.
        self._backlog: deque[tuple[Partition, Message]] = deque()
        # Places of those that were taken before their turn.
        self._taken: set[tuple[int, int]] = set()

    def run(self) -> None:
        """Until the process is stopped. Raises Superseded, KafkaUnavailable or KafkaRefused."""
        partitions_of(self._consumer, self._topic)
        self._consumer.subscribe(self._topic, self._rebalances)
        while not self._stopping.is_set():
            self._poll(_POLL_SECONDS)
            if self._rebalances.count != self._begun_at:
                self._begin()
                continue
            if not self._consumer.assignment():
                self._condition.note_waiting(is_member=self._consumer.group_metadata().generation_id >= 0)
                continue
            self._condition.note_working()
            try:
                while self._backlog:
                    self._take(*self._backlog.popleft())
                self._consumer.resume(self._consumer.paused())
            except _Moved:
                self._begin()

    def _poll(self, timeout: float) -> None:
        for partition, messages in self._consumer.poll(timeout, max_records=_MOST_RECORDS).items():
            self._backlog += ((partition, message) for message in messages)

    def _begin(self) -> None:
        """Read on from the committed offsets; a group without any begins at the current end of the topic."""
        self._begun_at = self._rebalances.count
        self._backlog.clear()
        self._taken.clear()
        partitions = partitions_of(self._consumer, self._topic)
        mine = self._consumer.assignment()
        committed = {partition: self._consumer.committed(partition) for partition in partitions}
        starts = self._consumer.beginning_offsets(partitions)
        if all(offset is None for offset in committed.values()):
            starts = self._consumer.end_offsets(partitions)
            # For all members: one whose partitions have no offset yet would deliver earlier events.
            self._consumer.commit(starts)
        for partition in mine:
            offset = committed[partition]
            self._consumer.seek(partition, starts[partition] if offset is None else offset)
        self._consumer.resume(self._consumer.paused())

    def _take(self, partition: Partition, message: Message) -> None:
        if self._stopping.is_set():
            raise _Moved
        place = (message.partition, message.offset)
        try:
            notification = Notification(message.value, message.timestamp)
        except ValueError:
            where = {"partition": message.partition, "offset": message.offset}
            logger.warning("a record of the event topic is not an event and is skipped", extra=where)
        else:
            if not is_wanted(notification, self._webhooks):
                self._metrics.events.labels("filtered").inc()
            elif place not in self._taken:
                self._deliver(notification, place)
        self._taken.discard(place)
        if self._rebalances.count != self._begun_at:
            raise _Moved
        self._consumer.commit({partition: message.offset + 1})

    def _deliver(self, notification: Notification, place: tuple[int, int]) -> None:
        """Until the receiver takes it, refuses it for good, takes others in its place, or it is too old."""
        behind_taken = False

        def is_hopeless(state: RetryCallState) -> bool:
            nonlocal behind_taken
            behind_taken = self._others_are_taken(state)
            return behind_taken or _age_seconds(notification) > self._webhooks.patience_seconds

        retrying = Retrying(
            retry=retry_if_result(lambda outcome: outcome.fault is not None and outcome.may_pass),
            stop=is_hopeless,
            wait=_wait_seconds,
            sleep=self._sleep,
            before_sleep=lambda state: self._missed(notification, state),
            retry_error_callback=_result,
        )
        outcome: Outcome = retrying(self._ask, lambda: send(self._receiver, notification, self._webhooks))
        if behind_taken:
            # The receiver may have come back between the two.
            outcome = self._ask(lambda: send(self._receiver, notification, self._webhooks))
        self._metrics.waiting_seconds.set(0)
        if outcome.fault is None:
            self._metrics.events.labels("delivered").inc()
            self._condition.note_working()
            return
        self._metrics.failures.inc()
        self._metrics.events.labels("given_up").inc()
        logger.error(
            "the receiver of webhooks did not take an event; send it again with: questream events deliver --at %s",
            f"{place[0]}/{place[1]}",
            extra={"fault": outcome.fault},
        )

    def _others_are_taken(self, state: RetryCallState) -> bool:
        """True if the receiver takes one of the events behind one that it has refused for a while."""
        waited = state.seconds_since_start or 0.0
        if _result(state).wait_seconds or waited < self._webhooks.skip_after_seconds:
            return False
        for notification, place in self._next_wanted():
            if self._ask(partial(send, self._receiver, notification, self._webhooks)).fault is None:
                self._taken.add(place)
                self._metrics.events.labels("delivered").inc()
                return True
            self._metrics.failures.inc()
        return False

    def _next_wanted(self) -> Iterator[tuple[Notification, tuple[int, int]]]:
        """A few of the events behind the one in hand, and their places."""
        if len(self._backlog) < _MOST_RECORDS:
            self._consumer.resume(self._consumer.paused())
            self._stay_polling(_POLL_SECONDS)
        found = 0
        for _, message in list(self._backlog):
            place = (message.partition, message.offset)
            try:
                notification = Notification(message.value, message.timestamp)
            except ValueError:
                continue
            if found < _MOST_TRIED_BEHIND and place not in self._taken and is_wanted(notification, self._webhooks):
                found += 1
                yield notification, place

    def _missed(self, notification: Notification, state: RetryCallState) -> None:
        fault = _result(state).fault
        self._metrics.failures.inc()
        self._metrics.waiting_seconds.set(_age_seconds(notification))
        self._condition.note_remark(f"the receiver does not take events: {fault}")
        logger.warning(
            "the receiver of webhooks did not take an event; trying again",
            extra={"fault": fault, "attempt": state.attempt_number, "wait_seconds": round(state.upcoming_sleep, 1)},
        )

    def _ask(self, call: Callable[[], Outcome]) -> Outcome:
        """The result of the call, which another thread makes, so that this one stays in the group."""
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
        self._stay_polling(0.0)

    def _stay_polling(self, timeout: float) -> None:
        self._poll(timeout)
        self._condition.note_turn()
        if self._rebalances.count != self._begun_at:
            raise _Moved


def _age_seconds(notification: Notification) -> float:
    return max(0.0, time.time() - notification.published_ms / 1000)


def _result(state: RetryCallState) -> Outcome:
    # There is one after an attempt.
    outcome: Outcome = cast("Future[Outcome]", state.outcome).result()
    return outcome


def _wait_seconds(state: RetryCallState) -> float:
    """Twice as long each time, up to five minutes; longer where the receiver asks for it."""
    return max(_backoff(state), _result(state).wait_seconds)
