"""What both publishers promise, on Apache Kafka."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from questream.broker.connect import make_consumer, make_producer
from questream.broker.deadline import Watchdog
from questream.broker.port import Consumer, GroupMetadata, Offsets, Outgoing, Partition
from questream.broker.publisher import AtLeastOncePublisher, Publisher, TransactionalPublisher
from questream.errors import KafkaRefused, KafkaUnavailable, RecoveryNeeded, Superseded
from tests.kit.servers import KafkaServer, Topics, create_topics
from tests.kit.stream import Message, Stream, wait_until

# Far beyond what the producer itself allows: the watchdog would end the test run.
DEADLINE_SECONDS = 60


class _NoListener:
    def revoked(self) -> None: ...
    def lost(self) -> None: ...
    def assigned(self) -> None: ...


@dataclass
class Member:
    """A consumer that is in its group and has read the input topic's one record."""

    stream: Stream
    consumer: Consumer = field(init=False)

    def __post_init__(self) -> None:
        self.stream.send([Message(b"{}")])
        self._join()

    @property
    def offsets(self) -> Offsets:
        """The record is done."""
        return {Partition(self.stream.topics.input_topic, 0): 1}

    def commit(self, offsets: Offsets, _: Any) -> Offsets:
        """What the intake does for an at-least-once publisher."""
        self.consumer.commit(offsets)
        return offsets

    def join_anew(self) -> GroupMetadata:
        """Leave the group and join it again; returns the membership that was."""
        before = self.consumer.group_metadata()
        self.consumer.close(5.0)
        self._join()
        return before

    def _join(self) -> None:
        self.consumer = make_consumer(self.stream.settings(), "member")
        self.consumer.subscribe(self.stream.topics.input_topic, _NoListener())
        wait_until(lambda: bool(self.consumer.poll(0.2)), "the member has read a record")


@pytest.fixture(params=["kafka-python", "confluent"])
def member(request: pytest.FixtureRequest, kafka: KafkaServer, topics: Callable[..., Topics]) -> Iterator[Member]:
    """With each client in turn."""
    client = {"kafka.client": request.param}
    member = Member(Stream(kafka.bootstrap_servers, topics(), "redis://127.0.0.1:1", client))
    yield member
    member.consumer.close(5.0)


def make(kind: str, stream: Stream, commit: Callable[[Offsets, Any], Offsets]) -> Publisher:
    settings = stream.settings()
    name = f"test-{uuid.uuid4().hex[:8]}"
    if kind == "exactly-once":
        return TransactionalPublisher(lambda: make_producer(settings, name, name), Watchdog(), DEADLINE_SECONDS)
    return AtLeastOncePublisher(lambda: make_producer(settings, name), commit, Watchdog(), DEADLINE_SECONDS)


@pytest.fixture(params=["exactly-once", "at-least-once"])
def publisher(request: pytest.FixtureRequest, member: Member) -> Iterator[Publisher]:
    publisher = make(request.param, member.stream, member.commit)
    yield publisher
    publisher.close()


def outgoing(member: Member, *values: bytes) -> list[Outgoing]:
    return [Outgoing(member.stream.topics.output_topic, b"key", value, [("h", b"1")]) for value in values]


def nothing_is_lost() -> None:
    """What is published rests on a store that keeps its memory."""


def published(member: Member) -> list[bytes]:
    with member.stream.decisions() as reader:
        return [record.value for record in reader.rest()]


def test_what_was_acknowledged_is_there(member: Member, publisher: Publisher) -> None:
    publisher.publish(
        outgoing(member, b"one", b"two"), member.offsets, member.consumer.group_metadata(), nothing_is_lost
    )
    assert published(member) == [b"one", b"two"]
    # A transaction is over for its producer before its mark stands among the offsets.
    wait_until(lambda: member.stream.committed() == {0: 1}, "the offset is committed")


def test_one_publisher_publishes_many_batches(member: Member, publisher: Publisher) -> None:
    for number in range(5):
        publisher.publish(outgoing(member, b"%d" % number), {}, None, nothing_is_lost)
    assert published(member) == [b"0", b"1", b"2", b"3", b"4"]
    assert member.stream.committed() == {}


def test_null_key_and_null_value_stay_null(member: Member, publisher: Publisher) -> None:
    topic = member.stream.topics.dead_letter_topic
    publisher.publish([Outgoing(topic, None, None, [("questream-reason", b"null_value")])], {}, None, nothing_is_lost)
    with member.stream.dead_letters() as reader:
        (record,) = reader.until(1)
    assert (record.key, record.value, list(record.headers)) == (None, None, [("questream-reason", b"null_value")])


def test_a_record_that_the_topic_does_not_take_is_refused(member: Member, publisher: Publisher) -> None:
    with pytest.raises(KafkaRefused, match=r"max\.message\.bytes"):
        publisher.publish(outgoing(member, random.Random(1).randbytes(3_000_000)), {}, None, nothing_is_lost)
    publisher.publish(outgoing(member, b"the next one"), {}, None, nothing_is_lost)
    assert published(member)[-1] == b"the next one"


def test_a_transaction_of_a_member_that_was_replaced_publishes_nothing(member: Member) -> None:
    publisher = make("exactly-once", member.stream, member.commit)
    stale = member.join_anew()
    with pytest.raises(Superseded):
        publisher.publish(outgoing(member, b"a zombie's"), member.offsets, stale, nothing_is_lost)
    assert member.stream.committed() == {}
    membership = member.consumer.group_metadata()
    publisher.publish(outgoing(member, b"the owner's"), member.offsets, membership, nothing_is_lost)
    assert published(member) == [b"the owner's"]
    assert member.stream.committed() == {0: 1}
    publisher.close()


def test_offsets_of_a_failed_transaction_are_not_committed_by_the_next_one(member: Member) -> None:
    """kafka-python's producer would: it keeps them through an abort."""
    publisher = make("exactly-once", member.stream, member.commit)
    stale = member.join_anew()
    with pytest.raises(Superseded):
        publisher.publish(outgoing(member, b"one"), member.offsets, stale, nothing_is_lost)
    other = {Partition(member.stream.topics.output_topic, 0): 7}
    publisher.publish(outgoing(member, b"two"), other, member.consumer.group_metadata(), nothing_is_lost)
    assert published(member) == [b"two"]
    assert member.stream.committed() == {}
    publisher.close()


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_a_broker_that_is_gone_is_unavailable(client: str, kafka_factory: Callable[..., KafkaServer]) -> None:
    """At-least-once alone: a transaction can wait for ever, and its watchdog ends the process (tests/fault)."""
    server = kafka_factory()
    topics, client_option = create_topics(server.bootstrap_servers), {"kafka.client": client}
    stream = Stream(server.bootstrap_servers, topics, "redis://127.0.0.1:1", client_option)
    publisher = make("at-least-once", stream, lambda offsets, _: offsets)
    publisher.publish([Outgoing(stream.topics.output_topic, b"k", b"v")], {}, None, nothing_is_lost)
    server.kill()
    with pytest.raises(KafkaUnavailable):
        publisher.publish([Outgoing(stream.topics.output_topic, b"k", b"v")], {}, None, nothing_is_lost)


def test_what_may_be_in_the_log_although_its_publication_failed_is_verified(member: Member) -> None:
    """At-least-once alone: of a transaction that fails nobody reads anything."""
    publisher = make("at-least-once", member.stream, member.commit)
    verified: list[None] = []
    with pytest.raises(KafkaRefused):
        publisher.publish(
            outgoing(member, b"before it", random.Random(1).randbytes(3_000_000)),
            {},
            None,
            lambda: verified.append(None),
        )
    assert len(verified) == 2


def test_what_rests_on_a_lost_store_is_not_published_and_the_next_is(member: Member, publisher: Publisher) -> None:
    def it_is_lost() -> None:
        raise RecoveryNeeded("the store was emptied")

    membership = member.consumer.group_metadata()
    with pytest.raises(RecoveryNeeded):
        publisher.publish(outgoing(member, b"lost"), member.offsets, membership, it_is_lost)
    assert published(member) == []
    assert member.stream.committed() == {}
    publisher.publish(outgoing(member, b"kept"), member.offsets, membership, nothing_is_lost)
    assert published(member) == [b"kept"]
