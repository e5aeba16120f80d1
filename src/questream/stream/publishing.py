"""Publish: decisions, cluster states, dead letters and input offsets become one transaction; the end of the commit."""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

from questream.broker.port import NextOffset, Offsets, Outgoing, Partition
from questream.broker.publisher import Publisher
from questream.broker.quota import Pace
from questream.broker.sizes import SizeLimits
from questream.errors import (
    KafkaRefused,
    NamespaceRefused,
    RecordsTooLarge,
    Recourse,
    RecoveryNeeded,
    Superseded,
    recourse_of,
)
from questream.metrics import Metrics
from questream.records import dead_letter_headers, encode_decision, passthrough_headers, reference_letter
from questream.records.fingerprint import LastRecord
from questream.store.protocol import Store
from questream.stream.backlog import Batch
from questream.stream.decider import DecidedBatch, Published
from questream.stream.fence import Fence
from questream.stream.level_relay import LevelRelay
from questream.stream.operations import OperationRelay
from questream.stream.outbox import RELAYED_AT_ONCE, Headers, OutboxRelay, RelayBatch
from questream.stream.question import Answered, Decided, Recalled, Refused, too_large
from questream.stream.refusal import drop, pass_over
from questream.stream.retry import Retry

logger = logging.getLogger(__name__)

_LONGEST_LATENCY_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Topics:
    """The topics that a worker publishes to."""

    output: str
    clusters: str
    dead_letters: str


class Publishing:
    """Publishes decided batches in their order, and what waits in outboxes. It belongs to one thread.

    `current_assignment` and `on_superseded` are those of the `Decider`; `on_published` gets the offsets that are
    committed. `own_namespace` is the one that the store must not refuse. `pace` learns what a quota of the broker held
    back, and limits what is published at once. Without `operations` those wait in the store. Without `fence`
    the broker refuses what the publisher publishes for partitions of another worker.
    """

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        topics: Topics,
        metrics: Metrics,
        retry: Retry,
        current_assignment: Callable[[], int],
        on_superseded: Callable[[int], None],
        own_namespace: str,
        on_published: Callable[[Published], None] = lambda _: None,
        state_headers: Headers = lambda namespace, store_epoch: (),  # noqa: ARG005 - the names say which is which
        pace: Pace | None = None,
        operations: OperationRelay | None = None,
        fence: Fence | None = None,
    ) -> None:
        self._fence = fence
        self._operations = operations
        self._publisher = publisher
        self._topics = topics
        self._metrics = metrics
        self._current_assignment = current_assignment
        self._on_superseded = on_superseded
        self._own_namespace = own_namespace
        self._on_published = on_published
        self._pace = pace or Pace(RELAYED_AT_ONCE, math.inf)
        self._limits = SizeLimits()
        self._relay = OutboxRelay(store, retry, topics.clusters, state_headers, self._on_refused)
        self._levels = LevelRelay(store, retry)
        self._assignment_id = -1
        self._published_below: dict[tuple[str, int], int] = {}
        # The store epoch of each namespace in which its outbox was emptied before its first decision was published.
        self._relayed_in: dict[str, str] = {}

    def publish(self, decided: DecidedBatch) -> None:
        """The commit of a micro-batch, from the moment that Redis has it.

        The guarantees rest on the order of the steps; each says which failure its place prevents.
        Raises RecoveryNeeded where the store may have forgotten what the batch was decided on.
        """
        # 1. Redis has committed decisions, clusters and ledger rows of all namespaces, one script each, in
        #    `Decider.decide`: a DecidedBatch is nothing else. Were it published first, a crash in between would leave
        #    decisions in Kafka that no ledger knows, and the next worker would publish others.
        batch = decided.batch
        if batch.assignment_id != self._current_assignment():
            # A batch before it may have been refused, and no offset may be committed past that. The next owner of the
            # partitions publishes this one out of the ledger.
            drop(batch, self._metrics)
            return
        self._note_published(decided)
        started = time.perf_counter()
        try:
            # 2. The states of all clusters that the decisions name are gathered, and their place in the outbox is
            #    noted. A state that changes from here on stays in the outbox, whatever is confirmed in step 7.
            relay_batches = self._relay.of_batch(batch.items, decided.namespaces)
            # 3. What a recovery restored is published before the first decision of its store epoch. Else a second loss
            #    would find questions counted in the clusters of before the first, and in those of now.
            self._relay_pending_first(relay_batches)
            # 4. Records and input offsets go into one transaction, fenced by the generation of the group: a worker
            #    whose partitions are another's by now publishes nothing, and no offset passes an unpublished record.
            # 5. Once they are in the log, and before they count, `verify_before_commit` asks Redis whether what they
            #    rest on is still current. Were it asked earlier, Redis could lose its memory after the answer, and the
            #    recovery would find nothing in the log to wait for.
            # 6. The transaction is committed. From here on the batch is published.
            committed, items = self._transact(batch, relay_batches)
        except Superseded as error:
            if recourse_of(error) is not Recourse.DROP:
                raise
            self._on_superseded(batch.assignment_id)
            drop(batch, self._metrics)
            return
        except NamespaceRefused as error:
            # Read again, its records are dead letters, and those of the others are published out of their ledgers.
            raise RecoveryNeeded("the store has refused a namespace since this batch was decided in it") from error
        self._metrics.stage_seconds.labels("publish").observe(time.perf_counter() - started)
        # 7. Only now do the states leave the outbox, and only below committed offsets may ledgers forget: a crash
        #    before has the next worker publish them again, where a confirmation before step 6 would lose them.
        published = Published(batch.assignment_id, batch.items[0].record.source.place[0], committed)
        self._published_below.update(published.below)
        self._on_published(published)
        self._relay.confirm(relay_batches, self._published_below)
        self._measure(items)

    def confirm(self) -> None:
        """Confirm what is published, where no batch is near whose verification takes it along."""
        self._withdraw_offsets()
        self._relay.flush()

    def relay_pending(self, namespace: str, older_than_seconds: float) -> bool:
        """Publish states that have waited in the outbox for that long; returns whether there may be more of them."""
        most = self._relayed_at_once
        relay_batch = self._relay.pending(namespace, older_than_seconds, most)
        if relay_batch is None:
            return False
        # Of an earlier assignment nothing is claimed: the log may have been cut, and its offsets given again.
        is_current = self._assignment_id == self._current_assignment()
        self._publish_relay_batches([relay_batch], self._published_below if is_current else {})
        return len(relay_batch.revisions) >= most

    def relay_operations(self, namespace: str) -> None:
        """Publish operations that wait, as one transaction with the states of the clusters that they are on.

        So a store that lost its memory finds no operation in the topic whose ruling is not in the cluster topic.
        """
        claimed = None if self._operations is None else self._operations.claim(namespace, self._relayed_at_once)
        if self._operations is None or claimed is None:
            return
        relay_batch = self._relay.resting_on(namespace, claimed.claim.store_epoch, claimed.cluster_ids)
        records = [*claimed.records, *relay_batch.records]

        def verify() -> None:
            self._verify([relay_batch])
            assert self._operations is not None  # noqa: S101 - as above
            self._operations.require(claimed)

        try:
            self._send(records, len(records), {}, None, verify)
        except KafkaRefused as error:
            # One operation that the topic does not take must not stop decisions.
            self._operations.hold(error)
            return
        self._operations.confirm(claimed)
        self._relay.confirm([relay_batch], {})
        self._relay.flush()

    def relay_levels(self, namespace: str) -> None:
        """Publish the intents and topics of a namespace that were found since they were last published."""
        claimed = self._levels.claim(namespace)
        if claimed is None:
            return
        relay_batch = self._relay.resting_on(namespace, claimed.store_epoch, ())
        records = [Outgoing(self._topics.clusters, *pair, relay_batch.headers) for pair in claimed.records]

        def verify() -> None:
            self._verify([relay_batch])
            self._levels.require(claimed)

        try:
            self._send(records, len(records), {}, None, verify)
        except KafkaRefused as error:
            # Levels that the topic does not take must not stop decisions.
            self._levels.hold(error)
            return
        self._levels.confirm(claimed)

    def _note_published(self, decided: DecidedBatch) -> None:
        if decided.batch.assignment_id != self._assignment_id:
            self._relay.withdraw_offsets()
            self._assignment_id = decided.batch.assignment_id
            self._published_below.clear()
        self._published_below = {**decided.published_below, **self._published_below}

    def _transact(
        self, batch: Batch[Answered], relay_batches: Sequence[RelayBatch]
    ) -> tuple[Offsets, Sequence[Answered]]:
        """Publish a batch; a record that its topic does not take becomes a dead letter that refers to it.

        Returns the committed offsets, and the questions as they were published.
        """
        last = {Partition(item.record.source.topic, item.record.source.partition): item.record for item in batch.items}
        offsets = {
            at: NextOffset(record.source.offset + 1, str(LastRecord.of(record) or "")) for at, record in last.items()
        }
        passed_over = [item for item in batch.items if _is_passed_over(item)]
        items = [item for item in batch.items if not _is_passed_over(item)]
        states = [record for relay_batch in relay_batches for record in relay_batch.records]
        if self._fence is not None and any(map(_is_in_no_ledger, batch.items)):
            # The next owner of the partitions may have given the same records other answers.
            sources = [item.record.source for item in reversed(batch.items)]
            first = {Partition(source.topic, source.partition): source.offset for source in sources}
            self._fence.require(first, batch.membership)
        while True:
            fitting = [self._fitting(item) for item in items]
            items = [item for item, _ in fitting]
            records = [record for _, record in fitting]
            try:
                committed = self._send(
                    [*records, *states], len(items), offsets, batch.membership, lambda: self._verify(relay_batches)
                )
            except RecordsTooLarge as error:
                if recourse_of(error) is not Recourse.DEAD_LETTER:
                    raise
                for at in error.indices:
                    item = items[at] if at < len(items) else None
                    if item is None or (isinstance(item, Refused) and item.by_reference):
                        # A cluster state or a letter without its record: the topic takes next to nothing.
                        raise
                    self._limits.refused(records[at])
                    items[at] = too_large(item)
            else:
                return committed, [*items, *passed_over]

    def _send(
        self,
        records: list[Outgoing],
        count: int,
        offsets: Offsets,
        membership: Any,
        verify: Callable[[], None],
    ) -> Offsets:
        """Publish; the pace follows what a quota held back of this publication of `count` questions or states."""
        try:
            return self._publisher.publish(records, offsets, membership, verify)
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

    def _fitting(self, item: Answered) -> tuple[Answered, Outgoing]:
        """The item with its record, or with a dead letter that refers to it where its record would be too large."""
        record = self._outgoing(item)
        if (isinstance(item, Refused) and item.by_reference) or self._limits.may_fit(record):
            return item, record
        letter = too_large(item)
        return letter, self._outgoing(letter)

    def _outgoing(self, item: Answered) -> Outgoing:
        match item:
            case Refused(record, error, by_reference=True):
                key, headers = reference_letter(record, error, attempts=1)
                return Outgoing(self._topics.dead_letters, key, None, headers)
            case Refused(record, error):
                headers = dead_letter_headers(record, error, attempts=1)
                return Outgoing(self._topics.dead_letters, record.key, record.value, headers)
            case Decided(question, decision):
                record = question.record
                value = encode_decision(question, decision)
                return Outgoing(self._topics.output, record.key, value, passthrough_headers(record))
            case _:
                assert_never(item)

    @property
    def _relayed_at_once(self) -> int:
        return min(RELAYED_AT_ONCE, self._pace.limit)

    def _relay_pending_first(self, relay_batches: Sequence[RelayBatch]) -> None:
        """Empty the outbox of each namespace whose first decisions in a store epoch are to be published."""
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
            self._publish_relay_batches(found, self._published_below)
        self._relayed_in.update((relay_batch.namespace, relay_batch.store_epoch) for relay_batch in waiting)

    def _publish_relay_batches(self, relay_batches: Sequence[RelayBatch], below: Mapping[tuple[str, int], int]) -> None:
        if relay_batches:
            records = [record for relay_batch in relay_batches for record in relay_batch.records]
            self._send(records, len(records), {}, None, lambda: self._verify(relay_batches))
            self._relay.confirm(relay_batches, below)
            # Or the next look at the outbox would find them again.
            self._relay.flush()

    def _verify(self, relay_batches: Sequence[RelayBatch]) -> None:
        self._withdraw_offsets()
        self._relay.verify_before_commit(relay_batches)

    def _withdraw_offsets(self) -> None:
        if self._assignment_id != self._current_assignment():
            self._relay.withdraw_offsets()

    def _on_refused(self, namespace: str, error: NamespaceRefused) -> None:
        pass_over(namespace, self._own_namespace, error)

    def _measure(self, items: Sequence[Answered]) -> None:
        metrics = self._metrics
        now = time.time()
        outcomes: Counter[str] = Counter()
        published = replayed = 0
        for item in items:
            if isinstance(item, Refused):
                counter = metrics.passed_over if _is_passed_over(item) else metrics.dead_lettered
                counter.labels(item.error.reason).inc()
                continue
            published += 1
            decision = item.decision
            outcomes[decision.outcome] += 1
            replayed += isinstance(item, Recalled) or decision.outcome == "replayed"
            metrics.unknown_share.observe(decision.unknown_share)
            if decision.outcome == "joined" and decision.similarity is not None:
                metrics.similarity.observe(decision.similarity)
            timestamp = item.record.source.timestamp
            if timestamp > 0:
                # One absurd timestamp must not be most of the sum.
                metrics.end_to_end_seconds.observe(min(max(0.0, now - timestamp / 1000), _LONGEST_LATENCY_SECONDS))
        for outcome, count in outcomes.items():
            metrics.assignments.labels(outcome).inc(count)
        metrics.replayed.inc(replayed)
        metrics.published.inc(published)


def _is_in_no_ledger(item: Answered) -> bool:
    """True if an answer follows from the state of the store at that moment, and is not recorded there."""
    if isinstance(item, Refused):
        return item.error.stage in ("recall", "decide")
    return item.decision.outcome == "replayed"


def _is_passed_over(item: Answered) -> bool:
    return isinstance(item, Refused) and recourse_of(item.error) is Recourse.SKIP
