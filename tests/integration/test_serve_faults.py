"""`questream serve` while its servers are killed (-9): it comes back by itself, and tells nothing that is not done."""

from __future__ import annotations

import json
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from questream.server.tokens import make_token
from tests.integration.test_serve import Site
from tests.kit.servers import KafkaServer, RedisServer, Topics, create_topics
from tests.kit.servers.process import free_port
from tests.kit.stream import Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder, question_of

QUESTIONS = 60
OPERATIONS = 200
CLUSTERS = "/api/v1/namespaces/default/clusters"
pytestmark = pytest.mark.timeout(400)


@contextmanager
def served(stream: Stream, folder: Path) -> Iterator[tuple[Site, httpx2.Client]]:
    """A server over a stream of 12 clusters, and somebody who may do all."""
    tokens = {"ada": make_token(folder / "tokens.jsonl", "ada", {"*": "admin"})}
    site = Site(stream, folder, folder / "no-model", free_port(), tokens)
    with running_worker(stream.settings(), hash_encoder()):
        stream.send([question(number, question_of(number % 12, number)) for number in range(QUESTIONS)])
        with stream.decisions() as decisions:
            decisions.until(QUESTIONS)
    try:
        site.start()
        with httpx2.Client(base_url=site.url, timeout=30, headers=bearer(site)) as client:
            wait_until(lambda: client.get(CLUSTERS).status_code == 200, "the clusters are read")
            yield site, client
    finally:
        site.kill()


def bearer(site: Site) -> dict[str, str]:
    return {"Authorization": f"Bearer {site.tokens['ada']}"}


def total(client: httpx2.Client) -> int | None:
    """How many clusters the list has; None where there is none for now."""
    answer = client.get(CLUSTERS)
    assert answer.status_code in (200, 503), answer.text
    return int(answer.json()["total"]) if answer.status_code == 200 else None


def label(client: httpx2.Client, number: int) -> httpx2.Response:
    """Have a cluster be labelled, by an operation with an id of its own."""
    body = {"op": "label", "cluster_id": f"c{1 + number % 12}", "label": f"label {number}", "id": f"id-{number}"}
    return client.post("/api/v1/namespaces/default/operations", json=body)


def test_what_was_answered_stands_and_what_was_not_is_done_once_when_redis_is_back(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_factory: Callable[..., RedisServer], tmp_path: Path
) -> None:
    redis = redis_factory(appendfsync="always")
    stream = Stream(kafka.bootstrap_servers, topics(1), redis.url, {"redis.timeout_seconds": 1})
    # A worker looks whether the store has lost anything, before anything is written to it again.
    with served(stream, tmp_path) as (_, client), running_worker(stream.settings(), hash_encoder()):
        answered: dict[int, int] = {}
        begun = threading.Event()

        def operate() -> None:
            for number in range(OPERATIONS):
                answer = label(client, number)
                if answer.status_code == 200:
                    answered[number] = answer.json()["operation"]
                    begun.set()
                else:
                    assert answer.status_code == 503, answer.text
                    assert answer.headers["content-type"] == "application/problem+json"

        operator = threading.Thread(target=operate)
        operator.start()
        assert begun.wait(60)
        redis.kill()
        wait_until(lambda: client.get(f"{CLUSTERS}/c1").status_code == 503, "it says that Redis is away")
        assert "redis" in client.get(f"{CLUSTERS}/c1").text.lower()
        redis.start()
        operator.join(300)
        assert not operator.is_alive()
        wait_until(lambda: total(client) == 12, "lists are answered again")
        for number in range(OPERATIONS):
            wait_until(lambda number=number: label(client, number).status_code == 200, f"{number} is answered")  # type: ignore[misc]
        found = [
            one
            for cluster in range(1, 13)
            for one in client.get(f"{CLUSTERS}/c{cluster}/history", params={"limit": 1000}).json()["operations"]
        ]
        numbers = {one["id"]: one["operation"] for one in found}
        assert len(found) == len(numbers) == OPERATIONS, "each is done once"
        assert {f"id-{number}": made for number, made in answered.items()}.items() <= numbers.items()


def test_lists_are_shown_while_kafka_is_away_and_followed_when_it_is_back(
    breakable_kafka: KafkaServer, redis_url: str, tmp_path: Path
) -> None:
    kafka = breakable_kafka
    stream = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers, 1), redis_url)
    with served(stream, tmp_path) as (site, client):
        kafka.kill()
        assert total(client) == 12
        assert label(client, 1).status_code == 200, "what people decide waits in the store until it can be published"
        assert client.get(f"{CLUSTERS}/c2").json()["label"] == "label 1"
        kafka.start()
        with running_worker(stream.settings(), hash_encoder()):
            told = follow(site)
            assert told["outcome"] in ("created", "joined")
        wait_until(lambda: total(client) == 13, "a cluster that opened since is listed")


def follow(site: Site) -> dict[str, Any]:
    """The first decision that the server tells, of questions that are sent until it tells one."""
    told: list[dict[str, Any]] = []
    url = f"{site.url}/api/v1/namespaces/default/decisions"

    def listen() -> None:
        with httpx2.stream("GET", url, timeout=300, headers=bearer(site)) as answer:
            for line in answer.iter_lines():
                if line.startswith("data: "):
                    told.append(json.loads(line.removeprefix("data: ")))
                    return

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()

    def is_told() -> bool:
        site.send(question_of(77, len(site.sent)))
        listener.join(1.0)
        return bool(told)

    wait_until(is_told, "a decision is told", 120)
    return told[0]


def test_a_server_that_is_killed_or_loses_both_comes_back_with_what_stands(
    breakable_kafka: KafkaServer, redis_factory: Callable[..., RedisServer], tmp_path: Path
) -> None:
    kafka, redis = breakable_kafka, redis_factory(appendfsync="always")
    stream = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers, 1), redis.url)
    with served(stream, tmp_path) as (site, client):
        assert label(client, 4).status_code == 200
        site.stop(signal.SIGKILL)
        redis.kill()
        kafka.kill()
        redis.start()
        kafka.start()
        site.start()
        wait_until(lambda: total(client) == 12, "the clusters are read")
        assert client.get(f"{CLUSTERS}/c5").json()["label"] == "label 4"
        with running_worker(stream.settings(), hash_encoder()):
            wait_until(lambda: label(client, 4).status_code == 200, "people decide again")
            assert label(client, 4).json()["operation"] == 1, "it is not done again"


def test_a_server_that_started_without_redis_is_ready_once_its_first_pages_are(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_factory: Callable[..., RedisServer], tmp_path: Path
) -> None:
    redis = redis_factory(appendfsync="always")
    stream = Stream(kafka.bootstrap_servers, topics(1), redis.url, {"redis.timeout_seconds": 1})
    with served(stream, tmp_path) as (site, client):
        site.stop()
        redis.kill()
        site.begin()
        log = tmp_path / "serve.log"
        wait_until(lambda: "once the store answers" in log.read_text(), "it has found no Redis", 60)
        assert client.get("/readyz").status_code == 503
        redis.start()
        wait_until(site.is_ready, "it is ready", 60)
        # Nobody has asked for them.
        wait_until(lambda: "were read" in log.read_text().rpartition("once the store answers")[2], "they were read", 5)
