"""Fetch, decode, recall and tokenise: everything before the device. All calls to the consumer are made here."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kafka import ConsumerRebalanceListener, TopicPartition
from kafka import errors as kafka_errors

from questream.broker.kafka_python.consumer import RecordConsumer
from questream.broker.kafka_python.publisher import Offsets
from questream.broker.kafka_python.reading import RecordCheck, record_of
from questream.deciding.clusterer import Clusterer
from questream.domain import Record, Source, Unread
from questream.encoder import Encoder
from questream.errors import BadRecord, KafkaUnavailable, NamespaceHeld, NamespaceRefused, Recourse, recourse_of
from questream.metrics import Metrics
from questream.records import QuestionDecoder
from questream.records.fingerprint import fingerprint
from questream.store.protocol import Identity, Ledger
from questream.stream.admission import Admission
from questream.stream.backlog import Backlog, Item
from questream.stream.positions import Beginning, Positions
from questream.stream.retry import Retry

logger = logging.getLogger(__name__)

_POLL_MS = 100
_LAG_SECONDS = 5.0
_ANSWER_MS = 1000
# How long a namespace that the store refused is not asked for again: its records may come by the thousand.
_REFUSED_SECONDS = 10.0
_HELD_SECONDS = 0.5
_MOST_REFUSED = 1000


# Ledgers of partitions in namespaces that are held at once; any other is read again.
_MOST_LEDGERS = 65_536


class Intake:
    """Feeds the backlog from one consumer. All but `acknowledge` and `superseded` belongs to the thread of `step`.

    `encoders` are those of the models that a namespace may be built with. `stall_seconds` is how long a partition with
    lag may stand still, and how long the broker may take to tell what is committed, before the consumer is given up.
    Records of a namespace that the store or `admission` refuses are dead letters; where it is `own_namespace`, `step`
    raises NamespaceRefused. A partition waits at a record of a namespace that somebody holds, for no offset may be
    committed past it; the other partitions go on.
    """

    def __init__(
        self,
        consumer: RecordConsumer,
        topic: str,
        begin_at: Beginning,
        decoder: QuestionDecoder,
        own_namespace: str,
        admission: Admission,
        encoders: Mapping[Identity, Encoder],
        clusterer: Clusterer,
        backlog: Backlog,
        metrics: Metrics,
        retry: Retry,
        check: RecordCheck,
        stall_seconds: float,
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._decoder = decoder
        self._own_namespace = own_namespace
        self._refused: dict[str, tuple[BadRecord, float]] = {}
        self._admission = admission
        self._encoders = encoders
        self._clusterer = clusterer
        self._backlog = backlog
        self._metrics = metrics
        self._retry = retry
        self._assignment = _Assignment()
        self._had_turn: set[TopicPartition] = set()
        self._held: dict[TopicPartition, str] = {}
        self._next_look_at_held = 0.0
        self._ledgers: dict[tuple[str, str, int], tuple[Ledger, Encoder]] = {}
        self._acknowledged: queue.SimpleQueue[tuple[Offsets, Any]] = queue.SimpleQueue()
        self._committed: Offsets = {}
        self._stream = topic
        self._watch = _ProgressWatch(stall_seconds)
        self._positions = Positions(consumer, topic, begin_at, metrics, stall_seconds, self._forget_from)
        self._next_lag_report = 0.0
        self._answered = True
        self._superseded = (-1, 0.0)
        self._stall_seconds = stall_seconds
        self._check = check
        self._heads_seen: set[tuple[str, str, int]] = set()
        consumer.subscribe(topics=[topic], listener=self._assignment)

    @property
    def assigned(self) -> bool:
        """Whether this worker has joined the group; it may still have no partition."""
        return self._assignment.joined

    @property
    def answered(self) -> bool:
        """Whether the broker answered when it was last asked, a few seconds ago at most."""
        return self._answered

    @property
    def held_namespaces(self) -> list[str]:
        """The namespaces that partitions wait for; safe from any thread."""
        return sorted(set(self._held.copy().values()))

    def acknowledge(self, offsets: Offsets, membership: Any) -> Offsets:
        """These offsets are published: commit them at the next step (at-least-once); safe from any thread.

        Returns what has been committed so.
        """
        self._acknowledged.put((offsets, membership))
        return self._committed

    def published(self, offsets: Offsets) -> None:
        """These offsets are committed with what was published; safe from any thread."""
        self._positions.published(offsets)

    def superseded(self, assignment_id: int) -> None:
        """A batch of this epoch was refused: its partitions are another's. Safe from any thread.

        The epoch ends at once. A batch may be of several partitions, and those that stay with this worker must not be
        decided behind the refused batch, whose records would then never be. The group must be about to rebalance.
        """
        if assignment_id == self._backlog.assignment_id:
            self._superseded = (assignment_id, time.monotonic())
            self._metrics.dropped.inc(self._backlog.end_assignment(assignment_id))

    def step(self) -> None:
        """One poll and all that follows from it.

        Raises KafkaUnavailable where the consumer has to be built anew.
        """
        self.commit_acknowledged()
        self._keep_joining()
        self._look_at_held()
        assignment_id = self._backlog.assignment_id
        fetched = self._poll()
        # Before the look at the assignment: a membership that is newer than the records shows there as a change.
        membership = self._consumer.group_metadata()
        if self._assignment.take_change():
            self._end_assignment()
        if self._assignment.take_assigned():
            # What was fetched is dropped, and read again from where the group stands.
            self._consumer.take_out_of_range()
            self._name_stream()
            self._positions.rewind()
            self._backlog.begin_assignment()
        elif self._backlog.begun and self._backlog.assignment_id == assignment_id:
            for partition, position in self._consumer.take_out_of_range().items():
                self._positions.lost_by_retention(partition, position)
            fetched = self._positions.without_last(fetched)
            if fetched:
                self._take(fetched, membership, assignment_id)
        self._watch_over()

    def commit_acknowledged(self) -> None:
        """Commit what was published, unless its partitions have been given away since."""
        newest: dict[tuple[str, int], int] = {}
        generation = self._consumer.group_metadata().generation_id
        while not self._acknowledged.empty():
            offsets, membership = self._acknowledged.get()
            if membership.generation_id == generation:
                newest.update(offsets)
        if not newest:
            return
        if self._positions.commit({TopicPartition(*at): offset for at, offset in newest.items()}):
            self._committed = {**self._committed, **newest}
            self._positions.published(newest)

    def _poll(self) -> dict[TopicPartition, list[Any]]:
        """What partitions have whose turn it is. A full backlog pauses all of them; polling keeps the membership.

        kafka-python hands out all that it has of one partition before it looks at the next, and fetches no other
        meanwhile: one with a long queue would keep the others waiting until it is through. So whichever has given
        records is paused until all others that have any have given theirs.
        """
        assigned = self._consumer.assignment()
        self._had_turn &= assigned
        held = assigned & self._held.keys()
        full = self._backlog.full
        self._pause_only(assigned if full else self._had_turn | held)
        timeout_ms = 0 if self._had_turn and not full else _POLL_MS
        fetched: dict[TopicPartition, list[Any]] = self._consumer.poll(timeout_ms, self._backlog.room)
        self._had_turn |= fetched.keys()
        if not (fetched or full) or self._had_turn | held >= assigned:
            self._had_turn.clear()
        return fetched

    def _pause_only(self, partitions: set[TopicPartition]) -> None:
        paused = self._consumer.paused()
        self._consumer.pause(*(partitions - paused))
        self._consumer.resume(*(paused - partitions))

    def _keep_joining(self) -> None:
        """Have the next poll finish a join that the last one began.

        kafka-python forgets a join that new metadata caused if a poll ends between its two requests: the consumer then
        has no partitions, sends no heartbeats, and waits for ever.
        """
        coordinator = self._consumer._coordinator
        if coordinator.rebalance_in_progress() and not coordinator.need_rejoin():
            coordinator.request_rejoin()

    def _end_assignment(self) -> None:
        self._metrics.dropped.inc(self._backlog.end_assignment(self._backlog.assignment_id))
        self._metrics.consumer_lag.clear()
        self._metrics.held_back.clear()
        self._ledgers.clear()
        self._heads_seen.clear()
        self._held.clear()
        self._metrics.held_partitions.set(0)
        self._watch.clear()

    def _name_stream(self) -> None:
        """How the ledgers call the topic: asked at each assignment, since it may have been made anew under its name."""
        identity = self._consumer.stream_identity(self._topic)
        self._stream, is_new = self._retry.store(self._clusterer.stream, self._topic, identity)
        if is_new and self._stream != self._topic:
            self._metrics.ledgers_begun_anew.labels("other_stream").inc()
            logger.warning(
                "the store knows decisions of this topic from another Kafka cluster, group or topic of its name: "
                "its records are new questions",
                extra={"topic": self._topic},
            )

    def _forget_from(self, partition: TopicPartition, offset: int) -> None:
        """Records from this offset on are others than those that were decided."""
        self._retry.store(self._clusterer.forget_in_all, self._stream, partition.partition, offset)
        self._ledgers.clear()
        self._metrics.ledgers_begun_anew.labels("other_records").inc()

    def _take(self, fetched: dict[TopicPartition, list[Any]], membership: Any, assignment_id: int) -> None:
        if membership.generation_id < 0:
            # Offsets under no generation would not be fenced. The group is lost: what was fetched is fetched again.
            raise KafkaUnavailable("the consumer has lost its group")
        started = time.perf_counter()
        decoded = {
            partition: [self._decode(record_of(message, self._stream)) for message in messages]
            for partition, messages in fetched.items()
        }
        self._admit([item for its_items in decoded.values() for item in its_items])
        ready = {partition: self._recall_all(partition, its_items) for partition, its_items in decoded.items()}
        items = [item for its_items in ready.values() for item in its_items]
        self._metrics.consumed.inc(len(items))
        recalled = time.perf_counter()
        self._metrics.stage_seconds.labels("decode").observe(recalled - started)
        self._tokenise([item for item in items if item.error is None and item.recorded is None])
        self._metrics.stage_seconds.labels("tokenise").observe(time.perf_counter() - recalled)
        # Before they are on their way: what is published must never be ahead of what was taken.
        ends = {
            partition: its_items[-1].record.source.offset + 1 for partition, its_items in ready.items() if its_items
        }
        self._positions.taken(ends)
        self._backlog.put(items, membership, assignment_id)

    def _recall_all(self, partition: TopicPartition, items: Sequence[Item]) -> Sequence[Item]:
        """Recall items of a partition in their order; returns those before the first whose namespace is held.

        That one, and all behind it, are read again once it is free.
        """
        for count, item in enumerate(items):
            try:
                self._recall(item)
            except NamespaceHeld as error:
                if recourse_of(error) is not Recourse.WAIT:
                    raise
                assert item.question is not None  # noqa: S101 - it has a namespace
                self._consumer.seek(partition, item.record.source.offset)
                self._held[partition] = item.question.namespace
                self._metrics.held_partitions.set(len(self._held))
                logger.info("a partition waits", extra={"partition": partition.partition, "reason": str(error)})
                return items[:count]
        return items

    def _look_at_held(self) -> None:
        """Let the partitions go on whose namespace is free again."""
        if not self._held or time.monotonic() < self._next_look_at_held:
            return
        for namespace in self.held_namespaces:
            # One that is refused by now is told at its records.
            with suppress(NamespaceRefused):
                try:
                    self._retry.store(self._clusterer.recovered, namespace)
                except NamespaceHeld:
                    continue
            self._held = {partition: name for partition, name in self._held.items() if name != namespace}
        self._metrics.held_partitions.set(len(self._held))
        self._next_look_at_held = time.monotonic() + _HELD_SECONDS

    def _decode(self, record: Record) -> Item:
        try:
            question = self._decoder.decode(record)
        except BadRecord as error:
            return Item(record, error=_untraced(error), by_reference=isinstance(record.value, Unread))
        return Item(record, question)

    def _admit(self, items: Sequence[Item]) -> None:
        """Open all namespaces that the items are the first of, at once; those that may not begin are dead letters."""
        unopened = self._clusterer.unopened({item.question.namespace for item in items if item.question is not None})
        if not unopened:
            return
        refused = self._retry.store(self._admission.refused, unopened)
        for item in items:
            if item.question is not None and item.question.namespace in refused:
                item.error = refused[item.question.namespace]
        self._retry.store(self._clusterer.open_all, unopened - refused.keys())

    def _recall(self, item: Item) -> None:
        """What is recorded of the item, and the encoder of its namespace."""
        if item.error is not None or item.question is None:
            return
        source = item.record.source
        try:
            ledger, item.encoder = self._ledger(item.question.namespace, source)
        except BadRecord as error:
            item.error = _untraced(error)
            return
        ledger = self._without_others(item.question.namespace, item.record, ledger)
        item.recorded = ledger.decisions.get(source.offset)
        item.store_epoch = ledger.store_epoch
        item.fresh = source.offset > ledger.head

    def _ledger(self, namespace: str, source: Source) -> tuple[Ledger, Encoder]:
        """What this namespace has decided of this partition before it came to us, and the encoder of its model then.

        Raises BadRecord where the store refuses the namespace, NamespaceRefused where that is the worker's own.
        """
        at = (namespace, *source.place)
        known = self._ledgers.get(at)
        if known is None:
            ledger = self._read_ledger(*at)
            while len(self._ledgers) >= _MOST_LEDGERS:
                del self._ledgers[next(iter(self._ledgers))]
            known = self._ledgers[at] = (ledger, self._encoders[self._clusterer.identity(namespace)])
        ledger, encoder = known
        if ledger.decisions and source.offset > ledger.head:
            known = self._ledgers[at] = (Ledger(ledger.head, store_epoch=ledger.store_epoch), encoder)
        return known

    def _without_others(self, namespace: str, record: Record, ledger: Ledger) -> Ledger:
        """The partition's ledger, from which what is recorded of other records than those that stand there now is gone.

        A log that was truncated or restored gives its offsets again.
        """
        source = record.source
        at = (namespace, *source.place)
        if source.offset in ledger.decisions:
            if ledger.is_of(source.offset, fingerprint(record)):
                return ledger
        elif source.offset > ledger.head or not self._head_is_another(at, source, ledger):
            return ledger
        logger.warning(
            "other records stand where decisions were made: from here on they are new questions",
            extra={"namespace": namespace, "partition": source.partition, "offset": source.offset},
        )
        self._metrics.ledgers_begun_anew.labels("other_records").inc()
        ledger = self._retry.store(self._clusterer.forget, *at, source.offset)
        self._ledgers[at] = (ledger, self._ledgers[at][1])
        return ledger

    def _head_is_another(self, at: tuple[str, str, int], source: Source, ledger: Ledger) -> bool:
        """Whether the record that the ledger ends with has gone from its place.

        What is not recorded at or below that is either read again, since the group was set back, or another record,
        since Kafka came back from a backup and what was decided of these offsets is pruned.
        """
        if at in self._heads_seen:
            return False
        while len(self._heads_seen) >= _MOST_LEDGERS:
            self._heads_seen.pop()
        self._heads_seen.add(at)
        known = ledger.fingerprints.get(ledger.head, "")
        return self._check.is_another(source.topic, source.partition, ledger.head, known)

    def _read_ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        refused, until = self._refused.get(namespace, (None, 0.0))
        if refused is not None and time.monotonic() < until:
            raise refused
        try:
            return self._retry.store(self._clusterer.recorded, namespace, topic, partition)
        except NamespaceRefused as error:
            if namespace == self._own_namespace:
                raise
            refused = BadRecord("recall", error.reason, str(error))
        logger.warning("a namespace is refused: its records are dead letters", extra={"reason": str(refused)})
        while len(self._refused) >= _MOST_REFUSED:
            del self._refused[next(iter(self._refused))]
        self._refused[namespace] = refused, time.monotonic() + _REFUSED_SECONDS
        raise refused

    def _tokenise(self, items: Sequence[Item]) -> None:
        for encoder in self._encoders.values():
            its_items = [item for item in items if item.encoder is encoder]
            texts = [item.question.text for item in its_items if item.question is not None]
            try:
                tokens = encoder.tokenise(texts)
            except BadRecord:
                for item, text in zip(its_items, texts, strict=True):
                    try:
                        (item.tokens,) = encoder.tokenise([text])
                    except BadRecord as error:
                        item.error = _untraced(error)
                continue
            for item, its_tokens in zip(its_items, tokens, strict=True):
                item.tokens = its_tokens

    def _watch_over(self) -> None:
        now = time.monotonic()
        assignment_id, since = self._superseded
        if (
            assignment_id == self._backlog.assignment_id - 1
            and not self._backlog.begun
            and now - since > self._stall_seconds
        ):
            # The partitions are said to be another's, yet no rebalance came: what was dropped must be read again.
            raise KafkaUnavailable("the broker refused our membership and the consumer did not notice")
        if now < self._next_lag_report:
            return
        self._next_lag_report = now + _LAG_SECONDS
        assigned = self._consumer.assignment()
        if self._assignment.joined and not assigned and not self._consumer.partitions_for_topic(self._topic):
            raise KafkaUnavailable(f"topic {self._topic} has no partitions")
        ends = self._ask_ends(assigned)
        positions: dict[TopicPartition, int | None] = {}
        for partition in assigned & ends.keys():
            position = positions[partition] = self._consumer.position(partition, timeout_ms=_ANSWER_MS)
            self._report_lag(partition, ends[partition], position or 0)
            waiting = ends[partition] > (position or 0) and partition not in self._consumer.paused()
            if self._watch.stands_still(partition, position, waiting, now):
                raise KafkaUnavailable(f"partition {partition.partition} has lag and does not move")
        if self._backlog.begun:
            self._positions.commit_past_markers(positions)

    def _report_lag(self, partition: TopicPartition, stable_end: int, position: int) -> None:
        # What lies behind an open transaction is lag too, though nobody may read it yet.
        log_end = max(stable_end, self._consumer.highwater(partition) or 0)
        labels = (partition.topic, partition.partition)
        self._metrics.consumer_lag.labels(*labels).set(max(0, log_end - position))
        self._metrics.held_back.labels(*labels).set(log_end - stable_end)

    def _ask_ends(self, assigned: set[TopicPartition]) -> dict[TopicPartition, int]:
        """Where each partition ends for a read_committed reader: before the first open transaction.

        The consumer's own `highwater` lies behind such a transaction, and is as old as the last fetch that worked.
        """
        try:
            ends: dict[TopicPartition, int] = self._consumer.end_offsets(
                assigned or {TopicPartition(self._topic, 0)}, timeout_ms=_ANSWER_MS
            )
        except kafka_errors.KafkaTimeoutError:
            self._answered = False
            return {}
        self._answered = True
        return ends


class _Assignment(ConsumerRebalanceListener):  # type: ignore[misc]  # kafka-python ships no types
    """Notes that the assignment changed. It is called on the IO thread, where nothing may block."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        self._assigned = threading.Event()
        self.joined = False

    def on_partitions_revoked(self, revoked: Any) -> None:  # noqa: ARG002 - the listener's signature
        self._changed.set()

    def on_partitions_assigned(self, assigned: Any) -> None:  # noqa: ARG002 - the listener's signature
        self.joined = True
        self._assigned.set()
        self._changed.set()

    def on_partitions_lost(self, lost: Any) -> None:  # noqa: ARG002 - the listener's signature
        self.joined = False
        self._changed.set()

    def take_change(self) -> bool:
        """Whether anything changed since the last call."""
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    def take_assigned(self) -> bool:
        """Whether partitions have been assigned since the last call, the same ones included."""
        assigned = self._assigned.is_set()
        self._assigned.clear()
        return assigned


class _ProgressWatch:
    """Knows for how long each partition has stood still although there is something to fetch."""

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._since: dict[TopicPartition, tuple[int | None, float]] = {}

    def clear(self) -> None:
        """Another assignment, another start."""
        self._since.clear()

    def stands_still(self, partition: TopicPartition, position: int | None, waiting: bool, now: float) -> bool:
        """Whether `position` has not moved for too long with records `waiting` behind it."""
        seen = self._since.get(partition)
        if not waiting or seen is None or seen[0] != position:
            self._since[partition] = (position, now)
            return False
        return now - seen[1] > self._stall_seconds


def _untraced(error: BadRecord) -> BadRecord:
    """The error without its traceback, whose frames hold all that was fetched with it: a cycle that is freed late."""
    return error.with_traceback(None)
