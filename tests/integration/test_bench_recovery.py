"""`questream bench recovery` as a user would run it, with few clusters."""

from __future__ import annotations

from tests.kit.command import questream
from tests.kit.servers import KafkaServer


def test_clusters_are_put_back_and_loaded(kafka: KafkaServer, redis_url: str) -> None:
    servers = ("--bootstrap-servers", kafka.bootstrap_servers, "--redis-url", redis_url)
    ran = questream("bench", "recovery", "--clusters", "1200", "--dimension", "16", "--json", *servers)
    assert ran.code == 0, ran.err
    told = ran.json
    assert told["clusters"] == 1200
    assert told["clusters_per_second"] > 0
    assert told["resident_mib_before"] <= told["resident_mib_peak"]


def test_it_asks_for_a_kafka() -> None:
    ran = questream("bench", "recovery", "--clusters", "10")
    assert ran.code == 2
    assert "--bootstrap-servers" in ran.err
