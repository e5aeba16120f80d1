"""What an adapter of a client for Kafka promises (questream.broker.port), on Apache Kafka."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from typing import Any, cast

import pytest
from kafka.cluster import ClusterMetadata
from kafka.errors import LeaderNotAvailableError

from questream.broker.confluent import connect as confluent
from questream.broker.kafka_python import connect as kafka_python
from questream.broker.port import (
    Adapter,
    Consumer,
    GroupMetadata,
    Message,
    NextOffset,
    Outgoing,
    Partition,
    Place,
    Producer,
)
from questream.broker.reading import RecordCheck
from questream.embedded import free_port
from questream.errors import (
    KafkaTimeout,
    KafkaUnavailable,
    RecordsTooLarge,
    SettingsError,
    Superseded,
)
from questream.settings import KafkaSettings, Settings
from tests.kit.servers import KafkaServer, Topics, create_topics
from tests.kit.servers.network import Link
from tests.kit.servers.process import LOOPBACK
from tests.kit.servers.topics import make_topic_anew
from tests.kit.stream import WAIT_SECONDS, Stream, wait_until

ADAPTERS = [cast("Adapter", kafka_python), cast("Adapter", confluent)]
CLOSE_SECONDS = 5.0
ANSWER_SECONDS = 10.0
FIRST_MS = 1_700_000_000_000


class Listener:
    """Counts what a group told its member."""

    def __init__(self) -> None:
        self.revocations = 0
        self.assignments = 0

    def revoked(self) -> None:
        self.revocations += 1

    def lost(self) -> None:
        self.revocations += 1

    def assigned(self) -> None:
        self.assignments += 1


class Bed:
    """An adapter at work on a stream of its own; all that it opens is closed at the end."""

    def __init__(self, adapter: Adapter, stream: Stream, opened: ExitStack) -> None:
        self.adapter = adapter
        self.stream = stream
        self.settings = stream.settings()
        self.topic = stream.topics.input_topic
        self._opened = opened

    def at(self, number: int = 0) -> Partition:
        return Partition(self.topic, number)

    def reader(self, *partitions: int) -> Consumer:
        """A reader without a group, with these partitions assigned."""
        reader = self._opened.enter_context(self.adapter.open_reader(self.settings))
        reader.assign([self.at(number) for number in partitions])
        return reader

    def member(self, listener: Listener | None = None) -> Consumer:
        """A consumer that subscribes to the topic in the stream's group."""
        consumer = self.adapter.make_consumer(self.settings, f"member-{uuid.uuid4().hex[:6]}")
        self._opened.callback(consumer.close, CLOSE_SECONDS)
        consumer.subscribe(self.topic, listener or Listener())
        return consumer

    def also_closes(self, consumer: Consumer) -> None:
        """Close this one at the end."""
        self._opened.callback(consumer.close, CLOSE_SECONDS)

    def joined(self) -> Consumer:
        """A member that has its partitions."""
        consumer = self.member()
        wait_until(lambda: polled(consumer) is not None and bool(consumer.assignment()), "the member has joined")
        return consumer

    def producer(self, transactional_id: str | None = None) -> Producer:
        producer = self.adapter.make_producer(self.settings, "producer", transactional_id)
        self._opened.callback(producer.close)
        if transactional_id is not None:
            producer.init_transactions()
        return producer

    def send(self, *values: bytes, partition: int = 0) -> list[Place]:
        """Send records a second apart, each acknowledged; returns where they stand."""
        outcomes: list[Place | Exception] = []
        with self.adapter.open_producer(self.settings) as producer:
            for number, value in enumerate(values):
                record = Outgoing(self.topic, b"k", value, (), partition, FIRST_MS + 1000 * number)
                producer.send(record, outcomes.append)
            producer.flush(ANSWER_SECONDS)
        assert all(isinstance(outcome, Place) for outcome in outcomes)
        return cast("list[Place]", outcomes)

    def committed(self) -> NextOffset | None:
        """Where the group stands in the first partition."""
        with self.adapter.open_reader(self.settings, group_id=self.settings.kafka.group_id) as reader:
            return reader.committed(self.at(), ANSWER_SECONDS)


@pytest.fixture(params=ADAPTERS, ids=lambda adapter: adapter.__name__.split(".")[-2])
def bed(request: pytest.FixtureRequest, kafka: KafkaServer, topics: Callable[..., Topics]) -> Iterator[Bed]:
    """Each adapter in turn, with a topic of two partitions."""
    with ExitStack() as opened:
        yield Bed(request.param, Stream(kafka.bootstrap_servers, topics(2), "redis://127.0.0.1:1"), opened)


def polled(consumer: Consumer, timeout: float = 0.2) -> list[Message]:
    return [message for messages in consumer.poll(timeout).values() for message in messages]


def received(consumer: Consumer, count: int) -> list[Message]:
    """The next records, in the order in which they were handed out."""
    found: list[Message] = []
    deadline = time.monotonic() + 30
    while len(found) < count:
        assert time.monotonic() < deadline, f"only {len(found)} records came"
        found += polled(consumer)
    return found


def values(consumer: Consumer, count: int) -> list[bytes | None]:
    """The values of the next records."""
    return [message.value for message in received(consumer, count)]


def nothing_comes(consumer: Consumer) -> bool:
    return not [message for _ in range(5) for message in polled(consumer)]


def ignore(_: Place | Exception) -> None:
    """The outcome shows elsewhere."""


# Records


def test_a_record_comes_as_it_was_sent(bed: Bed) -> None:
    outcomes: list[Place | Exception] = []
    producer = bed.producer()
    sent = Outgoing(bed.topic, b"key", b"value", [("h", b"1"), ("none", None)], 1, FIRST_MS)
    producer.send(sent, outcomes.append)
    producer.send(Outgoing(bed.topic, None, None, (), 1), outcomes.append)
    producer.flush(ANSWER_SECONDS)
    assert outcomes == [Place(1, 0), Place(1, 1)]
    first, second = received(bed.reader(1), 2)
    assert (first.topic, first.partition, first.offset, first.timestamp) == (bed.topic, 1, 0, FIRST_MS)
    assert (first.key, first.value, list(first.headers)) == (b"key", b"value", [("h", b"1"), ("none", None)])
    assert (second.key, second.value, second.offset) == (None, None, 1)


def test_a_record_that_its_topic_does_not_take_is_told(bed: Bed) -> None:
    outcomes: list[Place | Exception] = []
    producer = bed.producer()
    # No codec makes it smaller.
    producer.send(Outgoing(bed.topic, b"k", os.urandom(3_000_000), (), 0), outcomes.append)
    producer.flush(ANSWER_SECONDS)
    (outcome,) = outcomes
    assert isinstance(outcome, RecordsTooLarge)
    assert outcome.topic == bed.topic


def test_a_producer_that_is_closed_takes_nothing(bed: Bed) -> None:
    producer = bed.producer()
    producer.close()
    producer.close()
    with pytest.raises(KafkaUnavailable):
        producer.send(Outgoing(bed.topic, b"k", b"v", (), 0), ignore)


def test_a_topic_that_does_not_exist_is_told_and_not_made(bed: Bed) -> None:
    name = f"no-such-topic-{uuid.uuid4().hex[:8]}"
    with bed.adapter.open_producer(bed.settings) as producer, pytest.raises(KafkaUnavailable, match=name):
        producer.require_topic(name)
    reader = bed.reader(0)
    assert reader.partitions(name) == []
    with pytest.raises(KafkaUnavailable, match=name):
        reader.stream_identity(name)
    with bed.adapter.open_admin(bed.settings) as admin:
        assert admin.find_topics([name]) == {}


# Reading


def test_a_consumer_knows_whether_others_wait(bed: Bed) -> None:
    for partition in (0, 1):
        bed.send(b"0", b"1", partition=partition)
    reader, given = bed.reader(0, 1), list[Partition]()

    def has_given(count: int) -> bool:
        given.extend(reader.poll(0.2, 1))
        return len(given) >= count

    wait_until(lambda: has_given(1), "a record came")
    # One answer of the broker has those of both.
    assert reader.others_wait(given)
    wait_until(lambda: has_given(4), "all records came")
    assert not reader.poll(0.2)
    assert not reader.others_wait(given[:1])


def test_a_reader_begins_at_the_beginning_and_goes_where_it_is_sent(bed: Bed) -> None:
    bed.send(b"0", b"1", b"2", b"3")
    reader = bed.reader(0)
    assert values(reader, 4) == [b"0", b"1", b"2", b"3"]
    assert reader.position(bed.at(), ANSWER_SECONDS) == 4
    reader.seek(bed.at(), 2)
    assert reader.position(bed.at(), ANSWER_SECONDS) == 2
    assert values(reader, 2) == [b"2", b"3"]


def test_a_poll_hands_out_no_more_records_than_it_may(bed: Bed) -> None:
    bed.send(b"0", b"1", b"2", b"3")
    reader = bed.reader(0)
    found: list[Message] = []
    while len(found) < 4:
        batch = reader.poll(5.0, 3).get(bed.at(), [])
        assert len(batch) <= 3
        found += batch
    assert [message.offset for message in found] == [0, 1, 2, 3]


def test_partitions_are_in_order_and_known_by_name_and_number(bed: Bed) -> None:
    reader = bed.reader(1, 0)
    assert reader.partitions(bed.topic) == [bed.at(0), bed.at(1)]
    assert reader.assignment() == {bed.at(0), bed.at(1)}


def test_a_paused_partition_waits_and_the_others_do_not(bed: Bed) -> None:
    reader = bed.reader(0, 1)
    reader.pause([bed.at(0)])
    assert reader.paused() == {bed.at(0)}
    bed.send(b"waits", partition=0)
    bed.send(b"comes", partition=1)
    assert values(reader, 1) == [b"comes"]
    assert nothing_comes(reader)
    reader.resume([bed.at(0)])
    assert values(reader, 1) == [b"waits"]


def test_a_position_that_the_log_does_not_have_is_told_once(bed: Bed) -> None:
    bed.send(b"0")
    reader = bed.reader(0)
    reader.seek(bed.at(), 1000)
    found: dict[Partition, int] = {}

    def is_told() -> bool:
        reader.poll(0.2)
        found.update(reader.take_out_of_range())
        return bool(found)

    wait_until(is_told, "the position is told")
    assert found == {bed.at(): 1000}
    assert reader.take_out_of_range() == {}


def test_offsets_are_known_by_their_ends_and_by_time(bed: Bed) -> None:
    bed.send(b"0", b"1", b"2")
    reader = bed.reader(0)
    both = [bed.at(0), bed.at(1)]
    assert reader.beginning_offsets(both, ANSWER_SECONDS) == {bed.at(0): 0, bed.at(1): 0}
    assert reader.end_offsets(both, ANSWER_SECONDS) == {bed.at(0): 3, bed.at(1): 0}
    assert reader.offset_at(bed.at(), FIRST_MS + 1, ANSWER_SECONDS) == 1
    assert reader.offset_at(bed.at(), FIRST_MS + 2001, ANSWER_SECONDS) is None


def test_an_answer_that_does_not_come_is_waited_for_so_long(bed: Bed) -> None:
    reader = bed.reader(0)
    with pytest.raises(KafkaTimeout):
        reader.end_offsets([Partition("no-such-topic", 0)], 1.0)


def test_a_topic_that_is_made_anew_is_another_stream(bed: Bed) -> None:
    reader = bed.reader()
    before = reader.stream_identity(bed.topic)
    assert reader.stream_identity(bed.topic) == before
    make_topic_anew(bed.stream.bootstrap_servers, bed.topic, 2)
    cluster, topic_id, group = before.split("/")
    after: list[str] = []

    def is_another() -> bool:
        """A broker may still show the topic that was deleted, or none of its name, for a moment."""
        with suppress(KafkaUnavailable):
            after.append(reader.stream_identity(bed.topic))
        return bool(after) and after[-1] != before

    wait_until(is_another, "the other topic is shown")
    found = after[-1].split("/")
    assert found == [cluster, found[1], group]
    assert found[1] not in ("", topic_id)


def test_all_clients_name_a_stream_alike(bed: Bed) -> None:
    with (
        ADAPTERS[0].open_reader(bed.settings, "g") as one,
        bed.adapter.open_reader(bed.settings, "g") as another,
    ):
        assert one.stream_identity(bed.topic) == another.stream_identity(bed.topic)


def test_all_clients_lead_a_key_to_the_same_partition(bed: Bed) -> None:
    found: list[list[int]] = []
    for adapter in (ADAPTERS[0], bed.adapter):
        places: list[Place | Exception] = []
        with adapter.open_producer(bed.settings, linger=0.0) as producer:
            for number in range(20):
                producer.send(Outgoing(bed.topic, b"key-%d" % number, b"v"), places.append)
                producer.flush(ANSWER_SECONDS)
        found.append([cast("Place", place).partition for place in places])
    assert set(found[0]) == {0, 1}
    assert found[0] == found[1]


# Groups


def test_members_of_all_clients_share_a_group(bed: Bed) -> None:
    first = bed.joined()
    second = ADAPTERS[0].make_consumer(bed.settings, "another")
    bed.also_closes(second)
    second.subscribe(bed.topic, Listener())

    def is_shared() -> bool:
        polled(first, 0.1)
        polled(second, 0.1)
        return len(first.assignment()) == len(second.assignment()) == 1

    wait_until(is_shared, "each has one")
    assert first.assignment() | second.assignment() == {bed.at(0), bed.at(1)}


def test_members_share_the_partitions_and_hear_of_each_other(bed: Bed) -> None:
    listeners = [Listener(), Listener()]
    first = bed.member(listeners[0])
    wait_until(lambda: polled(first) is not None and len(first.assignment()) == 2, "the first has both")
    generation = first.group_metadata().generation_id
    second = bed.member(listeners[1])

    def is_shared() -> bool:
        polled(first, 0.1)
        polled(second, 0.1)
        return len(first.assignment()) == len(second.assignment()) == 1

    wait_until(is_shared, "each has one")
    assert first.assignment() | second.assignment() == {bed.at(0), bed.at(1)}
    assert listeners[0].revocations
    assert listeners[0].assignments > 1
    assert listeners[1].assignments
    assert first.group_metadata().generation_id == second.group_metadata().generation_id > generation


def test_a_join_that_ends_between_two_polls_is_not_begun_again(bed: Bed) -> None:
    listener = Listener()
    member = bed.member(listener)

    def has_joined() -> bool:
        member.poll(0.001)
        time.sleep(0.5)
        return len(member.assignment()) == 2

    wait_until(has_joined, "the member has both")
    generation = member.group_metadata().generation_id
    for _ in range(3):
        assert has_joined()
    assert listener.assignments == 1
    assert member.group_metadata().generation_id == generation


def test_a_member_that_learns_late_of_its_topic_joins_once(bed: Bed, monkeypatch: pytest.MonkeyPatch) -> None:
    update = ClusterMetadata.update_metadata
    late = time.monotonic() + 2

    def update_late(cluster: Any, metadata: Any) -> None:
        for topic in metadata.topics:
            if topic.name == bed.topic and time.monotonic() < late:
                topic.error_code = LeaderNotAvailableError.errno
        update(cluster, metadata)

    monkeypatch.setattr(ClusterMetadata, "update_metadata", update_late)
    listener = Listener()
    member = bed.member(listener)
    wait_until(lambda: polled(member) is not None and len(member.assignment()) == 2, "the member has both")
    polled(member, 1)
    assert listener.assignments == 1


def test_what_was_paused_before_a_rebalance_is_read_after_it(bed: Bed) -> None:
    listener = Listener()
    first = bed.member(listener)
    wait_until(lambda: polled(first) is not None and len(first.assignment()) == 2, "the first has both")
    first.pause(first.assignment())
    second = bed.adapter.make_consumer(bed.settings, "guest")
    second.subscribe(bed.topic, Listener())

    def is_shared() -> bool:
        polled(first, 0.1)
        polled(second, 0.1)
        return len(first.assignment()) == len(second.assignment()) == 1

    wait_until(is_shared, "each has one")
    second.close(CLOSE_SECONDS)
    wait_until(lambda: polled(first) is not None and len(first.assignment()) == 2, "the first has both again")
    first.resume(first.paused())
    bed.send(b"one", partition=0)
    bed.send(b"two", partition=1)
    assert sorted(value or b"" for value in values(first, 2)) == [b"one", b"two"]


def test_a_consumer_that_has_not_joined_is_no_member(bed: Bed) -> None:
    assert bed.member().group_metadata().generation_id < 0


def test_what_a_group_committed_is_known_with_its_metadata(bed: Bed) -> None:
    bed.send(b"0", b"1")
    member = bed.joined()
    assert member.committed(bed.at(), ANSWER_SECONDS) is None
    member.commit({bed.at(): NextOffset(1, "the last one"), bed.at(1): 0}, ANSWER_SECONDS)
    committed = bed.committed()
    assert committed == 1
    assert committed is not None
    assert committed.metadata == "the last one"


def test_a_member_that_a_rebalance_passed_over_cannot_commit(bed: Bed) -> None:
    hasty = bed.settings.kafka.model_copy(update={"session_timeout_seconds": 6.0, "max_poll_interval_seconds": 6.0})
    bed.settings = bed.settings.model_copy(update={"kafka": hasty})
    first = bed.joined()
    second = bed.member()
    offsets = {bed.at(): 1}

    def is_passed_over() -> bool:
        # The first does not poll, and so does not hear of it.
        polled(second)
        try:
            first.commit(offsets, ANSWER_SECONDS)
        except Superseded:
            return True
        return False

    wait_until(is_passed_over, "the commit is refused")


# Transactions


def test_a_committed_transaction_is_read_as_a_whole_and_an_aborted_one_by_nobody(bed: Bed) -> None:
    producer = bed.producer(f"t-{uuid.uuid4().hex[:8]}")
    for value, commits in ((b"never", False), (b"kept", True)):
        producer.begin_transaction()
        producer.send(Outgoing(bed.topic, b"k", value, (), 0), ignore)
        producer.send(Outgoing(bed.topic, b"k", value, (), 1), ignore)
        producer.flush(ANSWER_SECONDS)
        producer.commit_transaction() if commits else producer.abort_transaction()
    assert values(bed.reader(0, 1), 2) == [b"kept", b"kept"]


def test_an_open_transaction_is_read_by_those_alone_who_ask_for_it(bed: Bed) -> None:
    producer = bed.producer(f"t-{uuid.uuid4().hex[:8]}")
    producer.begin_transaction()
    producer.send(Outgoing(bed.topic, b"k", b"open", (), 0), ignore)
    producer.flush(ANSWER_SECONDS)
    reader = bed.reader(0)
    assert nothing_comes(reader)
    assert reader.end_offsets([bed.at()], ANSWER_SECONDS) == {bed.at(): 0}
    assert reader.log_end(bed.at()) == 1
    with bed.adapter.open_reader(bed.settings, isolation="read_uncommitted") as witness:
        witness.assign([bed.at()])
        assert values(witness, 1) == [b"open"]
        assert witness.end_offsets([bed.at()], ANSWER_SECONDS) == {bed.at(): 1}
    with bed.adapter.open_admin(bed.settings) as admin:
        assert admin.end_offsets([bed.at()], "read_committed") == {bed.at(): 0}
        assert admin.end_offsets([bed.at()], "read_uncommitted") == {bed.at(): 1}
    producer.abort_transaction()


@pytest.mark.parametrize("is_open", [True, False], ids=["open", "committed"])
def test_a_partition_ends_behind_all_that_is_in_its_log(bed: Bed, is_open: bool) -> None:
    producer = bed.producer(f"t-{uuid.uuid4().hex[:8]}")
    producer.begin_transaction()
    producer.send(Outgoing(bed.topic, b"k", b"0", (), 0), ignore)
    producer.flush(ANSWER_SECONDS)
    if not is_open:
        producer.commit_transaction()
    # The mark of a transaction that has ended takes an offset.
    end = 1 if is_open else 2
    check = RecordCheck(lambda: bed.adapter.open_reader(bed.settings, isolation="read_uncommitted"), ANSWER_SECONDS)
    with closing(check):
        assert [check.ends_before(bed.at(), end + beyond) for beyond in (0, 1, 5)] == [False, True, True]
    if is_open:
        producer.abort_transaction()


def test_offsets_move_with_their_transaction(bed: Bed) -> None:
    bed.send(b"0", b"1")
    member, producer = bed.joined(), bed.producer(f"t-{uuid.uuid4().hex[:8]}")
    for offset, commits in ((2, False), (1, True)):
        producer.begin_transaction()
        producer.send_offsets({bed.at(): NextOffset(offset, f"m{offset}")}, member.group_metadata())
        producer.commit_transaction() if commits else producer.abort_transaction()
    committed = bed.committed()
    assert committed is not None
    assert (committed, committed.metadata) == (1, "m1")


def test_offsets_of_a_group_without_members_move_by_its_name(bed: Bed) -> None:
    producer = bed.producer(f"t-{uuid.uuid4().hex[:8]}")
    producer.begin_transaction()
    producer.send_offsets({bed.at(): 7}, bed.settings.kafka.group_id)
    producer.commit_transaction()
    assert bed.committed() == 7


def test_a_membership_of_before_a_rebalance_is_fenced(bed: Bed) -> None:
    stale = membership_that_was(bed)
    producer = bed.producer(f"t-{uuid.uuid4().hex[:8]}")
    producer.begin_transaction()
    with pytest.raises(Superseded):
        producer.send_offsets({bed.at(): 1}, stale)


def test_who_is_no_member_of_the_group_commits_no_offsets(bed: Bed) -> None:
    # librdkafka joins in the background, and may be done by the time it is asked.
    asked = (bed.member().group_metadata() for _ in range(20))
    stranger = next(one for one in asked if one.generation_id < 0)
    producer = bed.producer(f"t-{uuid.uuid4().hex[:8]}")
    producer.begin_transaction()
    with pytest.raises(Superseded):
        producer.send_offsets({bed.at(): 7}, stranger)
    producer.abort_transaction()
    assert bed.committed() is None


def membership_that_was(bed: Bed) -> GroupMetadata:
    former = bed.joined()
    stale = former.group_metadata()
    former.close(CLOSE_SECONDS)
    assert bed.joined().group_metadata().generation_id > stale.generation_id
    return stale


def test_a_producer_whose_successor_has_begun_is_fenced(bed: Bed) -> None:
    name = f"t-{uuid.uuid4().hex[:8]}"
    zombie = bed.producer(name)
    zombie.begin_transaction()
    zombie.send(Outgoing(bed.topic, b"k", b"a zombie's", (), 0), ignore)
    zombie.flush(ANSWER_SECONDS)
    successor = bed.producer(name)
    with pytest.raises(KafkaUnavailable, match=r"give each worker a kafka\.worker_id of its own"):
        zombie.commit_transaction()
    successor.begin_transaction()
    successor.send(Outgoing(bed.topic, b"k", b"its successor's", (), 0), ignore)
    successor.flush(ANSWER_SECONDS)
    successor.commit_transaction()
    assert values(bed.reader(0), 1) == [b"its successor's"]


# Topics and groups


def test_a_topic_is_created_found_and_deleted(bed: Bed) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    configs = {"cleanup.policy": "compact", "max.message.bytes": "1234567"}
    with bed.adapter.open_admin(bed.settings) as admin:
        assert admin.create_topic(name, 3, 1, configs, dry_run=True).problem is None
        assert admin.find_topics([name]) == {}
        assert admin.create_topic(name, 3, 1, configs) == (3, None)
        admin.wait_for_topics([name])
        found = admin.find_topics([name, f"{name}-not"])
        assert list(found) == [name]
        topic = found[name]
        assert (topic.partitions, topic.replication_factor, topic.leaderless_partitions) == (3, 1, 0)
        assert topic.configs["cleanup.policy"] == "compact"
        assert topic.max_message_bytes == 1_234_567
        assert admin.create_topic(name, 3, 1, configs).problem
        admin.delete_topics([name])
        wait_until(lambda: admin.find_topics([name]) == {}, "the topic is gone")


def test_a_topic_that_is_deleted_once_it_is_described_has_no_configuration(
    bed: Bed, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"made-{uuid.uuid4().hex[:8]}"
    with bed.adapter.open_admin(bed.settings) as admin, bed.adapter.open_admin(bed.settings) as other:
        client: Any = admin._client  # type: ignore[attr-defined]  # of either adapter
        described = client.describe_topics

        def describe(*args: Any, **options: Any) -> Any:
            found = described(*args, **options)
            for answer in found.values() if isinstance(found, dict) else ():
                answer.result()
            other.delete_topics([name])
            wait_until(lambda: other.find_topics([name]) == {}, "the topic is gone")
            return found

        admin.create_topic(name, 1, 1, {})
        admin.wait_for_topics([name])
        monkeypatch.setattr(client, "describe_topics", describe)
        assert {topic: found.configs for topic, found in admin.find_topics([name]).items()} == {name: {}}


def test_the_cluster_and_its_limits_are_told(bed: Bed) -> None:
    with bed.adapter.open_admin(bed.settings) as admin:
        assert admin.cluster_id() == bed.reader().stream_identity(bed.topic).split("/")[0]
        brokers = admin.brokers()
        assert brokers.count == 1
        assert brokers.version is None or brokers.version >= (3, 0)
        assert admin.broker_message_bytes() == 1_048_588


def test_the_newest_time_of_a_record_is_told(bed: Bed) -> None:
    both = [bed.at(0), bed.at(1)]
    with bed.adapter.open_admin(bed.settings) as admin:
        assert admin.newest_timestamp(both) < 0
        bed.send(b"0", b"1", partition=1)
        assert admin.newest_timestamp(both) == FIRST_MS + 1000


def test_a_group_may_be_used_and_is_deleted_once_it_is_empty(bed: Bed) -> None:
    member = bed.joined()
    member.commit({bed.at(): 1}, ANSWER_SECONDS)
    with bed.adapter.open_admin(bed.settings) as admin:
        assert admin.may_use_group(bed.settings.kafka.group_id) is True
        member.close(CLOSE_SECONDS)
        admin.delete_group(bed.settings.kafka.group_id)
    assert bed.committed() is None


# What does not work


def test_where_no_broker_listens_is_told_with_its_address(bed: Bed) -> None:
    address = f"127.0.0.1:{free_port()}"
    settings = Settings(kafka=KafkaSettings(bootstrap_servers=address))
    with pytest.raises(KafkaUnavailable, match=address), bed.adapter.open_admin(settings):
        pass


def test_a_client_whose_brokers_are_all_elsewhere_by_now_asks_where_it_began(
    kafka_factory: Callable[..., KafkaServer],
) -> None:
    """Addresses that a client has learned may all be gone; those that it was given lead on (KIP-899)."""
    with Link(free_port()) as old, Link(free_port()) as new:
        server = kafka_factory(links=[old, new])
        given = f"{LOOPBACK}:{old.port},{LOOPBACK}:{new.port}"
        for adapter in ADAPTERS:
            new.cut()
            old.heal()
            stream = Stream(given, create_topics(server.bootstrap_servers), "redis://127.0.0.1:1")
            with ExitStack() as opened:
                bed = Bed(adapter, stream, opened)
                reader, producer = bed.reader(0), bed.producer()
                for value in (b"before", b"after"):
                    producer.send(Outgoing(bed.topic, b"k", value, (), 0, FIRST_MS), ignore)
                    producer.flush(WAIT_SECONDS)
                    assert values(reader, 1) == [value], adapter
                    new.heal()
                    old.cut()


@pytest.mark.parametrize("adapter", ADAPTERS, ids=lambda adapter: adapter.__name__.split(".")[-2])
def test_a_closed_producer_sends_nothing_any_more(kafka_factory: Callable[..., KafkaServer], adapter: Adapter) -> None:
    """What it could not send before would come behind the newer records of another."""
    with Link(free_port()) as path, ExitStack() as opened:
        server = kafka_factory(links=[path])
        topics = create_topics(server.bootstrap_servers)
        bed = Bed(adapter, Stream(f"{LOOPBACK}:{path.port}", topics, "redis://127.0.0.1:1"), opened)
        producer = bed.producer()
        producer.send(Outgoing(bed.topic, b"k", b"before", (), 0, FIRST_MS), ignore)
        producer.flush(WAIT_SECONDS)
        path.cut()
        producer.send(Outgoing(bed.topic, b"k", b"late", (), 0, FIRST_MS), ignore)
        with pytest.raises(KafkaTimeout):
            producer.flush(2.0)
        producer.close()
        path.heal()
        reader = bed.reader(0)
        bed.send(b"after")
        read = values(reader, 2)
        until = time.monotonic() + 5
        while time.monotonic() < until:
            read += [message.value for messages in reader.poll(0.5).values() for message in messages]
        assert read == [b"before", b"after"]


def test_an_option_that_the_client_does_not_have_is_refused(bed: Bed) -> None:
    bed.adapter.check_options({})
    with pytest.raises(SettingsError, match=r"kafka\.options\.no_such_option"):
        bed.adapter.check_options({"no_such_option": 1})
