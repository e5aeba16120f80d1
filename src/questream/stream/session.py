"""One life of the Kafka clients: from joining the group to leaving it or losing it.

Four threads, one flow: the caller's fetches and tokenises (intake), `device` embeds, `decider` assigns and commits,
`publisher` publishes. Between two of them stands one batch at most.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from kafka import errors as kafka_errors

from questream.domain import Vector
from questream.encoder import Encoder, Tokens
from questream.metrics import Metrics
from questream.stream.backlog import Backlog, Batch
from questream.stream.intake import Intake
from questream.stream.processor import Answered, Processor

logger = logging.getLogger(__name__)

_TAKE_SECONDS = 0.2

T = TypeVar("T")


class Session:
    """Runs intake, device and processor until `stopping` is set or one of them fails, which sets `ending`."""

    def __init__(
        self,
        intake: Intake,
        backlog: Backlog,
        processor: Processor,
        metrics: Metrics,
        stopping: threading.Event,
        ending: threading.Event,
    ) -> None:
        self._intake = intake
        self._backlog = backlog
        self._processor = processor
        self._metrics = metrics
        self._stopping = stopping
        self._ending = ending
        self._embedded: _Handover[tuple[Batch, list[Vector]]] = _Handover(self._is_failed)
        self._answered: _Handover[Answered] = _Handover(self._is_failed)
        self._failed = threading.Event()
        self._failure: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guard, args=(self._feed_device,), name="device", daemon=True),
            threading.Thread(target=self._guard, args=(self._decide,), name="decider", daemon=True),
            threading.Thread(target=self._guard, args=(self._publish,), name="publisher", daemon=True),
        ]
        self.last_step_at = time.monotonic()
        self.embedding_since: float | None = None
        self.processing_since: float | None = None

    def run(self) -> None:
        """Until stopped; raises what any of the threads raised."""
        for thread in self._threads:
            thread.start()
        while not self._stopping.is_set() and not self._failed.is_set():
            self._intake.step()
            self.last_step_at = time.monotonic()
        self.raise_failure()

    def finish(self, timeout_seconds: float) -> bool:
        """Finish the batches in hand, fetch no more; returns whether that was done in time."""
        self._backlog.close()
        deadline = time.monotonic() + timeout_seconds
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, deadline - time.monotonic()))
        finished = not any(thread.is_alive() for thread in self._threads)
        if finished and not self._failed.is_set():
            try:
                self._intake.commit_acknowledged()
            except kafka_errors.KafkaError as error:
                logger.warning("last offsets not committed; published again", extra={"reason": type(error).__name__})
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
            # Whoever waits for the store waits no longer.
            self._ending.set()

    def _is_failed(self) -> bool:
        return self._failed.is_set()

    def _feed_device(self) -> None:
        try:
            while not self._backlog.closed:
                batch = self._backlog.take(_TAKE_SECONDS)
                if batch is not None:
                    self.embedding_since = time.monotonic()
                    vectors = self._embed(batch)
                    self.embedding_since = None
                    self._embedded.put((batch, vectors))
        finally:
            self._embedded.end()

    def _embed(self, batch: Batch) -> list[Vector]:
        """The vectors of the items with tokens, in their order, each by its own model."""
        started = time.perf_counter()
        self._metrics.stage_seconds.labels("queue").observe(started - batch.oldest_put_at)
        by_encoder: dict[Encoder, list[Tokens]] = {}
        waiting = [(item.encoder, item.tokens) for item in batch.items]
        for encoder, tokens in waiting:
            if encoder is not None and tokens is not None:
                by_encoder.setdefault(encoder, []).append(tokens)
        if not by_encoder:
            return []
        rows = {encoder: iter(encoder.encode_tokens(tokens)) for encoder, tokens in by_encoder.items()}
        vectors = [next(rows[encoder]) for encoder, tokens in waiting if encoder is not None and tokens is not None]
        seconds = time.perf_counter() - started
        self._metrics.stage_seconds.labels("embed").observe(seconds)
        self._metrics.device_busy_seconds.inc(seconds)
        self._metrics.batch_questions.observe(len(batch.items))
        self._metrics.batch_tokens.observe(sum(len(tokens) for its in by_encoder.values() for tokens in its))
        return vectors

    def _decide(self) -> None:
        try:
            while not self._embedded.ended:
                embedded = self._embedded.take()
                if embedded is None:
                    self._processor.follow()
                    continue
                self.processing_since = time.monotonic()
                answered = self._processor.decide(*embedded)
                self.processing_since = None
                if answered is not None:
                    self._answered.put(answered)
        finally:
            self._answered.end()

    def _publish(self) -> None:
        while not self._answered.ended:
            answered = self._answered.take()
            if answered is not None:
                self._processor.publish(answered)
            # Under load too: what a dead worker left behind must not wait for a quiet hour.
            self._processor.sweep()


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
        """Whether no more will come and all were taken."""
        return self._ended.is_set() and self._queue.empty()
