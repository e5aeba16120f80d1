"""The compacted cluster topic as a store is compared with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

import orjson

from questream.broker.connect import open_admin, open_reader
from questream.broker.port import Consumer, Message, Partition
from questream.broker.reading import all_read, partitions_of, read_to_end, read_up_to, start_before_end
from questream.domain import ClusterState, NamespaceState, format_cluster_id, parse_cluster_id
from questream.errors import BadRecord, ClusterTopicDamaged, KafkaUnavailable, Problem
from questream.records import (
    PublishedLevels,
    decode_cluster_state,
    decode_namespace_state,
    is_levels_key,
    is_namespace_key,
)
from questream.recovery.home import HOME_HEADER, Home
from questream.recovery.operation_topic import OperationTopic, PublishedOperations
from questream.settings import Settings
from questream.store.ledger import other_stream

logger = logging.getLogger(__name__)

_ANSWER_SECONDS = 10.0
# The time in which the broker aborts a transaction after its own timeout.
_ABORT_SECONDS = 15.0
_LOGGED_EVERY = 1000
_TOMBSTONES_KEPT_MS = 86_400_000
_NEWEST_RECORDS = 200
# Has the topic's own name in a store that has forgotten whose it was; no stream has this identity.
_AN_EARLIER_STREAM = "an earlier stream"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a record."""

    topic: str
    partition: int
    offset: int


@dataclass(slots=True)
class Published:
    """The published states of a namespace: the newest revision of each cluster, and the retired clusters.

    `streams` are the names, as a store has them, of the topics whose questions were in flight.
    `outdated` names the clusters (0: the namespace) whose last record is older than an earlier one: compaction would
    keep the older.
    `newest_at` is the latest timestamp of its records, in ms, as far as all of them were read.
    `unreadable` has the places of newest records of clusters (0: of the namespace) that are no states,
    `unreadable_levels` of those of its levels, by key.
    """

    revisions: dict[int, int] = field(default_factory=dict)
    retired: set[int] = field(default_factory=set)
    unreadable: dict[int, Place] = field(default_factory=dict)
    whole: NamespaceState | None = None
    home: Home | None = None
    outdated: set[int] = field(default_factory=set)
    streams: set[str] = field(default_factory=set)
    operations: PublishedOperations = field(default_factory=PublishedOperations)
    levels: PublishedLevels = field(default_factory=PublishedLevels)
    unreadable_levels: dict[bytes, Place] = field(default_factory=dict)
    newest_at: int = 0


class ClusterTopic:
    """Reads the cluster topic and the group's offsets; not for more than one thread at a time.

    Whatever it answers holds all that was published before the call: a transaction that is open then is waited for,
    since its decisions may yet count. `given_up` ends the wait. `stream_of` is `Store.stream`. Each call may raise
    KafkaUnavailable or KafkaRefused.
    """

    def __init__(
        self,
        settings: Settings,
        stream_of: Callable[[str, str], tuple[str, bool]],
        given_up: Callable[[], bool] = lambda: False,
    ) -> None:
        self._settings = settings
        self._stream_of = stream_of
        self._given_up = given_up
        self._topic = settings.kafka.cluster_topic
        self._operation_topic = OperationTopic(settings, given_up)
        self._opened = ExitStack()
        self._consumers: tuple[Consumer, Consumer] | None = None
        self._namespaces: set[str] = set()
        self._deleted: set[str] = set()
        self._homes: dict[str, Home | None] = {}
        self._positions: dict[Partition, int] = {}
        # How many offsets of the topic have been read, of how many, while it is read.
        self.reading: tuple[int, int] | None = None

    def namespaces(self) -> set[str]:
        """The namespaces that the topic knows, without those that were deleted."""
        return self.named() - self._deleted

    def named(self) -> set[str]:
        """The namespaces that the topic has any record of, tombstones too."""
        for message in self._read(self._positions):
            key = message.key or b""
            name = _namespace(key)
            self._namespaces.add(name)
            self._homes[name] = _later_home(self._homes.get(name), message.headers)
            if is_namespace_key(key):
                self._deleted.discard(name) if message.value is not None else self._deleted.add(name)
        return self._namespaces

    def homes(self) -> Mapping[str, Home | None]:
        """The last home of each of the `named` namespaces; None where their records name none."""
        self.named()
        return self._homes

    def published(self) -> dict[str, Published]:
        """The published states, by namespace: of clusters and, as far as there is a topic, operations."""
        found: dict[str, Published] = {}
        for message in self._read({}):
            try:
                _take(found, message)
            except ValueError:
                place = {"partition": message.partition, "offset": message.offset}
                logger.warning("a record of the cluster topic has no key of ours", extra=place)
        for namespace, operations in self._operation_topic.published().items():
            # None of them is published without the states of its clusters.
            if namespace in found:
                found[namespace].operations = operations
        return found

    def tombstones_kept_seconds(self) -> float:
        """For how long compaction keeps tombstones, at the least; Kafka's default where that may not be seen."""
        with open_admin(self._settings) as admin:
            found = admin.find_topics([self._topic]).get(self._topic)
        configs = found.configs if found else {}
        return int(configs.get("delete.retention.ms", _TOMBSTONES_KEPT_MS)) / 1000

    def keys_of(self, namespace: str) -> set[bytes]:
        """The keys of the namespace, its clusters and levels whose last record is no tombstone."""
        keys: set[bytes] = set()
        for message in self._read({}):
            key = message.key or b""
            if key.partition(b"/")[0] == namespace.encode():
                keys.discard(key) if message.value is None else keys.add(key)
        return keys

    def newest(self) -> dict[str, Published]:
        """The records of the last 200 offsets of each partition, by namespace, without a wait for open transactions."""
        _, witness = self._open()
        found: dict[str, Published] = {}
        try:
            start_before_end(witness, self._topic, _NEWEST_RECORDS)
            for message in all_read(read_to_end(witness)):
                with suppress(ValueError):
                    _take(found, message)
            witness.assign(())
        except KafkaUnavailable:
            self.close()
            raise
        return found

    def states(self, namespace: str, cluster_ids: Collection[int]) -> dict[int, ClusterState]:
        """The newest states of those clusters of a namespace that the topic has and that are not retired.

        Raises ClusterTopicDamaged where the newest record of one is no state.
        """
        states: dict[int, ClusterState] = {}
        for state in self.newest_states(namespace, dict.fromkeys(cluster_ids, 0)):
            known = states.get(state.cluster_id)
            # Two workers may publish a cluster in either order.
            if known is None or known.revision <= state.revision:
                states[state.cluster_id] = state
        return states

    def newest_states(self, namespace: str, revisions: Mapping[int, int]) -> Iterator[ClusterState]:
        """States of clusters, as they are read, that are of these revisions (by cluster id) or later ones.

        A cluster may come more than once. Raises ClusterTopicDamaged at the end where the newest record of one is no
        state.
        """
        unreadable: dict[int, Place] = {}
        prefix = f"{namespace}/".encode()
        for message in self._read({}):
            key = message.key or b""
            if message.value is None or not key.startswith(prefix):
                continue
            cluster_id = _named_cluster(key)
            if cluster_id not in revisions:
                continue
            try:
                state = decode_cluster_state(key, message.value)
            except BadRecord:
                unreadable[cluster_id] = _place(message)
                continue
            unreadable.pop(cluster_id, None)
            if state.revision >= revisions[cluster_id]:
                yield state
        for cluster_id, place in unreadable.items():
            raise ClusterTopicDamaged(*unreadable_state(namespace, cluster_id, place))

    def committed(self, streams: Collection[str]) -> dict[tuple[str, int], int]:
        """The group's committed offset by partition of the input topic, as the store calls it; 0 where none is.

        `streams` are the names that published states know. A store that was emptied has forgotten which of them is this
        stream: one that had another than the topic's own name keeps that, or what was in flight would be a stranger's.
        """
        topic = self._settings.kafka.input_topic
        consumer, _ = self._open()
        partitions = partitions_of(consumer, topic)
        identity = consumer.stream_identity(topic)
        former = {other_stream(topic, identity)} & set(streams)
        if former:
            self._stream_of(topic, _AN_EARLIER_STREAM)
        name, _ = self._stream_of(topic, identity)
        offsets = {p.partition: consumer.committed(p, _ANSWER_SECONDS) or 0 for p in partitions}
        # Another worker may have named it before: then it has two names.
        return {(known, partition): offset for known in {name, *former} for partition, offset in offsets.items()}

    def close(self) -> None:
        """Let the consumers go."""
        self._consumers = None
        self._opened.close()

    def _open(self) -> tuple[Consumer, Consumer]:
        """A reader of what is committed, and one that sees where the log really ends."""
        if self._consumers is None:
            group_id = self._settings.kafka.group_id
            with ExitStack() as opened:
                reader = opened.enter_context(open_reader(self._settings, group_id=group_id))
                witness = opened.enter_context(open_reader(self._settings, isolation="read_uncommitted"))
                self._opened = opened.pop_all()
            self._consumers = (reader, witness)
        return self._consumers

    def _read(self, positions: dict[Partition, int]) -> Iterator[Message]:
        """The committed records from `positions` on (which move), or from the beginning, to where the log ends now."""
        reader, witness = self._open()
        try:
            partitions = partitions_of(witness, self._topic)
            ends = witness.end_offsets(partitions)
            starts = witness.beginning_offsets(partitions)
            reader.assign(partitions)
            for partition in partitions:
                reader.seek(partition, max(starts[partition], positions.get(partition, 0)))
            standstill_seconds = self._settings.kafka.transaction_timeout_seconds + _ABORT_SECONDS
            first = {p: max(starts[p], positions.get(p, 0)) for p in partitions}
            of = sum(max(0, ends[p] - first[p]) for p in partitions)
            passed = dict.fromkeys(partitions, 0)
            records = all_read(read_up_to(reader, ends, standstill_seconds, self._given_up))
            for count, message in enumerate(records):
                at = Partition(message.topic, message.partition)
                passed[at] = message.offset + 1 - first[at]
                if count % _LOGGED_EVERY == 0:
                    self.reading = (sum(passed.values()), of)
                yield message
            reader.assign(())
            positions.update(ends)
        except KafkaUnavailable:
            self.close()
            raise
        finally:
            self.reading = None


def _namespace(key: bytes | None) -> str:
    return (key or b"").partition(b"/")[0].decode("utf-8", "replace")


def unreadable_state(namespace: str, cluster_id: int, place: Place) -> Problem:
    """A record that is no state."""
    of = f"the namespace {namespace!r}" if cluster_id == 0 else f"{format_cluster_id(cluster_id)} of {namespace!r}"
    return Problem(
        f"the state of {of} cannot be read (topic {place.topic}, partition {place.partition}, offset {place.offset})",
        "if a newer release wrote it, run that one; else give it up for good with questream restore --give-up",
    )


def unreadable_levels(namespace: str, place: Place) -> Problem:
    """A record that is no part of levels."""
    return Problem(
        f"levels of {namespace!r} cannot be read (topic {place.topic}, partition {place.partition},"
        f" offset {place.offset})",
        "if a newer release wrote them, run that one; else have them found anew, with other ids, by questream restore"
        " --give-up",
    )


def _place(message: Message) -> Place:
    return Place(message.topic, message.partition, message.offset)


def _parsed_key(key: bytes | None) -> int:
    """The cluster's number, 0 for a namespace. Raises ValueError."""
    if not key:
        raise ValueError("no key")
    return 0 if is_namespace_key(key) else parse_cluster_id(key.partition(b"/")[2].decode())


def _named_cluster(key: bytes) -> int:
    try:
        return _parsed_key(key)
    except ValueError:
        return -1


def _take(found: dict[str, Published], message: Message) -> None:
    """Take note of a record by its namespace. Raises ValueError if its key is none of ours."""
    published = found.setdefault(_namespace(message.key), Published())
    _note(published, message.key or b"", message.value, _place(message))
    published.home = _later_home(published.home, message.headers)
    published.newest_at = max(published.newest_at, message.timestamp)


def _note(published: Published, key: bytes, value: bytes | None, place: Place) -> None:
    if is_levels_key(key):
        _note_levels(published, key, value, place)
        return
    cluster_id = _parsed_key(key)
    try:
        if cluster_id == 0:
            _note_namespace(published, key, value)
        elif value is None:
            published.retired.add(cluster_id)
            published.revisions.pop(cluster_id, None)
            _mark(published, cluster_id, outdated=False)
        else:
            state = orjson.loads(value)
            revision = int(state["revision"])
            published.streams.update(join["topic"] for join in state.get("in_flight", {}).get("joins", ()))
            published.retired.discard(cluster_id)
            newest = published.revisions.get(cluster_id, 0)
            published.revisions[cluster_id] = max(revision, newest)
            _mark(published, cluster_id, outdated=revision < newest)
    except (BadRecord, ValueError, KeyError, TypeError, AttributeError):
        published.unreadable[cluster_id] = place
    else:
        published.unreadable.pop(cluster_id, None)


def _note_levels(published: Published, key: bytes, value: bytes | None, place: Place) -> None:
    try:
        published.levels.add(key, value)
    except BadRecord:
        published.unreadable_levels[key] = place
    else:
        published.unreadable_levels.pop(key, None)


def _later_home(known: Home | None, headers: Iterable[tuple[str, bytes | None]]) -> Home | None:
    for name, value in headers:
        home = Home.parse(value) if name == HOME_HEADER else None
        if home is not None and (known is None or home.epoch >= known.epoch):
            known = home
    return known


def _note_namespace(published: Published, key: bytes, value: bytes | None) -> None:
    if value is None:
        # It was deleted; what is published of it later is of one that began anew.
        published.whole = None
        _mark(published, 0, outdated=False)
    else:
        whole = decode_namespace_state(key, value)
        known = published.whole
        if known is None or (whole.generation, whole.revision) >= (known.generation, known.revision):
            published.whole = whole
        _mark(published, 0, outdated=whole is not published.whole)


def _mark(published: Published, cluster_id: int, *, outdated: bool) -> None:
    if outdated:
        published.outdated.add(cluster_id)
    else:
        published.outdated.discard(cluster_id)
