"""A consumer by librdkafka where no broker is: what it makes of records and of what it is told in their place."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from questream.broker.confluent.consumer import ConsumerAdapter, OpaqueMembership, within
from questream.broker.port import NextOffset, Partition
from questream.domain import Unread
from questream.embedded import free_port
from questream.errors import KafkaRefused, KafkaTimeout, KafkaUnavailable, Superseded

FIRST, SECOND = Partition("questions", 0), Partition("questions", 1)


class Told:
    """A client that hands out these messages, and for the rest is one of librdkafka."""

    def __init__(self, client: Consumer) -> None:
        self._client = client
        self.messages: list[Message] = []
        self.assigned: list[tuple[Partition, int]] = []
        self.calls: list[tuple[str, int]] = []
        self.meanwhile: Callable[[], object] = lambda: None
        self.refuses_offsets = False
        self.of_offsets: KafkaError | None = None
        self.callbacks: dict[str, Callable[..., None]] = {}
        self.membership: bytes | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)

    def assign(self, partitions: list[Any]) -> None:
        self.assigned = [(Partition(at.topic, at.partition), at.offset) for at in partitions]
        self._client.assign(partitions)

    def subscribe(self, topics: list[str], **callbacks: Callable[..., None]) -> None:
        self.callbacks = callbacks
        self._client.subscribe(topics, **callbacks)

    def consumer_group_metadata(self) -> Any:
        return self.membership or self._client.consumer_group_metadata()

    def pause(self, partitions: list[Any]) -> None:
        self.calls += [("pause", at.partition) for at in partitions]
        self._client.pause(partitions)

    def resume(self, partitions: list[Any]) -> None:
        self.calls += [("resume", at.partition) for at in partitions]
        self._client.resume(partitions)

    def seek(self, partition: Any) -> None:
        self.calls.append(("seek", partition.partition))

    def offsets_for_times(self, partitions: list[Any], timeout: float) -> list[Any]:
        if self.refuses_offsets:
            raise KafkaException(KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED))
        return self._client.offsets_for_times(partitions, timeout)

    def committed(self, *_: Any) -> list[Any]:
        return [SimpleNamespace(offset=4, metadata=None, error=self.of_offsets)]

    def commit(self, **_: Any) -> list[Any]:
        return [SimpleNamespace(error=self.of_offsets)]

    def poll(self, _: float) -> Message | None:
        self.meanwhile()
        return self.messages.pop(0) if self.messages else None

    def consume(self, most: int, _: float) -> list[Message]:
        taken, self.messages = self.messages[:most], self.messages[most:]
        return taken


class Bed:
    """A reader of two partitions."""

    def __init__(self, client: Consumer) -> None:
        self.client: Any = Told(client)
        self.refusal: KafkaRefused | None = None
        self.reader = ConsumerAdapter(cast("Any", self.client), None, lambda _: "", lambda: self.refusal)
        self.reader.assign([FIRST, SECOND])

    def poll(self, *messages: Message) -> dict[Partition, list[int]]:
        """Offsets of what is handed out when librdkafka gives these."""
        self.client.messages = list(messages)
        return {at: [message.offset for message in found] for at, found in self.reader.poll(0.0).items()}


@pytest.fixture
def bed() -> Iterator[Bed]:
    client = Consumer({"bootstrap.servers": f"127.0.0.1:{free_port()}", "group.id": "reader", "log_level": 0})
    yield Bed(client)
    client.close()


def record(offset: int, partition: int = 0, headers: int = 0, kind: int = 1) -> Message:
    return Message("questions", partition, offset, b"k", b"v", [("h", b"1")] * headers, None, (kind, 1000))


def told(code: int, offset: int = OFFSET_INVALID, partition: int = 0) -> Message:
    return Message("questions", partition, offset, None, None, None, KafkaError(code))


def test_what_is_read_is_in_the_order_of_each_partition_and_moves_its_position(bed: Bed) -> None:
    assert bed.poll(record(3), record(7, 1), record(4)) == {FIRST: [3, 4], SECOND: [7]}
    assert (bed.reader.position(FIRST), bed.reader.position(SECOND)) == (5, 8)


def test_what_a_consumer_slept_through_is_heard_of_before_it_closes(bed: Bed) -> None:
    bed.client.messages = [told(KafkaError._MAX_POLL_EXCEEDED)]
    bed.reader.close(5.0)
    assert bed.client.messages == []
    with pytest.raises(RuntimeError, match="closed"):
        bed.client.memberid()


def test_the_end_of_a_partition_moves_its_position_past_what_holds_no_record(bed: Bed) -> None:
    assert bed.poll(record(3), told(KafkaError._PARTITION_EOF, 6)) == {FIRST: [3]}
    assert bed.reader.position(FIRST) == 6
    bed.poll(told(KafkaError._PARTITION_EOF, 5))
    assert bed.reader.position(FIRST) == 6
    bed.reader.assign([SECOND])
    bed.poll(told(KafkaError._PARTITION_EOF, 9))
    bed.reader.assign([FIRST, SECOND])
    assert FIRST not in bed.reader._positions


def test_a_position_that_the_log_does_not_have_is_told_and_left_for_the_beginning(bed: Bed) -> None:
    bed.poll(record(3), told(KafkaError._AUTO_OFFSET_RESET))
    assert bed.reader.take_out_of_range() == {FIRST: 4}
    assert bed.reader.take_out_of_range() == {}
    bed.poll()
    assert dict(bed.client.assigned)[FIRST] == OFFSET_BEGINNING
    bed.reader.assign([SECOND])
    bed.poll(told(KafkaError._AUTO_OFFSET_RESET, 8))
    assert bed.reader.take_out_of_range() == {}


@pytest.mark.parametrize(
    ("code", "error", "words"),
    [
        (KafkaError._BAD_MSG, KafkaUnavailable, "a record cannot be read: _BAD_MSG in partition 1 at offset 5"),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaRefused, "the right to READ topic questions is missing"),
    ],
)
def test_what_no_wait_mends_is_an_error(bed: Bed, code: int, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        bed.poll(told(code, 5, 1))


@pytest.mark.parametrize("code", [KafkaError._TRANSPORT, KafkaError.GROUP_AUTHORIZATION_FAILED])
def test_what_passes_or_concerns_no_reader_is_none(bed: Bed, code: int) -> None:
    assert bed.poll(told(code), record(0)) == {FIRST: [0]}


def test_a_login_that_was_refused_is_told_by_the_next_poll(bed: Bed) -> None:
    bed.refusal = KafkaRefused("the broker refused the login")
    with pytest.raises(KafkaRefused, match="refused the login"):
        bed.poll(record(0))


def test_a_record_with_too_many_headers_comes_unread(bed: Bed) -> None:
    bed.client.messages = [record(0, headers=10_001), record(1, headers=10_000), record(2, kind=0)]
    first, second, third = bed.reader.poll(0.0)[FIRST]
    assert (list(first.headers), type(first.value)) == ([], Unread)
    assert (len(list(second.headers)), second.value, second.timestamp) == (10_000, b"v", 1000)
    # Without a time of its own.
    assert third.timestamp == -1


def test_what_is_paused_stays_so_when_the_partitions_begin_anew(bed: Bed) -> None:
    bed.reader.pause([FIRST])
    bed.reader.seek(SECOND, 4)
    # Nothing has begun yet.
    assert bed.client.calls == []
    bed.poll()
    assert bed.client.calls == [("pause", 0)]
    assert dict(bed.client.assigned)[SECOND] == 4
    bed.reader.resume([FIRST])
    bed.reader.pause([SECOND])
    bed.reader.seek(FIRST, 2)
    assert bed.client.calls[1:] == [("resume", 0), ("pause", 1), ("seek", 0)]
    assert (bed.reader.paused(), bed.reader.position(FIRST)) == ({SECOND}, 2)
    bed.reader.assign([])
    # It would be paused still, should it come back.
    assert bed.client.calls[4:] == [("resume", 1)]
    assert (bed.reader.assignment(), bed.reader.paused(), bed.client.assignment()) == (set(), set(), [])


def test_records_of_the_assignment_before_are_not_handed_out(bed: Bed) -> None:
    bed.poll()
    bed.client.meanwhile = lambda: bed.reader.assign([SECOND])
    assert bed.poll(record(3), record(4)) == {}
    assert FIRST not in bed.reader._positions


def test_where_no_broker_answers_a_position_is_not_known_and_a_refusal_is_told(bed: Bed) -> None:
    assert bed.reader.position(FIRST, 0.05) is None
    bed.client.refuses_offsets = True
    with pytest.raises(KafkaRefused, match="the right to READ topic questions is missing"):
        bed.reader.position(FIRST, 0.05)


def test_what_a_broker_says_of_one_partitions_offsets_is_an_error(bed: Bed) -> None:
    assert bed.reader.committed(FIRST) == NextOffset(4, "")
    bed.reader.commit({FIRST: 4})
    bed.client.of_offsets = KafkaError(KafkaError.ILLEGAL_GENERATION)
    with pytest.raises(Superseded):
        bed.reader.commit({FIRST: 4})
    with pytest.raises(KafkaUnavailable):
        bed.reader.committed(FIRST)


def test_who_has_not_joined_its_group_commits_nothing(bed: Bed) -> None:
    listener: Any = SimpleNamespace(assigned=None, revoked=None, lost=None)
    bed.reader.subscribe("questions", listener)
    with pytest.raises(Superseded, match="is no member of the group"):
        bed.reader.commit({FIRST: 4})


@pytest.mark.parametrize("callback", ["on_revoke", "on_lost"])
def test_a_member_whose_partitions_are_given_away_commits_nothing(bed: Bed, callback: str) -> None:
    listener: Any = SimpleNamespace(assigned=lambda: None, revoked=lambda: None, lost=lambda: None)
    bed.reader.subscribe("questions", listener)
    bed.client.membership = b"CGMDv2:\3\0\0\0"
    bed.client.callbacks["on_assign"](bed.client, [TopicPartition(*FIRST)])
    bed.reader.commit({FIRST: 4})
    bed.client.callbacks[callback](bed.client, [TopicPartition(*FIRST)])
    with pytest.raises(Superseded, match="is no member of the group"):
        bed.reader.commit({FIRST: 4})


def test_a_membership_of_another_format_is_told() -> None:
    with pytest.raises(KafkaUnavailable, match="writes memberships in another way"):
        _ = OpaqueMembership(b"CGMDv3:\0\0\0\0").generation_id
    assert OpaqueMembership(b"CGMDv2:\5\0\0\0").generation_id == 5


def test_a_call_without_a_time_out_is_waited_for_so_long() -> None:
    ended = threading.Event()
    with pytest.raises(KafkaTimeout, match=r"no answer within 0\.01 s"):
        within(0.01, ended.wait)
    ended.set()
    assert within(30.0, ended.wait)
    with pytest.raises(ZeroDivisionError):
        within(30.0, lambda: 1 // 0)
