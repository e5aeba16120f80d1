"""Clients by kafka-python where no broker is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest
from kafka import KafkaProducer, TopicPartition
from kafka.coordinator.base import MemberState
from kafka.record import MemoryRecords

from questream.broker.kafka_python.consumer import RecordConsumer
from questream.broker.kafka_python.producer import ProducerAdapter
from questream.broker.port import Partition
from questream.embedded import free_port
from questream.errors import Superseded
from tests.unit.test_unpacking import batch

FIRST, SECOND = TopicPartition("questions", 0), TopicPartition("questions", 1)


@contextmanager
def consumer(group_id: str | None) -> Iterator[RecordConsumer]:
    """A consumer of the version of Kafka that it would find."""
    address = f"127.0.0.1:{free_port()}"
    with closing(
        RecordConsumer(bootstrap_servers=address, api_version=(3, 9), group_id=group_id, enable_auto_commit=False)
    ) as made:
        yield made


def test_a_partition_that_is_read_through_keeps_no_other_from_being_taken_up() -> None:
    with consumer(None) as reader:
        reader.assign([FIRST, SECOND])
        fetcher = reader._fetcher
        of_first, of_second = (
            fetcher.PartitionRecords(0, at, MemoryRecords(batch(0, [b"why?"], 0))) for at in (FIRST, SECOND)
        )
        for at in (FIRST, SECOND):
            reader.seek(at, 0)
        of_first.take(2)
        fetcher._next_partition_records = of_first
        fetcher._paused_partition_records[SECOND] = of_second
        assert [record.offset for record in reader.poll()[SECOND]] == [0]


def test_a_join_that_the_last_poll_began_is_finished_by_the_next() -> None:
    with consumer("readers") as member:
        member.subscribe(["questions"])
        coordinator = member._coordinator
        coordinator._joined_subscription = {"questions"}
        for state, is_begun in ((MemberState.STABLE, False), (MemberState.REBALANCING, True)):
            coordinator.rejoin_needed, coordinator.state = False, state
            member.keep_joining()
            assert coordinator.need_rejoin() is is_begun


def test_offsets_of_a_consumer_that_is_no_member_are_refused() -> None:
    """The broker would take them as those of a group without members."""
    address = f"127.0.0.1:{free_port()}"
    client = KafkaProducer(bootstrap_servers=address, api_version=(3, 9), transactional_id="worker")
    with closing(ProducerAdapter(client)) as producer, pytest.raises(Superseded, match="no member of the group"):
        producer.send_offsets({Partition("questions", 0): 1}, cast("Any", SimpleNamespace(generation_id=-1)))
