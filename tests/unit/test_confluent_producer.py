"""A producer by librdkafka where no broker is."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import Producer

from questream.broker.confluent.producer import ProducerAdapter, Throttle
from questream.broker.port import Outgoing, Place
from questream.embedded import free_port
from questream.errors import KafkaUnavailable

# Longer than any test waits.
GIVE_UP_SECONDS = 120.0
END_SECONDS = 30.0


def test_who_waits_for_records_of_a_producer_that_is_closed_waits_no_longer() -> None:
    config = {"bootstrap.servers": f"127.0.0.1:{free_port()}", "log_level": 0}
    producer = ProducerAdapter(Producer(config), Throttle(), GIVE_UP_SECONDS, config)
    outcomes: list[Place | Exception] = []
    producer.send(Outgoing("decisions", b"key", b"value", (), 0), outcomes.append)
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
