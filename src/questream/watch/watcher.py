"""`questream events run`: of the processes that run it, the one that has the topic of events publishes.

Exactly once, as a worker: events and the offsets that they rest on are one transaction, fenced by the membership of the
group, so that one that was taken for dead cannot commit. Nothing else is stored. A process that begins learns from the
decisions below the committed offsets, and reads the published events from the topic of events.
"""

from __future__ import annotations

import logging
import socket
import threading
import time
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from importlib.metadata import version
from typing import Any, NamedTuple

from threadpoolctl import threadpool_limits

from questream.broker.connect import make_consumer, make_producer, open_admin, open_reader
from questream.broker.deadline import Watchdog
from questream.broker.port import Consumer, Partition
from questream.broker.publisher import TransactionalPublisher
from questream.broker.reading import partitions_of, read_to_end, start_before_end
from questream.broker.sessions import run_sessions
from questream.broker.topics import require_room
from questream.errors import KafkaRefused, Superseded
from questream.events.detector import EventRules
from questream.metrics import EventMetrics
from questream.settings import Settings
from questream.watch.condition import WatchCondition
from questream.watch.detection import MOST_EVENTS, Detectors, event_record, read_published
from questream.watch.lineage import Lineage
from questream.watch.naming import Take, check_names, naming
from questream.watch.ordering import TimeOrder
from questream.watch.suggesting import suggesting

logger = logging.getLogger(__name__)

_POLL_SECONDS = 0.2
_STATES_SECONDS = 0.05
_LEAVE_SECONDS = 10.0
# Offsets that raised no event are committed so often: after a crash, later ones are read again, not published again.
_COMMIT_SECONDS = 5.0
_LOOK_FOR_PARTITIONS_SECONDS = 60.0


def group_of(settings: Settings) -> str:
    """The group of the processes that publish events; its offsets in the output topic are theirs."""
    return f"{settings.kafka.group_id}.events"


class Watcher:
    """Publishes events until stopped; several may run, of which one publishes and the others wait."""

    def __init__(self, settings: Settings) -> None:
        """Raises SettingsError where names are to be made for clusters, and cannot be."""
        check_names(settings)
        own = {"group_id": group_of(settings)}
        self._settings = settings.model_copy(update={"kafka": settings.kafka.model_copy(update=own)})
        self._name = f"{settings.kafka.worker_id or f'{socket.gethostname()}-{uuid.uuid4().hex[:8]}'}-events"
        self._transactional_id = f"{settings.kafka.group_id}-{self._name}"
        self.metrics = EventMetrics()
        self.condition = WatchCondition("publishes", settings.kafka.max_poll_interval_seconds)
        self._stopping = threading.Event()
        self._watchdog = Watchdog()
        self.metrics.build.info({"version": version("questream")})

    def stop(self) -> None:
        """Commit what was looked at and leave; safe from any thread."""
        self._stopping.set()

    def run(self) -> None:
        """Blocks until `stop`; raises what cannot be mended by trying again, such as a missing topic or right."""
        try:
            # It shares its machine with workers, beside which a second thread would spin more than it computes.
            with threadpool_limits(1, user_api="blas"):
                run_sessions(self._run_session, self._stopping, self.condition.note_lost)
        finally:
            self._watchdog.stop()

    def _require_topics(self) -> None:
        kafka = self._settings.kafka
        names = [kafka.output_topic, kafka.cluster_topic, kafka.event_topic]
        with open_admin(self._settings) as admin:
            found = admin.find_topics(names)
        missing = [name for name in names if name not in found]
        if missing:
            raise KafkaRefused(f"topic {', '.join(missing)} does not exist", "create it with: questream topics create")
        require_room([found[kafka.event_topic]])

    def _run_session(self) -> None:
        self._require_topics()
        settings, deadline = self._settings, self._settings.kafka.call_deadline_seconds
        self.metrics.sessions.inc()
        member = make_consumer(settings, self._name)
        publisher = TransactionalPublisher(
            lambda: make_producer(settings, self._name, self._transactional_id), self._watchdog, deadline
        )
        try:
            membership = Membership(member, settings.kafka.event_topic)
            while not membership.renew(_POLL_SECONDS):
                self.condition.note_waiting(is_member=member.group_metadata().generation_id >= 0)
                if self._stopping.is_set():
                    return
            with ExitStack() as opened:
                self.condition.note_learning()
                publisher.start()
                decisions, states, events = (opened.enter_context(open_reader(settings)) for _ in range(3))
                names = opened.enter_context(naming(settings, self.metrics))
                found = opened.enter_context(suggesting(settings, self.metrics))
                readers = Readers(decisions, states, events)
                Turn(self, settings, membership, readers, publisher, (names, found)).run(self._stopping)
        finally:
            self.metrics.publishing.set(0)
            self.metrics.lag.clear()
            self.condition.note_end()
            with self._watchdog.limit("close", _LEAVE_SECONDS + deadline):
                publisher.close()
                # A consumer that is not closed stays in the group, and the others wait until it is given up.
                member.close(_LEAVE_SECONDS)


class Membership:
    """A membership of the group; the member with the first partition of the topic of events publishes."""

    def __init__(self, consumer: Consumer, topic: str) -> None:
        self.consumer = consumer
        self._first = Partition(topic, 0)
        consumer.subscribe(topic, _IgnoredRebalances())

    def renew(self, timeout: float) -> bool:
        """True if this process has the turn; polls, to stay a member, more often than max_poll_interval."""
        self.consumer.poll(timeout)
        # Another consumer reads the records: this assignment only decides which process has the turn.
        self.consumer.pause(self.consumer.assignment() - self.consumer.paused())
        return self._first in self.consumer.assignment()


class _IgnoredRebalances:
    """The generation of the group fences what a rebalance overtakes."""

    def revoked(self) -> None: ...
    def lost(self) -> None: ...
    def assigned(self) -> None: ...


class Readers(NamedTuple):
    """The consumers of the publishing process: of decisions, states of clusters, and published events."""

    decisions: Consumer
    states: Consumer
    events: Consumer


class Turn:
    """The time for which this process publishes events; for one thread."""

    def __init__(
        self,
        watcher: Watcher,
        settings: Settings,
        membership: Membership,
        readers: Readers,
        publisher: TransactionalPublisher,
        beside: Sequence[Take],
    ) -> None:
        self._beside = beside
        self._metrics = watcher.metrics
        self._condition = watcher.condition
        self._settings = settings
        self._membership = membership
        self._readers = readers
        self._publisher = publisher
        # Before the offsets are read: what is committed under it rests on them.
        self._generation = membership.consumer.group_metadata()
        self._committed: dict[Partition, int | None] = {}

    def run(self, stopping: threading.Event) -> None:
        """Until `stopping`. Raises Superseded when the turn is another's, KafkaUnavailable and KafkaRefused."""
        kafka, events, readers = self._settings.kafka, self._settings.events, self._readers
        decisions = self._seen(readers.decisions, kafka.output_topic)
        states = self._seen(readers.states, kafka.cluster_topic)
        start_before_end(readers.events, kafka.event_topic, MOST_EVENTS)
        published = [event for message in read_to_end(readers.events) if (event := read_published(message)) is not None]
        rules = EventRules(false_alarms_per_day=events.false_alarms_per_day)
        detectors = Detectors(rules, kafka.output_topic, published)
        _start(readers.decisions, decisions, events.decisions)
        _start(readers.states, states, None)
        order = TimeOrder(readers.decisions, events.asker, decisions)
        self._follow(order, Lineage(readers.states, states, kafka.cluster_topic), detectors, stopping)

    def _seen(self, reader: Consumer, topic: str) -> dict[Partition, int]:
        """Up to where a topic was looked at before; the first time of all that is where it ends now."""
        partitions = partitions_of(reader, topic)
        ends, starts = reader.end_offsets(partitions), reader.beginning_offsets(partitions)
        committed = self._read_committed(partitions)
        self._committed |= committed
        if all(offset is None for offset in committed.values()):
            self._commit([], ends)
            return ends
        # A partition that was added is read whole, and one that ends before what was looked at is another than it was.
        return {
            at: offset if offset is not None and starts[at] <= offset <= ends[at] else starts[at]
            for at, offset in committed.items()
        }

    def _read_committed(self, partitions: Iterable[Partition]) -> dict[Partition, int | None]:
        return {partition: self._membership.consumer.committed(partition) for partition in partitions}

    def _stay(self) -> None:
        """Raise Superseded if another process has the turn, or had it meanwhile."""
        if not self._membership.renew(0.0):
            raise Superseded("the group gave the topic of events to another member")
        generation = self._membership.consumer.group_metadata()
        # Without one it is about to join again, and what it commits until then is refused.
        if generation.generation_id < 0 or generation.generation_id == self._generation.generation_id:
            return
        # A process that was taken for dead and joins again may be given the turn again, after another published.
        if self._read_committed(self._committed) != self._committed:
            raise Superseded("another process published events meanwhile")
        self._generation = generation

    def _follow(self, order: TimeOrder, lineage: Lineage, detectors: Detectors, stopping: threading.Event) -> None:
        looked_to = {**order.seen, **lineage.seen}
        committed_at = looked_at = time.monotonic()
        while not stopping.is_set():
            self._stay()
            documents = self._look(order, lineage, detectors)
            moved = _beyond(looked_to, order, lineage)
            now = time.monotonic()
            if documents or (moved and now - committed_at > _COMMIT_SECONDS):
                self._commit(documents, moved)
                committed_at = now
                looked_to |= moved
            if now - looked_at > _LOOK_FOR_PARTITIONS_SECONDS:
                looked_at = now
                if self._has_more_partitions(looked_to):
                    logger.info("a topic has other partitions; reading them from now on")
                    break
        self._commit([], _beyond(looked_to, order, lineage))

    def _has_more_partitions(self, known: Collection[Partition]) -> bool:
        kafka, readers = self._settings.kafka, self._readers
        found = {
            *partitions_of(readers.decisions, kafka.output_topic),
            *partitions_of(readers.states, kafka.cluster_topic),
        }
        return found != set(known)

    def _look(self, order: TimeOrder, lineage: Lineage, detectors: Detectors) -> list[dict[str, Any]]:
        beside = [document for take in self._beside for document in take()]
        documents = detectors.only_new([*lineage.take(_STATES_SECONDS), *beside])
        for placed in order.take(0.0 if lineage.is_learning else _POLL_SECONDS):
            self._metrics.read.inc()
            if order.was_seen(placed):
                detectors.learn(placed.question)
            else:
                question = placed.question
                documents += [lineage.with_names(document, question) for document in detectors.see(question)]
        documents = [lineage.with_names(document) for document in documents if not lineage.is_muted(document)]
        if order.is_learning or lineage.is_learning:
            self._condition.note_learning()
        else:
            self._condition.note_working()
            self._metrics.publishing.set(1)
        for at, lag in order.lag.items():
            self._metrics.lag.labels(at.topic, at.partition).set(lag)
        return documents

    def _commit(self, documents: list[dict[str, Any]], offsets: dict[Partition, int]) -> None:
        if not documents and not offsets:
            return
        records = [event_record(self._settings.kafka.event_topic, document) for document in documents]
        if self._generation.generation_id < 0:
            # Kafka takes that for no membership, and would fence nothing.
            raise Superseded("the group has dropped this member")
        self._publisher.publish(records, offsets, self._generation, lambda: None)
        self._committed |= offsets
        for document in documents:
            self._metrics.count_event(document["data"]["kind"], document["data"].get("route", ""))


def _start(reader: Consumer, seen: Mapping[Partition, int], before: int | None) -> None:
    """Assign these partitions, so many offsets before those that were looked at; None: all that is retained."""
    reader.assign(list(seen))
    for partition, start in reader.beginning_offsets(list(seen)).items():
        reader.seek(partition, start if before is None else max(start, seen[partition] - before))


def _beyond(looked_to: Mapping[Partition, int], order: TimeOrder, lineage: Lineage) -> dict[Partition, int]:
    """The next offsets of partitions in which something was looked at beyond these."""
    found = {**order.next_offsets(), **lineage.next_offsets()}
    return {at: next_ for at, next_ in found.items() if next_ > looked_to[at]}
