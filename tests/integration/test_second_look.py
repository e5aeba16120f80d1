"""A second look on a real Kafka and Redis: decided, published, recorded, and put back with the clusters."""

from __future__ import annotations

from collections.abc import Callable

from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

ON, OFF = "please turn the dark mode on", "please turn the dark mode off"


def test_questions_that_differ_stay_apart_also_in_a_store_that_lost_its_memory(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url, {"clusters.threshold": 0.7})
    stream.send([question(1, ON), question(2, OFF)])
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        first, second = reader.values(2)
        assert [value["outcome"] for value in (first, second)] == ["created", "created"]
        assert (first["checked_by"], first["reason"]) == (None, None)
        assert (second["checked_by"], second["reason"]) == ("features", "antonym")
        assert second["runner_up"]["cluster_id"] == first["cluster_id"]
        wait_until(lambda: stream.store().unpublished("default", 0.0, 10) == [], "the outbox is published", 40)
        with stream.redis() as client:
            assert client.hget("questream:{default}:cluster:2", "features")
            client.flushall()
        stream.send([question(3, OFF), question(4, ON)])
        third, fourth = reader.values(4)[2:]
        assert [third["cluster_id"], fourth["cluster_id"]] == [second["cluster_id"], first["cluster_id"]]


def test_without_it_they_are_one_cluster(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> None:
    settings = {"clusters.threshold": 0.7, "judge.features": False}
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url, settings)
    stream.send([question(1, ON), question(2, OFF)])
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        first, second = reader.values(2)
        assert first["cluster_id"] == second["cluster_id"]
        assert (second["checked_by"], second["reason"]) == (None, None)
