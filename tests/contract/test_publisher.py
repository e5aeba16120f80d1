"""What both publishers promise, on Apache Kafka."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata

from questream.broker.deadline import Watchdog
from questream.broker.kafka_python.clients import producer_config
from questream.broker.kafka_python.publisher import (
    AtLeastOncePublisher,
    KeySerializer,
    Offsets,
    Outgoing,
    Publisher,
    TransactionalPublisher,
)
from questream.errors import KafkaRefused, KafkaUnavailable, RecoveryNeeded, Superseded
from tests.kit.servers import KafkaServer, Topics, create_topics
from tests.kit.stream import WAIT_SECONDS, Message, Stream, wait_until

# Far beyond what the producer itself allows: the watchdog would end the test run.
DEADLINE_SECONDS = 60


@dataclass
class Member:
    """A consumer that is in its group and has read the input topic's one record."""

    stream: Stream
    consumer: KafkaConsumer = field(init=False)

    def __post_init__(self) -> None:
        self.stream.send([Message(b"{}")])
        self.consumer = KafkaConsumer(
            self.stream.topics.input_topic,
            bootstrap_servers=self.stream.bootstrap_servers,
            group_id=self.stream.group_id,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        # One poll: kafka-python forgets a join that a poll ends in the midst of (see `Intake._keep_joining`).
        assert self.consumer.poll(timeout_ms=WAIT_SECONDS * 1000), "the member has read nothing"

    @property
    def offsets(self) -> Offsets:
        """The record is done."""
        return {(self.stream.topics.input_topic, 0): 1}

    def commit(self, offsets: Offsets, _: Any) -> Offsets:
        """What the intake does for an at-least-once publisher."""
        self.consumer.commit({TopicPartition(*at): OffsetAndMetadata(o, "", -1) for at, o in offsets.items()})
        return offsets


@pytest.fixture
def member(kafka: KafkaServer, topics: Callable[..., Topics]) -> Iterator[Member]:
    member = Member(Stream(kafka.bootstrap_servers, topics(), "redis://127.0.0.1:1"))
    yield member
    member.consumer.close(autocommit=False)


def make(kind: str, stream: Stream, commit: Callable[[Offsets, Any], Offsets]) -> Publisher:
    settings = stream.settings()
    name = f"test-{uuid.uuid4().hex[:8]}"
    transactional_id = name if kind == "exactly-once" else None
    config = producer_config(settings, name, transactional_id) | {"key_serializer": KeySerializer()}
    if kind == "exactly-once":
        return TransactionalPublisher(lambda: KafkaProducer(**config), Watchdog(), DEADLINE_SECONDS)
    return AtLeastOncePublisher(lambda: KafkaProducer(**config), commit, Watchdog(), DEADLINE_SECONDS)


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
    before = member.consumer.group_metadata()
    stale = type(before)(
        group_id=before.group_id,
        generation_id=before.generation_id - 1,
        member_id=before.member_id,
        group_instance_id=before.group_instance_id,
        state=before.state,
    )
    with pytest.raises(Superseded):
        publisher.publish(outgoing(member, b"a zombie's"), member.offsets, stale, nothing_is_lost)
    assert member.stream.committed() == {}
    publisher.publish(outgoing(member, b"the owner's"), member.offsets, before, nothing_is_lost)
    assert published(member) == [b"the owner's"]
    assert member.stream.committed() == {0: 1}
    publisher.close()


def test_offsets_of_a_failed_transaction_are_not_committed_by_the_next_one(member: Member) -> None:
    """kafka-python's producer would: it keeps them through an abort."""
    publisher = make("exactly-once", member.stream, member.commit)
    before = member.consumer.group_metadata()
    unknown = type(before)(
        group_id=before.group_id,
        generation_id=before.generation_id,
        member_id="nobody",
        group_instance_id=None,
        state=before.state,
    )
    with pytest.raises(Superseded):
        publisher.publish(outgoing(member, b"one"), member.offsets, unknown, nothing_is_lost)
    other = {(member.stream.topics.output_topic, 0): 7}
    publisher.publish(outgoing(member, b"two"), other, before, nothing_is_lost)
    assert published(member) == [b"two"]
    assert member.stream.committed() == {}
    publisher.close()


def test_a_broker_that_is_gone_is_unavailable(kafka_factory: Callable[..., KafkaServer]) -> None:
    """At-least-once alone: a transaction can wait for ever, and its watchdog ends the process (tests/fault)."""
    server = kafka_factory()
    stream = Stream(server.bootstrap_servers, create_topics(server.bootstrap_servers), "redis://127.0.0.1:1")
    publisher = make("at-least-once", stream, lambda offsets, _: offsets)
    publisher.publish([Outgoing(stream.topics.output_topic, b"k", b"v")], {}, None, nothing_is_lost)
    server.kill()
    with pytest.raises(KafkaUnavailable):
        publisher.publish([Outgoing(stream.topics.output_topic, b"k", b"v")], {}, None, nothing_is_lost)


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
