"""Decide a batch, publish it, and what to do when either fails: the one place where errors become policy."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

import numpy as np

from questream.clusterer import Arrival, Clusterer, Decided
from questream.domain import Decision, Matrix
from questream.errors import BadRecord, StoreUnsettled, Superseded
from questream.kafka.publisher import Outgoing, Publisher
from questream.metrics import Metrics
from questream.records import (
    dead_letter_headers,
    encode_cluster_state,
    encode_decision,
    encode_namespace_state,
    passthrough_headers,
)
from questream.store.protocol import Store
from questream.stream.backlog import Batch, Item
from questream.stream.retry import Retry

logger = logging.getLogger(__name__)

# Whoever commits also publishes, at once; what waits for longer than this was left behind by a worker that died.
_LEFT_BEHIND_SECONDS = 10.0
_IDLE_SECONDS = 2.0
_SWEEP_CLUSTERS = 256


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

    `current_epoch` tells the number of the assignment in force, `on_superseded` is told of a batch that Kafka refused.
    """

    def __init__(
        self,
        clusterer: Clusterer,
        store: Store,
        publisher: Publisher,
        topics: Topics,
        metrics: Metrics,
        retry: Retry,
        current_epoch: Callable[[], int],
        on_superseded: Callable[[int], None],
    ) -> None:
        self._clusterer = clusterer
        self._store = store
        self._publisher = publisher
        self._topics = topics
        self._metrics = metrics
        self._retry = retry
        self._current_epoch = current_epoch
        self._on_superseded = on_superseded
        self._epoch = -1
        self._published_below: dict[tuple[str, int], int] = {}
        self._next_follow = self._next_sweep = 0.0

    def decide(self, batch: Batch, vectors: Matrix) -> Answered | None:
        """Give each item its decision; `vectors` (n, d) are those of the items with tokens, in order.

        None if the batch's partitions have gone to another worker.
        """
        if batch.epoch != self._current_epoch():
            self._drop(batch)
            return None
        if batch.epoch != self._epoch:
            self._epoch = batch.epoch
            self._published_below.clear()
        for item in batch.items:
            self._published_below.setdefault(_partition(item), item.record.source.offset)
        return Answered(batch, self._decide(batch, vectors))

    def publish(self, answered: Answered) -> None:
        """Publish decisions, cluster states, dead letters and offsets as one."""
        batch, decided = answered.batch, answered.decided
        started = time.perf_counter()
        records = self._records(batch.items, decided)
        offsets = {_partition(item): item.record.source.offset + 1 for item in batch.items}
        try:
            rests_on = {
                (item.question.namespace, item.incarnation) for item in batch.items if item.question is not None
            }
            committed = self._publisher.publish(records, offsets, batch.membership, lambda: self._require(rests_on))
        except Superseded:
            # What was decided is in the ledger; the new owner publishes it.
            self._on_superseded(batch.epoch)
            self._drop(batch)
            return
        self._metrics.stage_seconds.labels("publish").observe(time.perf_counter() - started)
        # Only what is committed is never asked for again, so that the ledger may forget it.
        self._published_below.update(committed)
        for result in decided:
            self._retry.store(self._store.confirm, result.namespace, result.published, self._published_below)
        self._measure(batch)

    def follow(self) -> None:
        """While there is nothing to decide: follow what others do."""
        now = time.monotonic()
        if now >= self._next_follow:
            self._next_follow = now + _IDLE_SECONDS
            for namespace in list(self._clusterer.mirrors):
                self._retry.store(self._clusterer.catch_up, namespace)
            self._metrics.clusters.set(self._clusterer.cluster_count)

    def sweep(self) -> None:
        """Between batches: publish what a dead worker left behind, every other second at most."""
        now = time.monotonic()
        if now >= self._next_sweep:
            self._next_sweep = now + _IDLE_SECONDS
            for namespace in self._clusterer.namespaces:
                self._sweep(namespace)

    def _decide(self, batch: Batch, vectors: Matrix) -> list[Decided]:
        """Decisions for the items with vectors, written to `item.recorded` as if they had always been there."""
        by_namespace: dict[str, tuple[list[Item], list[int]]] = {}
        for at, item in enumerate(item for item in batch.items if item.tokens is not None):
            if not np.isfinite(vectors[at]).all():
                item.error = BadRecord("embed", "not_finite", "the model gave a vector that is not finite")
            elif item.question is not None:
                items, rows = by_namespace.setdefault(item.question.namespace, ([], []))
                items.append(item)
                rows.append(at)
        results = []
        for namespace, (items, rows) in by_namespace.items():
            started = time.perf_counter()
            decided = self._decide_in(namespace, items, vectors if len(rows) == len(vectors) else vectors[rows])
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
            Arrival(item.record.source, item.question.text, item.tokens.truncated)
            for item in items
            if item.question is not None and item.tokens is not None
        ]
        incarnations = {item.incarnation for item in items}
        if len(incarnations) > 1:
            raise StoreUnsettled("the store was settled anew between the records of one batch")
        return self._retry.store(
            self._clusterer.decide, namespace, incarnations.pop(), arrivals, vectors, dict(self._published_below)
        )

    def _records(self, items: Sequence[Item], decided: Sequence[Decided]) -> list[Outgoing]:
        records = [self._outgoing(item) for item in items]
        for result in decided:
            records += [Outgoing(self._topics.clusters, *encode_cluster_state(state)) for state in result.states]
            if result.namespace_state is not None:
                records.append(Outgoing(self._topics.clusters, *encode_namespace_state(result.namespace_state)))
        return records

    def _outgoing(self, item: Item) -> Outgoing:
        record = item.record
        if item.error is not None or item.question is None or item.recorded is None:
            error = item.error or BadRecord("decide", "undecided", "no decision was made")
            headers = dead_letter_headers(record, error, attempts=1)
            return Outgoing(self._topics.dead_letters, record.key, record.value, headers)
        value = encode_decision(item.question, item.recorded)
        return Outgoing(self._topics.output, record.key, value, passthrough_headers(record))

    def _require(self, rests_on: Collection[tuple[str, str]]) -> None:
        """Raises StoreUnsettled unless each namespace still stands in that incarnation."""
        for namespace, incarnation in rests_on:
            if self._store.incarnation(namespace) != incarnation:
                raise StoreUnsettled("the store may have forgotten what this batch was decided on")

    def _sweep(self, namespace: str) -> None:
        """Publish the state of clusters whose last change nobody has published."""
        incarnation = self._retry.store(self._store.incarnation, namespace)
        waiting = self._retry.store(self._store.unpublished, namespace, _LEFT_BEHIND_SECONDS, _SWEEP_CLUSTERS)
        if incarnation is None or not waiting:
            return
        records: list[Outgoing] = []
        published: dict[int, int] = {}
        for cluster_id in waiting:
            # A merge is told with the cluster that it made.
            next_id: int | None = cluster_id
            while next_id is not None and next_id not in published:
                record, published[next_id], next_id = self._told(namespace, next_id)
                records += record
        self._publisher.publish(records, {}, None, lambda: self._require([(namespace, incarnation)]))
        self._retry.store(self._store.confirm, namespace, list(published.items()), self._published_below)

    def _told(self, namespace: str, cluster_id: int) -> tuple[list[Outgoing], int, int | None]:
        """The record that tells how a cluster stands (0: the namespace), its revision, and what it was merged into."""
        if cluster_id == 0:
            whole = self._retry.store(self._store.namespace_state, namespace)
            if whole is None:
                return [], 0, None
            return [Outgoing(self._topics.clusters, *encode_namespace_state(whole))], whole.revision, None
        state = self._retry.store(self._store.cluster, namespace, cluster_id)
        if state is None:
            return [], 0, None
        return [Outgoing(self._topics.clusters, *encode_cluster_state(state))], state.revision, state.merged_into

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
        published = 0
        for item in batch.items:
            if item.error is not None:
                metrics.dead_lettered.labels(item.error.reason).inc()
                continue
            published += 1
            decision = item.recorded
            if decision is not None:
                self._measure_decision(item, decision)
            if item.record.source.timestamp > 0:
                metrics.end_to_end_seconds.observe(max(0.0, now - item.record.source.timestamp / 1000))
        metrics.published.inc(published)
        metrics.clusters.set(self._clusterer.cluster_count)

    def _measure_decision(self, item: Item, decision: Decision) -> None:
        if item.tokens is None or decision.outcome == "replayed":
            self._metrics.replayed.inc()
        self._metrics.assignments.labels(decision.outcome).inc()
        if decision.outcome == "joined" and decision.similarity is not None:
            self._metrics.similarity.observe(decision.similarity)


def _partition(item: Item) -> tuple[str, int]:
    return item.record.source.topic, item.record.source.partition


def _rests_on(batch: Batch) -> set[tuple[str, str]]:
    """The namespaces that the batch was decided in, each with its incarnation."""
    return {(item.question.namespace, item.incarnation) for item in batch.items if item.question is not None}
