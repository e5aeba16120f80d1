"""Publish a batch and its offsets: in one transaction, or offsets after the acknowledgement."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Protocol

from questream.broker.deadline import GuardedCall, Watchdog
from questream.broker.port import Offsets, Outgoing, Place, Producer
from questream.errors import (
    KafkaRefused,
    KafkaTimeout,
    KafkaUnavailable,
    QuestreamError,
    RecordsTooLarge,
    RecoveryNeeded,
    StoreUnavailable,
    Superseded,
)

logger = logging.getLogger(__name__)

# The client has them by then, and only has to say them.
_OUTCOMES_SECONDS = 2.0
_CLOSE_SECONDS = 2.0


class Publisher(Protocol):
    """Publishes batches. Both kinds pass tests/contract/test_publisher.py."""

    def start(self) -> None:
        """Be ready to publish, with nothing left open by an earlier producer of this worker.

        Raises KafkaUnavailable or KafkaRefused.
        """

    def publish(
        self, records: Sequence[Outgoing], offsets: Offsets, membership: Any, verify_before_commit: Callable[[], None]
    ) -> Offsets:
        """Publish the records and commit the offsets (next to read, by topic and partition).

        `still_stands` raises where what the records rest on is gone; it is asked as late as the delivery allows, and
        nothing counts as published then. Returns once all records are acknowledged, with the offsets that are committed
        by then.
        Raises Superseded if the partitions are another worker's by now, KafkaUnavailable if the broker failed (what was
        published is unknown: start anew from the committed offsets), KafkaRefused if it never will, RecordsTooLarge
        with the place of a record that its topic does not take.
        """

    @property
    def held_seconds(self) -> float:
        """For how long a quota of the broker held the last publication back."""

    def close(self) -> None:
        """Let the producer go."""


class _Guarded:
    """Has a producer, guards its calls by a deadline and remembers the last one: `held_seconds` of a Publisher.

    `make_producer` builds a producer; `deadline_seconds` bounds each step.
    """

    def __init__(self, make_producer: Callable[[], Producer], watchdog: Watchdog, deadline_seconds: float) -> None:
        self._make_producer = make_producer
        self._watchdog = watchdog
        self._deadline_seconds = deadline_seconds
        self._producer: Producer | None = None
        self._call: GuardedCall | None = None

    def close(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            _close_aside(producer)

    def _guard(self, name: str, producer: Producer) -> AbstractContextManager[GuardedCall]:
        return self._watchdog.limit(name, self._deadline_seconds, lambda: producer.held_back_seconds)

    @property
    def held_seconds(self) -> float:
        return 0.0 if self._call is None else self._call.held_seconds


class TransactionalPublisher(_Guarded):
    """Records and offsets in one Kafka transaction: a read_committed reader sees each exactly once.

    Its producers have a transactional id.
    """

    def start(self) -> None:
        try:
            self._ready_producer()
        except Exception:
            self.close()
            raise

    def publish(
        self, records: Sequence[Outgoing], offsets: Offsets, membership: Any, verify_before_commit: Callable[[], None]
    ) -> Offsets:
        sent, self._call = Sent(), None
        try:
            producer = self._ready_producer()
            with self._guard("transaction", producer) as self._call:
                producer.begin_transaction()
                sent.send(producer, records)
                if offsets:
                    producer.send_offsets(offsets, membership)
                _flush(producer, self._call, self._deadline_seconds / 3)
                sent.require_all()
                # Only now: a worker that finds the store's memory gone later sees these records in the log, and waits
                # for what becomes of them.
                verify_before_commit()
                producer.commit_transaction()
        except Exception as error:
            self._await_outcomes(sent, error)
            # After a failed offset commit and an abort, kafka-python 3.0.12 commits the old offsets with the next
            # transaction: a producer that failed once is never used again, and the next one's start aborts its
            # transaction.
            self.close()
            cause = sent.too_large or (sent.refusal if isinstance(error, KafkaRefused) else None) or error
            if isinstance(cause, Superseded | RecoveryNeeded | StoreUnavailable):
                # The broker is well: abort now, or readers of committed records wait until the transaction times out.
                self.start()
            if isinstance(cause, KafkaRefused):
                # The same; but the reason is the first refusal, not that it refuses again.
                with suppress(QuestreamError):
                    self.start()
            if cause is error:
                raise
            raise cause from error
        return offsets

    def _await_outcomes(self, sent: Sent, error: Exception) -> None:
        """Wait shortly for the outcomes of the records: a call may fail for one before its client says which.

        kafka-python 3.0.12 says "unexpected server error" then, where a topic does not take a record for its size.
        """
        is_answered = isinstance(error, KafkaUnavailable | KafkaRefused) and not isinstance(error, KafkaTimeout)
        if is_answered and sent.awaits_any and self._producer is not None:
            with suppress(QuestreamError), self._guard("flush", self._producer):
                self._producer.flush(_OUTCOMES_SECONDS)

    def _ready_producer(self) -> Producer:
        if self._producer is None:
            with self._watchdog.limit("init_transactions", self._deadline_seconds):
                self._producer = self._make_producer()
                self._producer.init_transactions()
        return self._producer


class AtLeastOncePublisher(_Guarded):
    """Records first, then offsets: after a crash a record may be published again, with the same cluster id.

    `commit_offsets` is called once all records are acknowledged; it answers what is committed by now.
    """

    def __init__(
        self,
        make_producer: Callable[[], Producer],
        commit_offsets: Callable[[Offsets, Any], Offsets],
        watchdog: Watchdog,
        deadline_seconds: float,
    ) -> None:
        super().__init__(make_producer, watchdog, deadline_seconds)
        self._commit_offsets = commit_offsets

    def start(self) -> None:
        self._ready_producer()

    def publish(
        self, records: Sequence[Outgoing], offsets: Offsets, membership: Any, verify_before_commit: Callable[[], None]
    ) -> Offsets:
        sent, self._call = Sent(), None
        try:
            producer = self._ready_producer()
            with self._guard("publish", producer) as self._call:
                verify_before_commit()
                sent.send(producer, records)
                _flush(producer, self._call, self._deadline_seconds / 3)
                sent.require_all()
                # Again, since only now the records have their place; without their offsets they are sent anew.
                verify_before_commit()
                return self._commit_offsets(offsets, membership) if offsets else {}
        except Exception as error:
            self.close()
            if sent.any:
                # Records that failed may be in the log all the same, even after the newer records of another worker.
                with suppress(QuestreamError):
                    verify_before_commit()
            if sent.too_large is None:
                raise
            raise sent.too_large from error

    def _ready_producer(self) -> Producer:
        if self._producer is None:
            self._producer = self._make_producer()
        return self._producer


def _flush(producer: Producer, call: GuardedCall, spare_seconds: float) -> None:
    """Wait until all is acknowledged; gives up while the call has `spare_seconds` left to fail in, and say why.

    Not by the producer's own limit of a delivery, which counts the time that a quota holds it back.
    """
    while True:
        try:
            producer.flush(timeout=max(0.0, call.left_seconds - spare_seconds))
        except KafkaTimeout:
            if call.left_seconds <= spare_seconds:
                raise
        else:
            return


class Sent:
    """Records that were sent, and their outcomes in the order in which they came."""

    def __init__(self) -> None:
        self._count = 0
        # Appended to on the client's threads.
        self._outcomes: list[tuple[int, Place | Exception]] = []

    def send(self, producer: Producer, records: Iterable[Outgoing]) -> None:
        """Send the records in their order."""
        for at, record in enumerate(records, start=self._count):
            self._count += 1
            try:
                producer.send(record, lambda outcome, at=at: self._outcomes.append((at, outcome)))  # type: ignore[misc]
            except RecordsTooLarge as error:
                self._outcomes.append((at, error))
                raise

    @property
    def any(self) -> bool:
        """True if a record was handed to the producer."""
        return self._count > 0

    @property
    def awaits_any(self) -> bool:
        """True if the outcome of a record is not known yet."""
        return len(self._outcomes) < self._count

    def require_all(self) -> None:
        """Raise the error of a record that was not acknowledged."""
        failure = self._first_failure
        if failure is not None:
            raise failure[1]
        if self.awaits_any:
            raise KafkaTimeout("records were not acknowledged")

    @property
    def too_large(self) -> RecordsTooLarge | None:
        """The error where a topic did not take a record for its size, whatever the call and other records failed with.

        A client ends all others with the error of the first that is refused: only that one is reported.
        """
        refused = ((at, outcome) for at, outcome in self._outcomes if isinstance(outcome, RecordsTooLarge))
        at, error = next(refused, (0, None))
        return None if error is None else RecordsTooLarge([at], error.topic)

    @property
    def refusal(self) -> KafkaRefused | None:
        """The reason of a record's refusal, with the topic, which the error at the end of a transaction lacks."""
        _, error = self._first_failure or (0, None)
        return error if isinstance(error, KafkaRefused) else None

    @property
    def _first_failure(self) -> tuple[int, Exception] | None:
        failures = ((at, outcome) for at, outcome in self._outcomes if isinstance(outcome, Exception))
        return next(failures, None)


def _close_aside(producer: Producer) -> None:
    """Close in a thread of its own, and wait a moment: a producer whose broker is gone may never come back from it.

    What it still sends comes before what is verified, or sent by another producer, after this call.
    """
    closing = threading.Thread(target=_close_quietly, args=(producer,), name="producer-close", daemon=True)
    closing.start()
    closing.join(_CLOSE_SECONDS)


def _close_quietly(producer: Producer) -> None:
    try:
        producer.close()
    except Exception as error:  # whatever it is, the producer is of no use any more
        logger.debug("closing a producer failed", extra={"error": type(error).__name__})
