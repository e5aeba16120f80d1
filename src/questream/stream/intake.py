"""Fetch: poll the consumer and hand on what it has. All calls to the consumer are made here."""

from __future__ import annotations

import logging
import queue
import threading
import time
from contextlib import suppress

from questream.broker.port import Consumer, GroupMetadata, Message, Offsets, Partition
from questream.broker.reading import RecordCheck, record_of
from questream.deciding.namespaces import Namespaces
from questream.errors import (
    KafkaTimeout,
    KafkaUnavailable,
    NamespaceHeld,
    NamespaceRefused,
    Recourse,
    Superseded,
    recourse_of,
)
from questream.metrics import Metrics
from questream.stream.backlog import Backlog
from questream.stream.decider import Published
from questream.stream.decoding import Decoding
from questream.stream.fence import Fence
from questream.stream.polling import PollingRetry, pause_only
from questream.stream.positions import Beginning, Positions
from questream.stream.recall import Recall

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.1
_LAG_SECONDS = 5.0
_ANSWER_SECONDS = 1.0
_HELD_SECONDS = 0.5


class Intake:
    """Feeds the backlog from one consumer. All but `acknowledge` and `published` belongs to the thread of `step`.

    `stall_seconds` is how long a partition with lag may make no progress, and how long the broker may take to name the
    committed offsets, before the consumer is given up. A partition waits at a record of a namespace that somebody
    holds, for no offset may be committed past it; the other partitions go on.
    """

    def __init__(
        self,
        consumer: Consumer,
        topic: str,
        begin_at: Beginning,
        decoding: Decoding,
        recall: Recall,
        namespaces: Namespaces,
        backlog: Backlog,
        metrics: Metrics,
        retry: PollingRetry,
        fence: Fence,
        check: RecordCheck,
        stall_seconds: float,
    ) -> None:
        self._consumer = consumer
        self._topic = topic
        self._decoding = decoding
        self._recall = recall
        self._namespaces = namespaces
        self._backlog = backlog
        self._metrics = metrics
        self._retry = retry
        self._fence = fence
        self._assignment = _Assignment()
        self._had_turn: set[Partition] = set()
        self._held: dict[Partition, str] = {}
        self._next_look_at_held = 0.0
        self._acknowledged: queue.SimpleQueue[tuple[Offsets, GroupMetadata]] = queue.SimpleQueue()
        self._committed: Offsets = {}
        self._published: queue.SimpleQueue[Published] = queue.SimpleQueue()
        self._stream = topic
        self._watch = _ProgressWatch(stall_seconds)
        self._positions = Positions(consumer, topic, begin_at, metrics, stall_seconds, check, self._forget_from)
        self._next_lag_report = 0.0
        self._answered = True
        self._stall_seconds = stall_seconds
        consumer.subscribe(topic, self._assignment)

    @property
    def assigned(self) -> bool:
        """True if this worker has joined the group; it may still have no partition."""
        return self._assignment.joined

    @property
    def polled_at(self) -> float:
        """When the group was polled last (time.monotonic); safe from any thread."""
        return self._retry.polled_at

    @property
    def answered(self) -> bool:
        """True if the broker answered when it was last asked, a few seconds ago at most."""
        return self._answered

    @property
    def held_namespaces(self) -> list[str]:
        """The namespaces that partitions wait for; safe from any thread."""
        return sorted(set(self._held.copy().values()))

    def acknowledge(self, offsets: Offsets, membership: GroupMetadata) -> Offsets:
        """These offsets are published: commit them at the next step (at-least-once); safe from any thread.

        Returns what has been committed so.
        """
        self._acknowledged.put((offsets, membership))
        return self._committed

    def published(self, published: Published) -> None:
        """These offsets are committed with what was published; safe from any thread."""
        self._published.put(published)

    def step(self) -> None:
        """One poll and all that follows from it.

        Raises KafkaUnavailable where the consumer has to be built anew.
        """
        self.commit_acknowledged()
        self.answer_others()
        self._note_published()
        self._look_at_held()
        assignment_id = self._backlog.assignment_id
        fetched = self._poll()
        # Before the look at the assignment: a membership that is newer than the records shows there as a change.
        membership = self._consumer.group_metadata()
        if self._assignment.take_change():
            self._end_assignment()
        if self._assignment.take_assigned():
            # The fetched records are dropped, and read again from the group's offsets.
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
        self._retry.polled_at = time.monotonic()

    def commit_acknowledged(self) -> None:
        """Commit what was published, unless its partitions have been given away since."""
        newest: dict[Partition, int] = {}
        generation = self._consumer.group_metadata().generation_id
        while not self._acknowledged.empty():
            offsets, membership = self._acknowledged.get()
            if membership.generation_id == generation:
                newest.update(offsets)
        if not newest:
            return
        if self._positions.commit(newest):
            self._committed = {**self._committed, **newest}
            self._positions.published(newest)

    def answer_others(self) -> None:
        """Answer threads that ask whether the partitions are still this worker's."""
        self._fence.answer()

    def _note_published(self) -> None:
        while not self._published.empty():
            published = self._published.get()
            if published.assignment_id == self._backlog.assignment_id:
                self._positions.published(published.offsets)

    def _poll(self) -> dict[Partition, list[Message]]:
        """The next records of the partitions. A full backlog pauses all of them; polling keeps the membership.

        kafka-python hands out all that it has of one partition before it looks at the next: one with a long queue would
        keep the others waiting until it is through. So while others wait, whichever has given records is paused until
        they have given theirs. Only then: no request asks for a partition that is paused, and what comes to it waits
        until the broker, which has nothing else to send, has answered the one that is on its way.
        """
        assigned = self._consumer.assignment()
        self._had_turn &= assigned
        held = assigned & self._held.keys()
        full = self._backlog.full
        pause_only(self._consumer, assigned if full else self._had_turn | held)
        timeout = 0.0 if self._had_turn and not full else _POLL_SECONDS
        fetched = self._consumer.poll(timeout, self._backlog.room)
        self._had_turn |= fetched.keys()
        if self._had_turn | held >= assigned or not (full or self._consumer.others_wait(self._had_turn)):
            self._had_turn.clear()
        return fetched

    def _end_assignment(self) -> None:
        self._metrics.dropped.inc(self._backlog.end_assignment(self._backlog.assignment_id))
        self._metrics.consumer_lag.clear()
        self._metrics.held_back.clear()
        self._recall.clear()
        # Of other records, where the log is cut before the partitions come back.
        self._committed = {}
        self._held.clear()
        self._metrics.held_partitions.set(0)
        self._watch.clear()

    def _name_stream(self) -> None:
        """The topic's name in the ledgers, read at each assignment, since it may have been made anew under its name."""
        identity = self._consumer.stream_identity(self._topic)
        self._stream, is_new = self._retry.call(self._namespaces.stream, self._topic, identity)
        if is_new and self._stream != self._topic:
            self._metrics.ledgers_begun_anew.labels("other_stream").inc()
            logger.warning(
                "the store knows decisions of this topic from another Kafka cluster, group or topic of its name: "
                "its records are new questions",
                extra={"topic": self._topic},
            )

    def _forget_from(self, partition: Partition, offset: int) -> None:
        """Records from this offset on are others than those that were decided."""
        self._recall.forget_from(self._stream, partition.partition, offset)

    def _take(self, fetched: dict[Partition, list[Message]], membership: GroupMetadata, assignment_id: int) -> None:
        if membership.generation_id < 0:
            # Offsets under no generation would not be fenced. The group is lost: what was fetched is fetched again.
            raise KafkaUnavailable("the consumer has lost its group")
        records = {at: [record_of(message, self._stream) for message in messages] for at, messages in fetched.items()}
        try:
            decoded = self._decoding.decode(records)
        except Superseded as error:
            if recourse_of(error) is not Recourse.DROP:
                raise
            dropped = sum(map(len, records.values())) + self._backlog.supersede(assignment_id)
            self._metrics.dropped.inc(dropped)
            logger.info("records were dropped: their partitions went to another worker", extra={"records": dropped})
            return
        if self._assignment.has_changed:
            # While the store was asked: the next step drops all of this assignment.
            return
        for partition, question in decoded.held.items():
            # It and all behind it are read again once its namespace is free.
            self._consumer.seek(partition, question.record.source.offset)
            self._held[partition] = question.namespace
        self._metrics.held_partitions.set(len(self._held))
        self._metrics.consumed.inc(len(decoded.items))
        # Before they are on their way: what is published must never be ahead of what was taken.
        self._positions.taken(decoded.ends)
        self._backlog.put(decoded.items, membership, assignment_id)

    def _look_at_held(self) -> None:
        """Let the partitions go on whose namespace is free again."""
        if not self._held or time.monotonic() < self._next_look_at_held:
            return
        for namespace in self.held_namespaces:
            # A namespace that is refused by now has its records refused.
            with suppress(NamespaceRefused):
                try:
                    self._retry.call(self._namespaces.recovered, namespace)
                except NamespaceHeld:
                    continue
            self._held = {partition: name for partition, name in self._held.items() if name != namespace}
        self._metrics.held_partitions.set(len(self._held))
        self._next_look_at_held = time.monotonic() + _HELD_SECONDS

    def _watch_over(self) -> None:
        now = time.monotonic()
        superseded_at = self._backlog.superseded_at
        if superseded_at is not None and now - superseded_at > self._stall_seconds:
            # The partitions are said to be another's, yet no rebalance came: what was dropped must be read again.
            raise KafkaUnavailable("the broker refused our membership and the consumer did not notice")
        if now < self._next_lag_report:
            return
        self._next_lag_report = now + _LAG_SECONDS
        assigned = self._consumer.assignment()
        if self._assignment.joined and not assigned and not self._consumer.partitions(self._topic):
            raise KafkaUnavailable(f"topic {self._topic} has no partitions")
        ends = self._ask_ends(assigned)
        positions: dict[Partition, int | None] = {}
        for partition in assigned & ends.keys():
            position = positions[partition] = self._consumer.position(partition, _ANSWER_SECONDS)
            self._report_lag(partition, ends[partition], position or 0)
            waiting = ends[partition] > (position or 0) and partition not in self._consumer.paused()
            if self._watch.is_stalled(partition, position, waiting, now):
                raise KafkaUnavailable(f"partition {partition.partition} has lag and does not move")
        # After a rebalance the positions may lie behind records that were dropped, and the group would take them.
        if self._backlog.begun and not self._assignment.has_changed:
            self._positions.commit_past_markers(positions)

    def _report_lag(self, partition: Partition, stable_end: int, position: int) -> None:
        # Records behind an open transaction are lag too, though nobody may read them yet.
        log_end = max(stable_end, self._consumer.log_end(partition) or 0)
        labels = (partition.topic, partition.partition)
        self._metrics.consumer_lag.labels(*labels).set(max(0, log_end - position))
        self._metrics.held_back.labels(*labels).set(log_end - stable_end)

    def _ask_ends(self, assigned: set[Partition]) -> dict[Partition, int]:
        """The end of each partition for a read_committed reader: before the first open transaction.

        The consumer's own `highwater` lies behind such a transaction, and is as old as the last fetch that worked.
        """
        try:
            ends = self._consumer.end_offsets(assigned or {Partition(self._topic, 0)}, _ANSWER_SECONDS)
        except KafkaTimeout:
            self._answered = False
            return {}
        self._answered = True
        return ends


class _Assignment:
    """Notes that the assignment changed: a RebalanceListener, called on a thread of the client."""

    def __init__(self) -> None:
        self._changed = threading.Event()
        self._assigned = threading.Event()
        self.joined = False

    def revoked(self) -> None:
        self._changed.set()

    def assigned(self) -> None:
        self.joined = True
        self._assigned.set()
        self._changed.set()

    def lost(self) -> None:
        self.joined = False
        self._changed.set()

    @property
    def has_changed(self) -> bool:
        """True if anything changed that was not taken yet."""
        return self._changed.is_set()

    def take_change(self) -> bool:
        """True if anything changed since the last call."""
        changed = self._changed.is_set()
        self._changed.clear()
        return changed

    def take_assigned(self) -> bool:
        """True if partitions have been assigned since the last call, the same ones included."""
        assigned = self._assigned.is_set()
        self._assigned.clear()
        return assigned


class _ProgressWatch:
    """Knows for how long each partition has made no progress although there is something to fetch."""

    def __init__(self, stall_seconds: float) -> None:
        self._stall_seconds = stall_seconds
        self._since: dict[Partition, tuple[int | None, float]] = {}

    def clear(self) -> None:
        """Another assignment, another start."""
        self._since.clear()

    def is_stalled(self, partition: Partition, position: int | None, waiting: bool, now: float) -> bool:
        """True if `position` has not moved for too long with records `waiting` behind it."""
        seen = self._since.get(partition)
        if not waiting or seen is None or seen[0] != position:
            self._since[partition] = (position, now)
            return False
        return now - seen[1] > self._stall_seconds
