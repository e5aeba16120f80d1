"""One life of the Kafka clients: from joining the group to leaving it or losing it.

Four threads, one flow: the caller's fetches and tokenises (intake), `device` embeds, `decider` assigns and commits in
Redis, `publisher` publishes and sweeps. Each object of a step belongs to its thread; between two of them is one
batch at most.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from questream.errors import KafkaRefused, KafkaUnavailable, QuestreamError
from questream.metrics import Metrics
from questream.stream.backlog import Backlog, Batch
from questream.stream.decider import DecidedBatch, Decider
from questream.stream.embedding import embed
from questream.stream.housekeeping import Housekeeping
from questream.stream.intake import Intake
from questream.stream.publishing import Publishing
from questream.stream.question import Ready

logger = logging.getLogger(__name__)

_TAKE_SECONDS = 0.2
_ANSWER_SECONDS = 0.05

T = TypeVar("T")


class Session:
    """Runs the steps, each in its thread, until `stopping` is set or one of them fails, which sets `ending`."""

    def __init__(
        self,
        intake: Intake,
        backlog: Backlog,
        decider: Decider,
        publishing: Publishing,
        housekeeping: Housekeeping,
        metrics: Metrics,
        stopping: threading.Event,
        ending: threading.Event,
    ) -> None:
        self._intake = intake
        self._backlog = backlog
        self._decider = decider
        self._publishing = publishing
        self._housekeeping = housekeeping
        self._metrics = metrics
        self._stopping = stopping
        self._ending = ending
        self._embedded: _Handover[Batch[Ready]] = _Handover(self._is_failed)
        self._decided: _Handover[DecidedBatch] = _Handover(self._is_failed)
        self._failed = threading.Event()
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guard, args=(self._feed_device,), name="device", daemon=True),
            threading.Thread(target=self._guard, args=(self._decide,), name="decider", daemon=True),
            threading.Thread(target=self._guard, args=(self._publish,), name="publisher", daemon=True),
        ]
        self.embedding_since: float | None = None
        self.deciding_since: float | None = None

    @property
    def polled_at(self) -> float:
        """When the group was polled last (time.monotonic)."""
        return self._intake.polled_at

    def run(self) -> None:
        """Until stopped; raises what any of the threads raised."""
        for thread in self._threads:
            thread.start()
        while not self._stopping.is_set() and not self._failed.is_set():
            self._intake.step()
        self.raise_failure()

    def finish(self, timeout_seconds: float) -> bool:
        """Finish the batches in hand, fetch no more; returns whether that was done in time."""
        self._backlog.close()
        deadline = time.monotonic() + timeout_seconds
        while (alive := [thread for thread in self._threads if thread.is_alive()]) and time.monotonic() < deadline:
            # The last batch may wait for that.
            self._intake.answer_others()
            alive[0].join(_ANSWER_SECONDS)
        finished = not alive
        if finished and not self._failed.is_set():
            try:
                self._intake.commit_acknowledged()
            except (KafkaUnavailable, KafkaRefused) as error:
                logger.warning("last offsets not committed; published again", extra={"reason": str(error)})
        return finished

    def raise_failure(self) -> None:
        """Raise what a thread raised while the session finished."""
        if self._failure is not None:
            raise self._failure

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # carried to the caller of run()
            self._failure = self._failure or error
            self._failed.set()
            self._backlog.close()
            # No thread waits for the store any longer.
            self._ending.set()

    def _is_failed(self) -> bool:
        return self._failed.is_set()

    def _feed_device(self) -> None:
        try:
            while not self._backlog.closed:
                batch = self._backlog.take(_TAKE_SECONDS)
                if batch is not None:
                    self.embedding_since = time.monotonic()
                    embedded = embed(batch, self._metrics)
                    self.embedding_since = None
                    self._embedded.put(embedded)
        finally:
            self._embedded.end()

    def _decide(self) -> None:
        try:
            while not self._embedded.ended:
                embedded = self._embedded.take()
                if embedded is None:
                    self._decider.follow()
                    continue
                self.deciding_since = time.monotonic()
                decided = self._decider.decide(embedded)
                self.deciding_since = None
                if decided is None:
                    self._backlog.finish()
                else:
                    self._decided.put(decided)
        finally:
            self._decided.end()

    def _publish(self) -> None:
        try:
            while not self._decided.ended:
                decided = self._decided.take()
                if decided is not None:
                    self._publishing.publish(decided)
                    self._backlog.finish()
                else:
                    self._publishing.confirm()
                # Under load too: what a dead worker left behind must not wait for a quiet hour.
                self._housekeeping.sweep()
        finally:
            # It hides no error that ends the session: what is not confirmed is published again.
            with suppress(QuestreamError):
                self._publishing.confirm()


class _Handover(Generic[T]):
    """One batch on its way from one thread to the next."""

    def __init__(self, given_up: Callable[[], bool]) -> None:
        self._queue: queue.Queue[T] = queue.Queue(maxsize=1)
        self._given_up = given_up
        self._ended = threading.Event()

    def put(self, batch: T) -> None:
        """Wait until the next thread takes the one before; a session that has failed takes none."""
        while not self._given_up():
            try:
                self._queue.put(batch, timeout=_TAKE_SECONDS)
            except queue.Full:
                continue
            return

    def take(self) -> T | None:
        """The next batch, or None if none came for a while."""
        try:
            return self._queue.get(timeout=_TAKE_SECONDS)
        except queue.Empty:
            return None

    def end(self) -> None:
        """No more will be put."""
        self._ended.set()

    @property
    def ended(self) -> bool:
        """True if no more will come and all were taken."""
        return self._ended.is_set() and self._queue.empty()
