"""The compacted cluster topic as a store is compared with it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import orjson
from kafka import KafkaConsumer, TopicPartition

from questream.domain import ClusterState, NamespaceState, parse_cluster_id
from questream.errors import BadRecord, KafkaUnavailable
from questream.kafka.connect import open_reader, translated
from questream.kafka.reading import partitions_of, read_up_to
from questream.records import decode_cluster_state, decode_namespace_state, is_namespace_key
from questream.settings import Settings

logger = logging.getLogger(__name__)

_ANSWER_MS = 10_000
# What a transaction's own timeout leaves to the broker to abort it.
_ABORT_SECONDS = 15.0


@dataclass(slots=True)
class Published:
    """What was published of a namespace: the newest revision of each cluster, and those that were retired.

    `outdated` names the clusters (0: the namespace) whose last record is older than an earlier one: compaction would
    keep the older.
    """

    revisions: dict[int, int] = field(default_factory=dict)
    retired: set[int] = field(default_factory=set)
    whole: NamespaceState | None = None
    outdated: set[int] = field(default_factory=set)


class ClusterTopic:
    """Reads the cluster topic and the group's offsets; not for more than one thread at a time.

    Whatever it answers holds all that was published before the call: a transaction that is open then is waited for,
    since its decisions may yet count. `given_up` ends the wait. Each call may raise KafkaUnavailable or KafkaRefused.
    """

    def __init__(self, settings: Settings, given_up: Callable[[], bool] = lambda: False) -> None:
        self._settings = settings
        self._given_up = given_up
        self._topic = settings.kafka.cluster_topic
        self._opened = ExitStack()
        self._consumers: tuple[KafkaConsumer, KafkaConsumer] | None = None
        self._namespaces: set[str] = set()
        self._positions: dict[TopicPartition, int] = {}

    def namespaces(self) -> set[str]:
        """The namespaces that the topic knows."""
        for message in self._read(self._positions):
            self._namespaces.add(_namespace(message.key))
        return self._namespaces

    def published(self) -> dict[str, Published]:
        """What was published, by namespace."""
        found: dict[str, Published] = {}
        for message in self._read({}):
            try:
                _note(found.setdefault(_namespace(message.key), Published()), message.key, message.value)
            except (BadRecord, ValueError, KeyError, TypeError):
                logger.warning("a record of the cluster topic is no state", extra={"offset": message.offset})
        return found

    def states(self, namespace: str, cluster_ids: Collection[int]) -> dict[int, ClusterState]:
        """The newest states of those clusters of a namespace that the topic has and that are not retired."""
        states: dict[int, ClusterState] = {}
        prefix = f"{namespace}/".encode()
        for message in self._read({}):
            if message.value is None or not (message.key or b"").startswith(prefix):
                continue
            try:
                state = decode_cluster_state(message.key, message.value)
            except BadRecord:
                continue
            known = states.get(state.cluster_id)
            # Two workers may publish a cluster in either order.
            if state.cluster_id in cluster_ids and (known is None or known.revision <= state.revision):
                states[state.cluster_id] = state
        return states

    def committed(self) -> dict[tuple[str, int], int]:
        """The group's committed offset by partition of the input topic, 0 where there is none."""
        topic = self._settings.kafka.input_topic
        consumer, _ = self._open()
        with translated():
            answers = {
                (topic, partition.partition): consumer.committed(partition, timeout_ms=_ANSWER_MS)
                for partition in partitions_of(consumer, topic)
            }
        return {at: offset or 0 for at, offset in answers.items()}

    def close(self) -> None:
        """Let the consumers go."""
        self._consumers = None
        self._opened.close()

    def _open(self) -> tuple[KafkaConsumer, KafkaConsumer]:
        """A reader of what is committed, and one that sees where the log really ends."""
        if self._consumers is None:
            group_id = self._settings.kafka.group_id
            with ExitStack() as opened:
                reader = opened.enter_context(open_reader(self._settings, group_id=group_id))
                witness = opened.enter_context(open_reader(self._settings, isolation_level="read_uncommitted"))
                self._opened = opened.pop_all()
            self._consumers = (reader, witness)
        return self._consumers

    def _read(self, positions: dict[TopicPartition, int]) -> Iterator[Any]:
        """The committed records from `positions` on (which move), or from the beginning, to where the log ends now."""
        reader, witness = self._open()
        try:
            with translated():
                partitions = partitions_of(witness, self._topic)
                ends = witness.end_offsets(partitions)
                starts = witness.beginning_offsets(partitions)
                reader.assign(partitions)
                for partition in partitions:
                    reader.seek(partition, max(starts[partition], positions.get(partition, 0)))
                standstill_seconds = self._settings.kafka.transaction_timeout_seconds + _ABORT_SECONDS
                yield from read_up_to(reader, ends, standstill_seconds, self._given_up)
                positions.update(ends)
        except KafkaUnavailable:
            self.close()
            raise


def _namespace(key: bytes | None) -> str:
    return (key or b"").partition(b"/")[0].decode("utf-8", "replace")


def _note(published: Published, key: bytes, value: bytes | None) -> None:
    if is_namespace_key(key):
        if value is not None:
            whole = decode_namespace_state(key, value)
            known = published.whole
            if known is None or (whole.generation, whole.revision) >= (known.generation, known.revision):
                published.whole = whole
            _mark(published, 0, outdated=whole is not published.whole)
        return
    cluster_id = parse_cluster_id(key.partition(b"/")[2].decode())
    if value is None:
        published.retired.add(cluster_id)
        published.revisions.pop(cluster_id, None)
        _mark(published, cluster_id, outdated=False)
    else:
        published.retired.discard(cluster_id)
        revision = int(orjson.loads(value)["revision"])
        newest = published.revisions.get(cluster_id, 0)
        published.revisions[cluster_id] = max(revision, newest)
        _mark(published, cluster_id, outdated=revision < newest)


def _mark(published: Published, cluster_id: int, *, outdated: bool) -> None:
    if outdated:
        published.outdated.add(cluster_id)
    else:
        published.outdated.discard(cluster_id)
