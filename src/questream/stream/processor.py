"""Decide a batch and publish it; what to do when either fails is `errors.POLICIES`."""

from __future__ import annotations

import logging
import math
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from questream.broker.kafka_python.publisher import NextOffset, Offsets, Outgoing, Publisher
from questream.broker.quota import Pace
from questream.broker.sizes import SizeLimits, is_sendable
from questream.deciding.clusterer import Arrival, Clusterer, Decided
from questream.domain import Matrix, Vector
from questream.errors import (
    BadRecord,
    NamespaceHeld,
    NamespaceRefused,
    RecordsTooLarge,
    Recourse,
    RecoveryNeeded,
    Superseded,
    recourse_of,
)
from questream.metrics import Metrics
from questream.records import (
    dead_letter_headers,
    encode_decision,
    passthrough_headers,
    reference_letter,
)
from questream.records.fingerprint import LastRecord, fingerprint
from questream.store.protocol import Store
from questream.stream.backlog import Batch, Item
from questream.stream.outbox import RELAYED_AT_ONCE, Headers, OutboxRelay, RelayBatch
from questream.stream.retirement import Retirement
from questream.stream.retry import Retry

logger = logging.getLogger(__name__)

# Whoever commits also publishes, at once; what waits for longer than this was left behind by a worker that died.
_LEFT_BEHIND_SECONDS = 10.0
_IDLE_SECONDS = 2.0
_SWEEP_PAGES = 16
_LONGEST_LATENCY_SECONDS = 3600.0
_SWEEP_NAMESPACES = 64


@dataclass(frozen=True, slots=True)
class Topics:
    """Where things are published."""

    output: str
    clusters: str
    dead_letters: str


@dataclass(frozen=True, slots=True)
class Answered:
    """A batch whose items have their decisions, and what deciding them did to each namespace."""

    batch: Batch
    decided: list[Decided]


class Processor:
    """Takes embedded batches, in order. One thread decides, another publishes, so that neither waits for the other.

    Records of a namespace that the store refuses are dead letters; `own_namespace` is the one that must not be.
    `current_epoch` tells the number of the assignment in force; `on_superseded` is told of a batch whose partitions are
    another's, and ends its assignment: no later batch of that one is decided or published. `on_published` is told which
    offsets are committed. `pace` is told what a quota of the broker held back, and limits what is published at once.
    `on_sweep` is called at each sweep.
    """

    def __init__(
        self,
        clusterer: Clusterer,
        store: Store,
        publisher: Publisher,
        topics: Topics,
        metrics: Metrics,
        retry: Retry,
        retirement: Retirement,
        current_assignment: Callable[[], int],
        on_superseded: Callable[[int], None],
        own_namespace: str,
        on_published: Callable[[Offsets], None] = lambda _: None,
        state_headers: Headers = lambda namespace, store_epoch: (),  # noqa: ARG005 - the names say which is which
        pace: Pace | None = None,
        on_sweep: Callable[[], None] = lambda: None,
    ) -> None:
        self._on_sweep = on_sweep
        self._pace = pace or Pace(RELAYED_AT_ONCE, math.inf)
        self._clusterer = clusterer
        self._publisher = publisher
        self._topics = topics
        self._own_namespace = own_namespace
        self._metrics = metrics
        self._retry = retry
        self._retirement = retirement
        self._current_assignment = current_assignment
        self._on_superseded = on_superseded
        self._on_published = on_published
        self._limits = SizeLimits()
        self._assignment_id = -1
        self._published_below: dict[tuple[str, int], int] = {}
        self._relay = OutboxRelay(store, retry, topics.clusters, state_headers)
        self._relayed_in: dict[str, str] = {}
        self._store = store
        self._not_served: set[str] = set()
        self._next_follow = self._next_sweep = self._next_look = 0.0
        self._last_swept = ""

    def decide(self, batch: Batch, vectors: Sequence[Vector]) -> Answered | None:
        """Give each item its decision; `vectors`, unit and (d,), are those of the items with tokens, in order.

        None if the batch's partitions have gone to another worker.
        """
        if batch.assignment_id != self._current_assignment():
            self._drop(batch)
            return None
        if batch.assignment_id != self._assignment_id:
            self._assignment_id = batch.assignment_id
            self._published_below.clear()
        for item in batch.items:
            self._published_below.setdefault(item.record.source.place, item.record.source.offset)
        try:
            return Answered(batch, self._decide(batch, vectors))
        except Superseded as error:
            self._give_up(batch, error)
            return None

    def publish(self, answered: Answered) -> None:
        """Publish decisions, cluster states, dead letters and offsets as one."""
        batch, decided = answered.batch, answered.decided
        if batch.assignment_id != self._current_assignment():
            # It is in the ledger. A batch before it may have been refused, and no offset may be committed past that.
            self._drop(batch)
            return
        started = time.perf_counter()
        last = {_partition(item): item.record for item in batch.items}
        offsets = {
            at: NextOffset(record.source.offset + 1, str(LastRecord.of(record) or "")) for at, record in last.items()
        }
        try:
            relay_batches = self._relay.of_batch(batch, decided)
            self._relay_pending_first(relay_batches)
            committed = self._publish(batch, offsets, relay_batches)
        except Superseded as error:
            self._give_up(batch, error)
            return
        except NamespaceRefused as error:
            # Read again, its records are dead letters, and those of the others are published out of their ledgers.
            raise RecoveryNeeded("the store has refused a namespace since this batch was decided in it") from error
        self._metrics.stage_seconds.labels("publish").observe(time.perf_counter() - started)
        # Only what is committed is never asked for again, so that the ledger may forget it.
        stream, _ = batch.items[0].record.source.place
        self._published_below.update({(stream, partition): offset for (_, partition), offset in committed.items()})
        self._on_published(committed)
        self._confirm(relay_batches)
        self._measure(batch)

    def _publish(self, batch: Batch, offsets: Offsets, relay_batches: Sequence[RelayBatch]) -> Offsets:
        """Publish; a record that its topic does not take becomes a dead letter that refers to it."""
        items = [item for item in batch.items if item.error is None or recourse_of(item.error) is not Recourse.SKIP]
        states = [record for relay_batch in relay_batches for record in relay_batch.records]
        while True:
            records = [self._fitting(item) for item in items]
            try:
                return self._send([*records, *states], len(items), offsets, batch.membership, relay_batches)
            except RecordsTooLarge as error:
                if recourse_of(error) is not Recourse.DEAD_LETTER:
                    raise
                for at in error.indices:
                    if at >= len(items) or items[at].by_reference:
                        # A cluster state or a letter without its record: the topic takes next to nothing.
                        raise
                    self._limits.refused(records[at])
                    self._refer(items[at])

    def _send(
        self,
        records: list[Outgoing],
        count: int,
        offsets: Offsets,
        membership: Any,
        relay_batches: Sequence[RelayBatch],
    ) -> Offsets:
        """Publish; the pace follows what a quota held back of this publication of `count` questions or states."""
        try:
            return self._publisher.publish(records, offsets, membership, lambda: self._relay.require(relay_batches))
        finally:
            held_seconds, before = self._publisher.held_seconds, self._pace.limit
            self._pace.published(count, held_seconds)
            self._metrics.held_by_quota.inc(held_seconds)
            self._metrics.publication_limit.set(self._pace.limit)
            if self._pace.limit < before:
                logger.warning(
                    "a quota of the broker (producer_byte_rate) holds publishing back: batches get smaller",
                    extra={"held_seconds": round(held_seconds, 1), "batch_limit": self._pace.limit},
                )

    @property
    def _relayed_at_once(self) -> int:
        return min(RELAYED_AT_ONCE, self._pace.limit)

    def _fitting(self, item: Item) -> Outgoing:
        record = self._outgoing(item)
        if item.by_reference or self._limits.may_fit(record):
            return record
        self._refer(item)
        return self._outgoing(item)

    def _refer(self, item: Item) -> None:
        item.by_reference = True
        if item.error is None:
            item.error = BadRecord("publish", "too_large_to_publish", "the output topic takes no decision of this size")
        logger.warning(
            "a record is too large to publish: its dead letter refers to it",
            extra={"partition": item.record.source.partition, "offset": item.record.source.offset},
        )

    def follow(self) -> None:
        """While there is nothing to decide: follow what others do."""
        now = time.monotonic()
        if now >= self._next_follow:
            self._next_follow = now + _IDLE_SECONDS
            for namespace in list(self._clusterer.mirrors):
                try:
                    # One that somebody holds is followed again when it is free.
                    with suppress(NamespaceHeld):
                        self._retry.store(self._clusterer.catch_up, namespace)
                except NamespaceRefused as error:
                    self._pass_over(namespace, error)
                    self._clusterer.let_go(namespace)
            self._metrics.clusters.set(self._clusterer.cluster_count)

    def sweep(self) -> None:
        """Between batches, every other second at most: retire what is due, publish what nobody has published."""
        if time.monotonic() >= self._next_sweep:
            self._on_sweep()
            self._open_others()
            for namespace in self._next_turn():
                try:
                    self._sweep(namespace)
                except NamespaceRefused as error:
                    self._pass_over(namespace, error)
            # From its end: a store that is far away must not have every batch followed by a sweep.
            self._next_sweep = time.monotonic() + _IDLE_SECONDS

    def _open_others(self) -> None:
        """Open namespaces that no question has come to yet: what a dead worker left in their outboxes is published too.

        Those of another stream or model are left to its workers.
        """
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + _LEFT_BEHIND_SECONDS
        others = self._clusterer.unopened(self._retry.store(self._store.namespaces))
        self._not_served &= others
        for namespace in sorted(others - self._not_served)[:_SWEEP_NAMESPACES]:
            with suppress(NamespaceHeld):
                try:
                    self._retry.store(self._clusterer.open, namespace)
                except NamespaceRefused:
                    self._not_served.add(namespace)

    def _sweep(self, namespace: str) -> None:
        self._retirement.sweep(namespace)
        for _ in range(_SWEEP_PAGES):
            most = self._relayed_at_once
            if self._relay_pending(namespace, _LEFT_BEHIND_SECONDS, most) < most:
                break

    def _confirm(self, relay_batches: Sequence[RelayBatch]) -> None:
        """Tell the store what is published; a namespace that it refuses by now stays in its outbox."""
        for relay_batch in relay_batches:
            try:
                self._relay.confirm([relay_batch], dict(self._published_below))
            except NamespaceRefused as error:
                self._pass_over(relay_batch.namespace, error)

    def _pass_over(self, namespace: str, error: NamespaceRefused) -> None:
        """The others go on; a worker whose own namespace is refused ends."""
        if recourse_of(error) is not Recourse.SET_ASIDE or namespace == self._own_namespace:
            raise error
        logger.warning("a namespace is passed over", extra={"namespace": namespace, "reason": str(error)})

    def _decide(self, batch: Batch, vectors: Sequence[Vector]) -> list[Decided]:
        """Decisions for the items with vectors, written to `item.recorded` as if they had always been there."""
        by_namespace: dict[str, tuple[list[Item], list[int]]] = {}
        for at, item in enumerate(item for item in batch.items if item.tokens is not None):
            if not np.isfinite(vectors[at]).all():
                item.error = BadRecord("embed", "not_finite", "the model gave a vector that is not finite")
            elif not is_sendable(item.record.key):
                # Now, before it is decided: its cluster would count a question that has no decision.
                self._refer(item)
            elif item.question is not None:
                items, rows = by_namespace.setdefault(item.question.namespace, ([], []))
                items.append(item)
                rows.append(at)
        results = []
        for namespace, (items, rows) in by_namespace.items():
            started = time.perf_counter()
            try:
                decided = self._decide_in(namespace, items, np.stack([vectors[row] for row in rows]))
            except NamespaceRefused as error:
                self._pass_over(namespace, error)
                self._clusterer.let_go(namespace)
                for item in items:
                    item.error = BadRecord("decide", error.reason, str(error))
                continue
            seconds = time.perf_counter() - started
            self._metrics.stage_seconds.labels("assign").observe(max(0.0, seconds - decided.commit_seconds))
            self._metrics.stage_seconds.labels("commit").observe(decided.commit_seconds)
            for item, decision in zip(items, decided.decisions, strict=True):
                item.recorded = decision
            self._count(decided)
            results.append(decided)
        return results

    def _decide_in(self, namespace: str, items: Sequence[Item], vectors: Matrix) -> Decided:
        arrivals = [
            Arrival(
                item.record.source,
                item.question.text,
                item.tokens.truncated,
                item.fresh,
                unknown_share=item.tokens.unknown_share,
                fingerprint=fingerprint(item.record),
            )
            for item in items
            if item.question is not None and item.tokens is not None
        ]
        store_epochs = {item.store_epoch for item in items}
        if len(store_epochs) > 1:
            raise RecoveryNeeded("the store was recovered anew between the records of one batch")
        return self._retry.store(
            self._clusterer.decide, namespace, store_epochs.pop(), arrivals, vectors, dict(self._published_below)
        )

    def _outgoing(self, item: Item) -> Outgoing:
        record = item.record
        if item.error is not None or item.question is None or item.recorded is None:
            error = item.error or BadRecord("decide", "undecided", "no decision was made")
            if item.by_reference:
                key, headers = reference_letter(record, error, attempts=1)
                return Outgoing(self._topics.dead_letters, key, None, headers)
            headers = dead_letter_headers(record, error, attempts=1)
            return Outgoing(self._topics.dead_letters, record.key, record.value, headers)
        value = encode_decision(item.question, item.recorded)
        return Outgoing(self._topics.output, record.key, value, passthrough_headers(record))

    def _relay_pending_first(self, relay_batches: Sequence[RelayBatch]) -> None:
        """Before anything is published in a store epoch, the topic knows what was put back at its beginning.

        Else a second loss would find questions counted where they were before the first, and where they are now.
        """
        waiting = [t for t in relay_batches if self._relayed_in.get(t.namespace) != t.store_epoch]
        pending, since = list(waiting), time.monotonic()
        while pending:
            # As many namespaces in a transaction as it holds: a batch may begin one with each of its questions.
            found: list[RelayBatch] = []
            most = self._relayed_at_once
            while pending and sum(len(relay_batch.records) for relay_batch in found) < most:
                relay_batch = self._relay.pending(pending[-1].namespace, time.monotonic() - since, most)
                if relay_batch is None or len(relay_batch.revisions) < most:
                    pending.pop()
                if relay_batch is not None:
                    found.append(relay_batch)
                    if pending and pending[-1].namespace == relay_batch.namespace:
                        break
            self._publish_relay_batches(found)
        self._relayed_in.update((relay_batch.namespace, relay_batch.store_epoch) for relay_batch in waiting)

    def _relay_pending(self, namespace: str, older_than_seconds: float, most: int) -> int:
        """Publish states that nobody has published, about so many at once; returns how many."""
        relay_batch = self._relay.pending(namespace, older_than_seconds, most)
        if relay_batch is None:
            return 0
        self._publish_relay_batches([relay_batch])
        return len(relay_batch.revisions)

    def _publish_relay_batches(self, relay_batches: Sequence[RelayBatch]) -> None:
        if relay_batches:
            records = [record for relay_batch in relay_batches for record in relay_batch.records]
            self._send(records, len(records), {}, None, relay_batches)
            self._confirm(relay_batches)

    def _next_turn(self) -> list[str]:
        """The namespaces to sweep now: each comes round, however many there are."""
        names = self._clusterer.namespaces
        start = bisect_right(names, self._last_swept)
        turn = (names[start:] + names[:start])[:_SWEEP_NAMESPACES]
        self._last_swept = turn[-1] if turn else ""
        return turn

    def _give_up(self, batch: Batch, error: Superseded) -> None:
        """What was decided is in the ledger; the new owner publishes it."""
        if recourse_of(error) is not Recourse.DROP:
            raise error
        self._on_superseded(batch.assignment_id)
        self._drop(batch)

    def _drop(self, batch: Batch) -> None:
        self._metrics.dropped.inc(len(batch.items))
        logger.info("a batch was dropped: its partitions went to another worker", extra={"records": len(batch.items)})

    def _count(self, decided: Decided) -> None:
        self._metrics.merges.inc(decided.merges)
        self._metrics.stale_retries.inc(decided.stale_retries)
        self._metrics.mirror_lag.set(decided.missed_changes)

    def _measure(self, batch: Batch) -> None:
        metrics = self._metrics
        now = time.time()
        outcomes: Counter[str] = Counter()
        published = replayed = 0
        for item in batch.items:
            if item.error is not None:
                skipped = recourse_of(item.error) is Recourse.SKIP
                counter = metrics.passed_over if skipped else metrics.dead_lettered
                counter.labels(item.error.reason).inc()
                continue
            published += 1
            decision = item.recorded
            if decision is not None:
                outcomes[decision.outcome] += 1
                replayed += item.tokens is None or decision.outcome == "replayed"
                metrics.unknown_share.observe(decision.unknown_share)
                if decision.outcome == "joined" and decision.similarity is not None:
                    metrics.similarity.observe(decision.similarity)
            if item.record.source.timestamp > 0:
                # One absurd timestamp must not be most of the sum.
                seconds = now - item.record.source.timestamp / 1000
                metrics.end_to_end_seconds.observe(min(max(0.0, seconds), _LONGEST_LATENCY_SECONDS))
        for outcome, count in outcomes.items():
            metrics.assignments.labels(outcome).inc(count)
        metrics.replayed.inc(replayed)
        metrics.published.inc(published)
        metrics.clusters.set(self._clusterer.cluster_count)


def _partition(item: Item) -> tuple[str, int]:
    return item.record.source.topic, item.record.source.partition
