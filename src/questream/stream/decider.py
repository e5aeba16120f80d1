"""Decide: each embedded question gets its one decision, committed in Redis before anything is published."""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from questream.broker.port import Offsets
from questream.broker.sizes import is_sendable
from questream.deciding.batch import NamespaceBatch, NamespaceDecisions
from questream.deciding.clusterer import Clusterer
from questream.deciding.proposal import Arrival
from questream.errors import (
    BadRecord,
    NamespaceHeld,
    NamespaceRefused,
    Recourse,
    RecoveryNeeded,
    Superseded,
    recourse_of,
)
from questream.metrics import Metrics
from questream.records.fingerprint import fingerprint
from questream.stream.backlog import Batch
from questream.stream.question import Answered, Decided, Embedded, Ready, Refused, too_large
from questream.stream.refusal import drop, pass_over
from questream.stream.retry import Retry

logger = logging.getLogger(__name__)

_FOLLOW_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class DecidedBatch:
    """A batch that Redis has committed, and what deciding it did to each namespace.

    `published_below` names, by topic and partition of the ledger, the offset below which everything was published when
    the batch was decided.
    """

    batch: Batch[Answered]
    namespaces: Sequence[NamespaceDecisions]
    published_below: Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Published:
    """Offsets that were committed together with what was published for them, in one assignment.

    `stream` is the name of their topic in the ledgers.
    """

    assignment_id: int
    stream: str
    offsets: Offsets

    @property
    def below(self) -> dict[tuple[str, int], int]:
        """The offsets by topic and partition as the ledgers name them."""
        return {(self.stream, partition): int(offset) for (_, partition), offset in self.offsets.items()}


class Decider:
    """Decides batches in their order. It belongs to one thread, except for `published`.

    Records of a namespace that the store refuses are dead letters; `own_namespace` is the one that must not be.
    `current_assignment` returns the number of the assignment in force; `on_superseded` gets the one of a batch whose
    partitions are another worker's, and ends it: no later batch of that assignment is decided or published.
    """

    def __init__(
        self,
        clusterer: Clusterer,
        metrics: Metrics,
        retry: Retry,
        current_assignment: Callable[[], int],
        on_superseded: Callable[[int], None],
        own_namespace: str,
    ) -> None:
        self._clusterer = clusterer
        self._metrics = metrics
        self._retry = retry
        self._current_assignment = current_assignment
        self._on_superseded = on_superseded
        self._own_namespace = own_namespace
        self._assignment_id = -1
        self._published_below: dict[tuple[str, int], int] = {}
        self._published: queue.SimpleQueue[Published] = queue.SimpleQueue()
        self._next_follow = 0.0

    def published(self, published: Published) -> None:
        """The ledgers may forget what is below these offsets; safe from any thread."""
        self._published.put(published)

    def decide(self, batch: Batch[Ready]) -> DecidedBatch | None:
        """Give each question its decision, and return once Redis has committed them in every namespace.

        None if the batch's partitions have gone to another worker, which decides or publishes them.
        """
        if batch.assignment_id != self._current_assignment():
            drop(batch, self._metrics)
            return None
        self._note_published(batch)
        try:
            decided = self._decide(batch)
        except Superseded as error:
            if recourse_of(error) is not Recourse.DROP:
                raise
            self._on_superseded(batch.assignment_id)
            drop(batch, self._metrics)
            return None
        self._metrics.clusters.set(self._clusterer.mirrors.cluster_count)
        return decided

    def follow(self) -> None:
        """While there is nothing to decide: follow what other workers do."""
        now = time.monotonic()
        if now >= self._next_follow:
            self._next_follow = now + _FOLLOW_SECONDS
            for namespace in list(self._clusterer.mirrors):
                try:
                    # One that somebody holds is followed again when it is free.
                    with suppress(NamespaceHeld):
                        self._retry.call(self._clusterer.mirrors.catch_up, namespace)
                except NamespaceRefused as error:
                    pass_over(namespace, self._own_namespace, error)
                    self._clusterer.forget(namespace)
            self._metrics.clusters.set(self._clusterer.mirrors.cluster_count)

    def _note_published(self, batch: Batch[Ready]) -> None:
        if batch.assignment_id != self._assignment_id:
            self._assignment_id = batch.assignment_id
            self._published_below.clear()
        while not self._published.empty():
            published = self._published.get()
            if published.assignment_id == self._assignment_id:
                self._published_below.update(published.below)
        for item in batch.items:
            source = item.record.source
            # Each partition is read from the group's offset on: what lies before its first record is published.
            self._published_below.setdefault(source.place, source.offset)

    def _decide(self, batch: Batch[Ready]) -> DecidedBatch:
        checked = [_checked(item) for item in batch.items]
        by_namespace: dict[str, list[Embedded]] = {}
        for item in checked:
            if isinstance(item, Embedded):
                by_namespace.setdefault(item.pending.question.namespace, []).append(item)
        batches = [_namespace_batch(namespace, items) for namespace, items in by_namespace.items()]
        started = time.perf_counter()
        self._retry.call(self._clusterer.decide, batches, dict(self._published_below))
        seconds = time.perf_counter() - started
        namespaces: list[NamespaceDecisions] = []
        answers: dict[str, Iterator[Answered]] = {}
        for of_namespace in batches:
            namespace, items, error = of_namespace.namespace, by_namespace[of_namespace.namespace], of_namespace.refused
            if error is not None:
                pass_over(namespace, self._own_namespace, error)
                self._clusterer.forget(namespace)
                refused = BadRecord("decide", error.reason, str(error))
                answers[namespace] = iter([Refused(item.record, refused) for item in items])
                continue
            decided = of_namespace.decided()
            namespaces.append(decided)
            answers[namespace] = iter(
                [
                    Decided(item.pending.question, decision, item.pending.store_epoch)
                    for item, decision in zip(items, decided.decisions, strict=True)
                ]
            )
        self._measure(namespaces, seconds)
        answered = [
            next(answers[item.pending.question.namespace]) if isinstance(item, Embedded) else item for item in checked
        ]
        return DecidedBatch(batch.of(answered), namespaces, dict(self._published_below))

    def _measure(self, namespaces: Sequence[NamespaceDecisions], seconds: float) -> None:
        metrics = self._metrics
        if namespaces:
            commit_seconds = sum(decided.commit_seconds for decided in namespaces)
            metrics.stage_seconds.labels("assign").observe(max(0.0, seconds - commit_seconds))
            metrics.stage_seconds.labels("commit").observe(commit_seconds)
        for decided in namespaces:
            metrics.merges.inc(decided.merges)
            metrics.merges_refused.inc(decided.merges_refused)
            metrics.judged.labels("same").inc(decided.judged_same)
            metrics.judged.labels("other").inc(decided.judged_other)
            metrics.stale_retries.inc(decided.stale_retries)
            metrics.mirror_lag.set(decided.missed_changes)


def _namespace_batch(namespace: str, items: Sequence[Embedded]) -> NamespaceBatch:
    store_epochs = {item.pending.store_epoch for item in items}
    if len(store_epochs) > 1:
        raise RecoveryNeeded("the store was recovered anew between the records of one batch")
    arrivals = [_arrival(item) for item in items]
    return NamespaceBatch(namespace, store_epochs.pop(), arrivals, np.stack([item.vector for item in items]))


def _checked(item: Ready) -> Ready:
    """The item, refused where it could not be decided or its decision not be sent."""
    if isinstance(item, Embedded):
        if not np.isfinite(item.vector).all():
            return Refused(item.record, BadRecord("embed", "not_finite", "the model gave a vector that is not finite"))
        if not is_sendable(item.record.key):
            # Now, before it is decided: its cluster would count a question that has no decision.
            return too_large(item)
    return item


def _arrival(item: Embedded) -> Arrival:
    pending = item.pending
    record = pending.question.record
    return Arrival(
        record.source,
        pending.question.text,
        pending.tokens.truncated,
        pending.fresh,
        unknown_share=pending.tokens.unknown_share,
        fingerprint=fingerprint(record),
    )
