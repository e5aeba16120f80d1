"""A producer by librdkafka where no broker is."""

from __future__ import annotations

import threading
from contextlib import closing
from types import SimpleNamespace
from typing import Any, cast

import pytest
from confluent_kafka import Producer

from questream.broker.confluent.producer import ProducerAdapter, Throttle
from questream.broker.port import Outgoing, Partition, Place
from questream.embedded import free_port
from questream.errors import KafkaTimeout, KafkaUnavailable, Superseded

# Longer than any test waits.
GIVE_UP_SECONDS = 120.0
END_SECONDS = 30.0
RECORD = Outgoing("decisions", b"key", b"value", (), 0)


def producer_of(give_up_seconds: float, **options: int) -> ProducerAdapter:
    config = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "log_level": 0, **options}
    return ProducerAdapter(Producer(config), Throttle(), give_up_seconds, config)


def test_who_waits_for_records_of_a_producer_that_is_closed_waits_no_longer() -> None:
    producer = producer_of(GIVE_UP_SECONDS)
    outcomes: list[Place | Exception] = []
    producer.send(RECORD, outcomes.append)
    waiting = threading.Thread(target=producer.flush, daemon=True)
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive()
    producer.close()
    waiting.join(END_SECONDS)
    assert not waiting.is_alive()
    assert [type(outcome) for outcome in outcomes] == [KafkaUnavailable]
    with pytest.raises(KafkaUnavailable, match="the producer is closed"):
        producer.flush()


def test_records_that_nobody_acknowledges_are_waited_for_so_long() -> None:
    with closing(producer_of(0.1)) as producer:
        producer.send(RECORD, lambda _: None)
        with pytest.raises(KafkaTimeout, match="not acknowledged in time"):
            producer.flush()


def test_a_record_waits_so_long_for_a_place_in_the_queue() -> None:
    with closing(producer_of(0.1, **{"queue.buffering.max.messages": 1})) as producer:
        producer.send(RECORD, lambda _: None)
        with pytest.raises(KafkaTimeout, match="wait to be sent for too long"):
            producer.send(RECORD, lambda _: None)


def test_offsets_of_a_consumer_that_is_no_member_are_refused() -> None:
    """The broker would take them as those of a group without members."""
    with closing(producer_of(0.1)) as producer, pytest.raises(Superseded, match="no member of the group"):
        producer.send_offsets({Partition("questions", 0): 1}, cast("Any", SimpleNamespace(generation_id=-1)))
