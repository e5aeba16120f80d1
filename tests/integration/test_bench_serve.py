"""`questream bench serve` as a user would run it, with few clusters."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import redis

from questream.lab.bench.serving import _levels
from tests.kit.command import questream
from tests.kit.servers import KafkaServer


def test_pages_lists_and_decisions_are_measured_and_nothing_is_left(
    kafka: KafkaServer, redis_url: str, minilm: Path
) -> None:
    servers = ("--bootstrap-servers", kafka.bootstrap_servers, "--redis-url", redis_url)
    ran = questream("bench", "serve", "--clusters", "60", "--runs", "2", "--json", f"--model.name={minilm}", *servers)
    assert ran.code == 0, ran.err
    told = ran.json
    assert told["clusters"] == 60
    assert told["resident_mib"] > 0
    kinds = {one["what"] for one in told["figures"]}
    assert {"page: clusters", "list by growth", "search, a common word", "search by meaning", "one cluster"} < kinds
    assert {"page: tree", "page: intents", "page: one intent", "list of topics", "one large topic"} < kinds
    assert {f"page: suggestions, {kind}" for kind in ("overlap", "name", "split")} < kinds
    assert "a decision, from its sending on" in kinds
    assert all(one["median"] > 0 and one["runs"] == 2 for one in told["figures"])
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter("*questream-bench*")) == []


def test_the_large_topic_has_500_intents_and_the_others_20() -> None:
    intents = Counter(topic.number for node, topic in _levels(6500).parents.items() if node.level == 1)
    assert intents == {1: 500, 2: 20}
