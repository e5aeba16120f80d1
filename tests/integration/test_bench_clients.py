"""`questream bench clients` as a user would run it, with few questions."""

from __future__ import annotations

from tests.kit.command import questream
from tests.kit.servers import KafkaServer


def test_clients_answer_the_same_questions_in_turns_and_are_compared(kafka: KafkaServer, redis_url: str) -> None:
    servers = ("--bootstrap-servers", kafka.bootstrap_servers, "--redis-url", redis_url)
    size = ("--questions=300", "--topics=10", "--dimension=32", "--turns=2")
    ran = questream("bench", "clients", *size, *servers, "--json")
    assert ran.code == 0, ran.err
    first, second = ran.json
    assert [first["client"], second["client"]] == ["kafka-python", "confluent"]
    assert first["rate_ratio"] == first["cpu_ratio"] == 1
    for figures in (first, second):
        assert figures["turns"] == 2
        assert figures["duplicates"] == 0
        # What the first questions opened, the others joined.
        assert 10 <= figures["clusters"] <= 300
        assert figures["publish_milliseconds"] > 0
        assert figures["cpu_microseconds"] > 0


def test_a_client_that_is_not_there_is_named() -> None:
    ran = questream("bench", "clients", "--client", "aiokafka")
    assert ran.code == 2
    assert "aiokafka is not here; there are kafka-python" in ran.err
