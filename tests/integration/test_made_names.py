"""Names that a language model makes: `questream events run` on Kafka and Redis, and a server that speaks its API."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from pydantic import SecretStr

from questream.naming.making import place_of
from questream.settings import RedisSettings
from questream.store.redis.store import open_store
from tests.kit.command import questream
from tests.kit.receiver import HttpReceiver
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Reader, Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder, question_of
from tests.kit.watching import WatcherProcess, create_event_topic
from tests.unit.test_namer import shared

MakeTopics = Callable[..., Topics]


def test_clusters_are_named_and_named_anew_as_an_event_once(
    kafka: KafkaServer, topics: MakeTopics, redis_url: str, tmp_path: Path
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(1), redis_url)
    create_event_topic(stream)
    sent = [question(number, question_of(number % 2, number)) for number in range(24)]
    settings = stream.settings()
    namespace = settings.clusters.namespace
    store = open_store(RedisSettings(url=SecretStr(redis_url)))

    def named() -> dict[int, str]:
        return {cluster_id: made.name for cluster_id, made in store.made_names(namespace).items()}

    with HttpReceiver(shared) as model:
        names = {"names__endpoint": model.url, "names__model": "small", "names__key": "sesame"}
        with running_worker(settings, hash_encoder()):
            stream.send(sent)
            with stream.decisions() as decisions:
                decisions.until(len(sent))
        with WatcherProcess(stream, tmp_path, "one", **names) as one:
            one.start()
            one.wait_until_publishing()
            wait_until(lambda: len(named()) == 2, "both clusters are named")
            wait_until(lambda: one.metrics()['questream_names_total{outcome="made"}'] == 2, "both are counted")
            asked = [json.loads(json.loads(request.body)["messages"][1]["content"]) for request in model.received]
            assert all(len(questions) > 1 for questions in asked), "questions are read again from the input topic"
            one.kill()
            (first, *_) = sorted(store.made_names(namespace))
            elsewhere = place_of(-np.ones(64, np.float32))
            moved = store.made_names(namespace)[first]._replace(place=elsewhere, size=1, name="Former name")
            store.write_names(namespace, store.store_epoch(namespace) or "", {first: moved})
            one.start()
            one.wait_until_publishing()
            with Reader(stream.bootstrap_servers, stream.topics.event_topic) as events:
                wait_until(lambda: len(events.values()) == 1, "the new name is told")
                one.kill()
                one.start()
                one.wait_until_publishing()
                (event,) = events.values()
        log = one.log.read_text()
    assert (event["subject"], event["data"]["kind"], event["data"]["renamed_by"]) == (f"c{first}", "renamed", "model")
    assert named()[first].startswith("Name of topic")
    outcome = questream(
        "clusters", "list", "--search", "name of", "--json", f"--redis.url={redis_url}", "--namespace", namespace
    )
    assert {json.loads(line)["name"] for line in outcome.out.splitlines()} == set(named().values())
    for secret in ("sesame", "Name of", "variant", "Former name"):
        assert secret not in log
