"""A consumer by librdkafka, whose positions pass what holds no record, and which begins anew where the log has none."""

from __future__ import annotations

import struct
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_STORED,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from questream.broker.confluent.failures import UNKNOWN_TOPIC, UNREADABLE, error_of, fenced, meaning_of, translated
from questream.broker.confluent.producer import with_metadata
from questream.broker.port import GroupMetadata, NextOffset, Offsets, Partition, RebalanceListener
from questream.broker.port import Message as PortMessage
from questream.domain import Unread
from questream.errors import KafkaRefused, KafkaTimeout, KafkaUnavailable, Superseded

Value = TypeVar("Value")

_MOST_RECORDS = 500
# Before the end of a consumer: what was fetched and not handed on comes among them.
_MOST_EVENTS = 1000
_MOST_HEADERS = 10_000
_ANSWER_SECONDS = 60.0
_RETRY_SECONDS = 0.1
_MAGIC = b"CGMDv2:"
# Errors of librdkafka that end by themselves once a broker is back.
_PASSING = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._RESOLVE,
        KafkaError._TIMED_OUT,
        KafkaError._MAX_POLL_EXCEEDED,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.UNKNOWN_TOPIC_ID,
    }
)


class Found(NamedTuple):
    """A record: `questream.broker.port.Message`."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class OpaqueMembership:
    """A consumer's membership as librdkafka writes it, for its producers."""

    opaque: bytes

    @property
    def generation_id(self) -> int:
        """As `questream.broker.port.GroupMetadata` has it; librdkafka writes it behind the name of its format."""
        if not self.opaque.startswith(_MAGIC):
            raise KafkaUnavailable("this librdkafka writes memberships in another way")
        (generation,) = struct.unpack_from("=i", self.opaque, len(_MAGIC))
        return int(generation)


class ConsumerAdapter:
    """`questream.broker.port.Consumer` by a Consumer of confluent-kafka with `enable.partition.eof`.

    `group_id` is that of the settings, None where the reader has none. `ask_topic_id` gives a topic's id as text,
    empty where the broker has none for it; `refusal` the error of a login that was refused since.
    """

    def __init__(
        self,
        client: Consumer,
        group_id: str | None,
        ask_topic_id: Callable[[str], str],
        refusal: Callable[[], KafkaRefused | None],
    ) -> None:
        self._client = client
        self._group_id = group_id
        self._ask_topic_id = ask_topic_id
        self._refusal = refusal
        self._topic = ""
        self._is_member = False
        self._assigned: set[Partition] = set()
        # The next offsets, as far as they are known; librdkafka's own positions stop before the marks of transactions.
        self._positions: dict[Partition, int] = {}
        self._paused: set[Partition] = set()
        self._out_of_range: dict[Partition, int] = {}
        # True if the assignment and its positions are still to be given to librdkafka.
        self._is_moved = False
        self._is_full = False
        self._rebalances = 0

    @translated()
    def subscribe(self, topic: str, listener: RebalanceListener) -> None:
        self._topic, self._is_member = topic, True

        def assigned(_: Consumer, partitions: list[TopicPartition]) -> None:
            self._reassign({_at(partition) for partition in partitions})
            # Nothing is fetched before the next poll: what is asked meanwhile would wait behind each fetch, which waits
            # for records, and where to begin is known by then.
            self._client.assign([])
            self._is_moved = True
            listener.assigned()

        def revoked(_: Consumer, __: list[TopicPartition]) -> None:
            self._reassign(set())
            listener.revoked()

        def lost(_: Consumer, __: list[TopicPartition]) -> None:
            self._reassign(set())
            listener.lost()

        self._client.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=lost)

    def assign(self, partitions: Collection[Partition]) -> None:
        kept = {at: offset for at, offset in self._positions.items() if at in partitions}
        self._reassign(set(partitions))
        self._positions = kept
        self._is_moved = bool(partitions)
        if not partitions:
            self._client.unassign()

    def assignment(self) -> set[Partition]:
        return set(self._assigned)

    def group_metadata(self) -> GroupMetadata:
        return OpaqueMembership(self._client.consumer_group_metadata())

    @translated()
    def partitions(self, topic: str) -> list[Partition]:
        found = self._client.list_topics(topic, _ANSWER_SECONDS).topics.get(topic)
        if found is None or found.error is not None:
            return []
        return [Partition(topic, number) for number in sorted(found.partitions)]

    @translated()
    def poll(self, timeout: float, max_records: int | None = None) -> dict[Partition, list[PortMessage]]:
        refusal = self._refusal()
        if refusal is not None:
            raise refusal
        if self._is_moved:
            self._begin()
        rebalances, most = self._rebalances, max_records or _MOST_RECORDS
        # `consume` alone would wait until so many have come.
        first = self._client.poll(timeout)
        messages = [] if first is None else [first]
        if messages and most > 1:
            messages += self._client.consume(most - 1, 0)
        self._is_full = len(messages) >= most
        if self._rebalances != rebalances:
            # Some may be of the assignment before.
            messages = [message for message in messages if message.error() is not None]
        return self._sorted(messages)

    def others_wait(self, partitions: Collection[Partition]) -> bool:  # noqa: ARG002 - librdkafka does not say whose
        return self._is_full

    def seek(self, partition: Partition, offset: int) -> None:
        self._positions[partition] = offset
        if self._is_moved or partition not in self._assigned:
            return
        try:
            self._client.seek(TopicPartition(*partition, offset))
        except KafkaException:
            # It has not begun this partition yet, or has given it up: it is begun there.
            self._is_moved = True

    @translated()
    def position(self, partition: Partition, timeout: float | None = None) -> int | None:
        if partition not in self._positions:
            try:
                committed = self.committed(partition, timeout) if self._is_member else None
                start = self.beginning_offsets([partition], timeout)[partition] if committed is None else committed
            except KafkaTimeout:
                return None
            self._positions.setdefault(partition, int(start))
        return self._positions[partition]

    def pause(self, partitions: Collection[Partition]) -> None:
        new = set(partitions) - self._paused
        self._paused |= new
        if new and not self._is_moved:
            self._client.pause(_all(new))

    def resume(self, partitions: Collection[Partition]) -> None:
        again = set(partitions) & self._paused
        self._paused -= again
        if again and not self._is_moved:
            self._client.resume(_all(again))

    def paused(self) -> set[Partition]:
        return set(self._paused)

    def take_out_of_range(self) -> dict[Partition, int]:
        taken, self._out_of_range = self._out_of_range, {}
        return taken

    @translated()
    def beginning_offsets(
        self, partitions: Collection[Partition], timeout: float | None = None
    ) -> dict[Partition, int]:
        return self._offsets(partitions, OFFSET_BEGINNING, timeout)

    @translated()
    def end_offsets(self, partitions: Collection[Partition], timeout: float | None = None) -> dict[Partition, int]:
        return self._offsets(partitions, OFFSET_END, timeout)

    @translated()
    def log_end(self, partition: Partition) -> int | None:
        _, end = self._client.get_watermark_offsets(TopicPartition(*partition), cached=True)
        return end if end >= 0 else None

    @translated()
    def offset_at(self, partition: Partition, timestamp_ms: int, timeout: float | None = None) -> int | None:
        at = self._offsets([partition], timestamp_ms, timeout)[partition]
        return at if at >= 0 else None

    @translated()
    def committed(self, partition: Partition, timeout: float | None = None) -> NextOffset | None:
        (found,) = self._client.committed([TopicPartition(*partition)], _seconds(timeout))
        if found.error is not None:
            raise KafkaException(found.error)
        return NextOffset(found.offset, found.metadata or "") if found.offset >= 0 else None

    @translated()
    @fenced()
    def commit(self, offsets: Offsets, timeout: float | None = None) -> None:
        if self._is_member and (self.group_metadata().generation_id < 0 or not self._assigned):
            # The broker takes offsets of no generation once a group has no members. And once partitions are revoked
            # librdkafka joins its group again in the background, and would commit under the generation of that.
            raise Superseded("another worker has the partitions: this one is no member of the group")
        committed = within(_seconds(timeout), lambda: self._commit(offsets))
        for at in committed or ():
            if at.error is not None:
                raise KafkaException(at.error)

    @translated()
    def stream_identity(self, topic: str) -> str:
        found = self._client.list_topics(topic, _ANSWER_SECONDS).topics.get(topic)
        error = KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART) if found is None else found.error
        if error is not None and error.code() in UNKNOWN_TOPIC:
            raise KafkaUnavailable(f"the broker shows no topic {topic}")
        if error is not None:
            raise meaning_of(error, "READ", topic)
        cluster_id = self._client.cluster_id(_ANSWER_SECONDS)
        return f"{cluster_id or ''}/{self._ask_topic_id(topic)}/{self._group_id}"

    def close(self, timeout: float) -> None:
        def close() -> None:
            # A rebalance that this member slept through is noticed here. Noticed while it closes, librdkafka 2.16 may
            # wait for ever for what its group has ended by then, and no other Python thread runs meanwhile.
            self._client.consume(_MOST_EVENTS, 0)
            # Its offsets are not stored, so that it commits none.
            self._client.close()

        try:
            within(timeout, close)
        except KafkaTimeout:
            return
        except (KafkaException, RuntimeError):
            return

    def _commit(self, offsets: Offsets) -> Any:
        return self._client.commit(offsets=with_metadata(offsets), asynchronous=False)

    def _reassign(self, partitions: set[Partition]) -> None:
        """Others are assigned: of what was before nothing holds."""
        if self._paused:
            # librdkafka would keep them paused, should they come back.
            with suppress(KafkaException):
                self._client.resume(_all(self._paused))
        self._rebalances += 1
        self._assigned = partitions
        self._positions, self._paused, self._is_moved = {}, set(), False

    def _begin(self) -> None:
        """Have librdkafka read what is assigned, from its known positions."""
        first = OFFSET_STORED if self._is_member else OFFSET_BEGINNING
        self._client.assign([TopicPartition(*at, self._positions.get(at, first)) for at in self._assigned])
        self._is_moved = False
        if self._paused:
            self._client.pause(_all(self._paused))

    def _sorted(self, messages: list[Message]) -> dict[Partition, list[PortMessage]]:
        found: dict[Partition, list[PortMessage]] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                self._take_error(error, message)
                continue
            record = _read(message)
            at = Partition(record.topic, record.partition)
            if at in found:
                found[at].append(record)
            else:
                found[at] = [record]
            # At once: the end of a partition, which is reported behind its last record, moves the position further.
            self._positions[at] = record.offset + 1
        return found

    def _take_error(self, error: KafkaError, message: Message) -> None:
        """Take an error that librdkafka returns in the place of a record."""
        code, offset = error.code(), message.offset()
        at = Partition(message.topic() or "", message.partition() or 0)
        if code == KafkaError._PARTITION_EOF and offset is not None:
            if at in self._assigned:
                self._positions[at] = max(offset, self._positions.get(at, 0))
        elif code == KafkaError._AUTO_OFFSET_RESET:
            position = self._positions.get(at, offset if offset is not None else -1)
            if at in self._assigned and position >= 0:
                self._out_of_range[at] = position
            self._positions[at] = OFFSET_BEGINNING
            self._is_moved = True
        elif code in UNREADABLE:
            raise KafkaUnavailable(
                f"a record cannot be read: {error.name()} in partition {at.partition} at offset {offset}"
            )
        elif code == KafkaError.GROUP_AUTHORIZATION_FAILED and not self._is_member:
            # A reader without a group names one only because librdkafka wants a name.
            return
        elif code not in _PASSING:
            raise meaning_of(error, "READ", at.topic or self._topic)

    def _offsets(
        self, partitions: Collection[Partition], time_or_end: int, timeout: float | None
    ) -> dict[Partition, int]:
        """The offsets of partitions at this time, or end. Raises KafkaTimeout where no broker answers in time."""
        deadline = time.monotonic() + _seconds(timeout)
        asked = [TopicPartition(*at, time_or_end) for at in partitions]
        while asked:
            left = max(0.0, deadline - time.monotonic())
            try:
                found = self._client.offsets_for_times(asked, max(left, _RETRY_SECONDS))
                failure = next((at.error for at in found if at.error is not None), None)
            except KafkaException as error:
                failure = error_of(error)
            if failure is None:
                return {_at(at): at.offset for at in found}
            if failure.code() not in _PASSING and not failure.retriable():
                raise meaning_of(failure, "READ", asked[0].topic)
            if time.monotonic() + _RETRY_SECONDS > deadline:
                raise KafkaTimeout("the broker failed a call: it did not report a partition's offsets in time")
            time.sleep(_RETRY_SECONDS)
        return {}


def within(seconds: float, call: Callable[[], Value]) -> Value:
    """The result of a call that has no time-out of its own. Raises KafkaTimeout; the call itself goes on then."""
    outcome: list[Value | BaseException] = []

    def run() -> None:
        try:
            outcome.append(call())
        except BaseException as error:  # it is raised in the caller's thread
            outcome.append(error)

    thread = threading.Thread(target=run, name="kafka-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if not outcome:
        raise KafkaTimeout(f"the broker failed a call: no answer within {seconds:g} s")
    (found,) = outcome
    if isinstance(found, BaseException):
        raise found
    return found


def _read(message: Message) -> Found:
    value = message.value()
    try:
        headers: Any = message.headers() or []
    except (SystemError, UnicodeError):
        # The name of a header is not UTF-8, which confluent-kafka cannot hand out.
        headers, value = [], Unread()
    if len(headers) > _MOST_HEADERS:
        headers, value = [], Unread()
    kind, timestamp = message.timestamp()
    return Found(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        timestamp if kind else -1,
        message.key(),
        value,
        headers,
    )


def _at(partition: TopicPartition) -> Partition:
    return Partition(partition.topic, partition.partition)


def _all(partitions: Collection[Partition]) -> list[TopicPartition]:
    return [TopicPartition(*at) for at in partitions]


def _seconds(timeout: float | None) -> float:
    return _ANSWER_SECONDS if timeout is None else timeout
