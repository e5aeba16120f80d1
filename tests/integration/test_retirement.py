"""Retirement by real workers: mirrors follow, the compacted topic ends as Redis does, and the ledger stays short."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
import redis

from questream.domain import parse_cluster_id
from questream.store.redis.retiring import RedisRetirement
from questream.store.redis.store import RedisStore
from questream.store.retention import Due
from questream.stream import housekeeping
from questream.stream.worker import Worker
from tests.contract.test_retirement import IDLE_TWO_MINUTES, MINUTE, create, join_again, live
from tests.contract.test_store import IDENTITY, recover
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Message, Reader, Stream, assert_one_decision_each, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

DAY_MS = 86_400_000


def text_of(topic: int) -> str:
    return " ".join(f"t{topic}w{word}" for word in range(6))


def question_at(number: int, topic: int, days: float, partition: int) -> Message:
    """A question about a topic, so many days after a week ago."""
    at = int(time.time() * 1000) - 7 * DAY_MS + int(days * DAY_MS)
    return question(number, text_of(topic), timestamp_ms=at, partition=partition)


def latest_states(states: Reader) -> dict[str, Any]:
    """What compaction leaves of the cluster topic, tombstones as None."""
    return {record.key.decode(): None if record.value is None else json.loads(record.value) for record in states.rest()}


def assert_topic_is_what_redis_holds(stream: Stream, states: Reader) -> None:
    told = {key: value for key, value in latest_states(states).items() if "/c" in key and value is not None}
    held = {f"default/c{state.cluster_id}": state for state in stream.store().clusters("default")}
    assert {key for key, value in told.items() if value["merged_into"] is None} == held.keys()
    for key, state in held.items():
        assert (told[key]["size"], told[key]["revision"]) == (state.size, state.revision)
    for key, value in told.items():
        if value["merged_into"] is not None:
            alias = stream.store().cluster("default", parse_cluster_id(key.removeprefix("default/")))
            assert alias is not None
            assert alias.merged_into == parse_cluster_id(value["merged_into"])


def clusters_seen_by(worker: Worker) -> float:
    (sample,) = (s for family in worker.metrics.clusters.collect() for s in family.samples)
    return float(sample.value)


def test_what_two_workers_retire_is_gone_everywhere(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A tombstone waits for as long as a call to the broker may take, and then for its sweep.
    monkeypatch.setattr(housekeeping, "_LEFT_BEHIND_SECONDS", 1.0)
    options = {"clusters.retention_seconds": 3 * 86_400, "clusters.singleton_retention_seconds": 86_400}
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, options)
    store = stream.store()
    with ExitStack() as stack:
        workers = [stack.enter_context(running_worker(stream.settings(), hash_encoder())) for _ in range(2)]
        reader, states = (stack.enter_context(r) for r in (stream.decisions(), stream.cluster_states()))
        # Five topics of four questions, five of one, one of which has a label.
        first = [question_at(i, i % 5, 0, i % 2) for i in range(20)]
        first += [question_at(20 + i, 5 + i, 0, i % 2) for i in range(5)]
        stream.send(first)
        ids = {d["question_id"]: d["cluster_id"] for d in reader.values(25)}
        assert len(set(ids.values())) == 10
        store.label("default", parse_cluster_id(ids["q24"]), "kept", None)
        # Topics 0 to 2 go on, and with them stream time.
        stream.send(question_at(100 + i, i % 3, 2, i % 2) for i in range(6))
        reader.until(31)
        live = {ids[f"q{i}"] for i in (0, 1, 2, 3, 4, 24)}
        wait_until(
            lambda: {f"c{state.cluster_id}" for state in store.clusters("default")} == live, "singletons are retired"
        )
        stream.send(question_at(200 + i, i % 3, 4, i % 2) for i in range(6))
        reader.until(37)
        live -= {ids["q3"], ids["q4"]}
        wait_until(
            lambda: {f"c{state.cluster_id}" for state in store.clusters("default")} == live, "idle ones are retired"
        )
        wait_until(lambda: all(clusters_seen_by(worker) == 4 for worker in workers), "both mirrors have followed")
        gone = {f"default/{cluster_id}" for cluster_id in set(ids.values()) - live}
        wait_until(
            lambda: all(latest_states(states).get(key, 0) is None for key in gone), "all tombstones are published"
        )
        wait_until(lambda: not redis_outbox(stream), "nothing waits to be published")
        assert_topic_is_what_redis_holds(stream, states)
        # What comes again comes as a new cluster, under a number that was never given.
        stream.send([question_at(300, 3, 4, 0), question_at(301, 9, 4, 1)])
        again = {d["question_id"]: d for d in reader.values(39)}
        assert (again["q300"]["outcome"], again["q301"]["label"]) == ("created", "kept")
        assert again["q300"]["cluster_id"] == "c11"
        assert again["q301"]["cluster_id"] == ids["q24"]
        assert_one_decision_each(list(again.values()), again)
        retired = sum(
            s.value
            for w in workers
            for family in w.metrics.retired.collect()
            for s in family.samples
            if s.name.endswith("_total")
        )
        assert retired == 6
        client = stream.redis()
        assert all(0 < client.ttl(f"questream:{{default}}:cluster:{key.split('/c')[1]}") <= 600 for key in gone)


def redis_outbox(stream: Stream) -> int:
    return int(stream.redis().zcard("questream:{default}:outbox"))


def test_a_flood_of_single_questions_is_held_to_the_limit(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    options = {"clusters.max_clusters": 50, "clusters.log_entries": 100, "batch_questions": 32}
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, options)
    store, client = stream.store(), stream.redis()
    bad = Message(b"{", b"bad", partition=1)
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as reader:
        stream.send([question_at(i, i % 5, i / 10_000, i % 2) for i in range(40)])
        reader.until(40)
        floods = [question_at(1000 + i, 1000 + i, 1 + i / 10_000, i % 2) for i in range(600)]
        for start in range(0, 600, 60):
            stream.send([*floods[start : start + 60], *[bad] * 60])
        reader.until(640)
        wait_until(lambda: sum(1 for _ in store.clusters("default")) == 50, "there is room again")
        # Those that were asked more than once outlive the flood.
        assert {1, 2, 3, 4, 5} <= {state.cluster_id for state in store.clusters("default")}
        wait_until(lambda: clusters_seen_by(worker) == 50, "the mirror has followed")
        # A partition that has nothing but dead letters any more, and one that is idle: neither's ledger grows.
        stream.send([bad] * 300)
        with stream.dead_letters() as dead:
            dead.until(900)
        wait_until(lambda: stream.committed().get(1) == 300 + 20 + 900, "all is committed")
        for partition in (0, 1):
            entries = client.llen(f"questream:{{default}}:ledger:{stream.topics.input_topic}:{partition}")
            assert 1 <= entries <= 4
        assert client.xlen("questream:{default}:log") < 400
        for name in ("idle", "singletons"):
            assert client.zcard(f"questream:{{default}}:{name}") <= 50


def test_a_cluster_that_is_seen_while_it_is_looked_at_stays(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store, namespace = RedisStore(redis.Redis.from_url(redis_url)), "seen-anew"
    store.open(namespace, IDENTITY)
    recover(store, namespace)
    create(store, namespace, MINUTE, 2 * MINUTE, 9 * MINUTE)
    look = RedisRetirement._page

    def look_and_join(self: RedisRetirement, namespace: str, due: Due, *more: Any) -> Sequence[int]:
        found = look(self, namespace, due, *more)
        if 2 in found:
            join_again(store, namespace, 2, 10 * MINUTE)
        return found

    monkeypatch.setattr(RedisRetirement, "_page", look_and_join)
    assert store.retire(namespace, IDLE_TWO_MINUTES, 100).ids == {"idle": [1]}
    assert live(store, namespace) == [2, 3]
