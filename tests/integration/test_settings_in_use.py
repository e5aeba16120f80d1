"""Workers of one namespace that run by different settings are told of it, by log, metric, probe and doctor."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import orjson
import pytest
import redis

from questream.store.protocol import Identity
from questream.store.redis.store import RedisStore
from questream.stream import settings_in_use
from questream.stream.settings_in_use import as_noted, differences_of
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, probe, running_worker, wait_for_metrics, wait_until
from tests.kit.vectors import hash_encoder


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("clusters.threshold", 0.7, "clusters.threshold: 0.55 here, 0.7 in worker other"),
        ("clusters.retention_seconds", 60, "clusters.retention_seconds: unset here, 60.0 in worker other"),
    ],
)
def test_two_workers_with_different_settings_tell_so_while_both_run(
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_url: str,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    key: str,
    value: Any,
    told: str,
) -> None:
    monkeypatch.setattr(settings_in_use, "_LOOK_SECONDS", 0.1)
    monkeypatch.setattr(settings_in_use, "GONE_SECONDS", 4.0)
    caplog.set_level(logging.INFO)
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, {"clusters.threshold": 0.55})
    other = Stream(kafka.bootstrap_servers, stream.topics, redis_url, stream.options | {key: value}, stream.group_id)
    with running_worker(stream.settings(kafka__worker_id="this"), hash_encoder()) as worker:
        wait_until(lambda: probe(worker.metrics_port, "readyz") == (200, "ok"), "it runs alone")
        with running_worker(other.settings(kafka__worker_id="other"), hash_encoder()) as second:
            # A change of the settings that is rolled out is no reason to take workers out of service.
            wait_until(
                lambda: probe(worker.metrics_port, "readyz") == (200, f"ok; workers run by different settings: {told}"),
                "the probe tells it",
            )
            for one in (worker, second):
                wait_for_metrics(one.metrics_port, {"questream_settings_differ": 1})
        wait_until(lambda: probe(worker.metrics_port, "readyz") == (200, "ok"), "the other one is gone")
        wait_for_metrics(worker.metrics_port, {"questream_settings_differ": 0})
    assert "workers of one namespace run by different settings" in caplog.text
    assert "all workers run by the same settings again" in caplog.text


def test_the_age_of_the_last_note_is_told_and_no_worker_makes_an_old_copy_younger(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    store = RedisStore(client)
    meta = "questream:{old}:meta"
    store.open("old", Identity("made-up", "1", 4, "cosine", "average", 0.9))
    store.recover("old", store.begin_recovery("old"), None, {})
    assert store.seconds_since_noted(["old"]) is None
    store.note_settings("old", "one", b"{}", 60)
    age = store.seconds_since_noted(["old", "nowhere"])
    assert age is not None
    assert age < 3600.0
    noted = client.hget(meta, "settings")
    assert isinstance(noted, bytes)
    aged = {digest: [at - 7_200_000, *rest] for digest, (at, *rest) in orjson.loads(noted).items()}
    client.hset(meta, mapping={"settings": orjson.dumps(aged), "incarnation": "of-another-process:1"})
    store.note_settings("old", "one", b"{}", 60)
    age = store.seconds_since_noted(["old"])
    assert age is not None
    assert age >= 7200.0


def test_noted_settings_are_bounded_and_survive_damage(redis_url: str) -> None:
    stream = Stream("", Topics("", "", "", ""), redis_url)
    client, store = stream.redis(), RedisStore(stream.redis())
    meta = "questream:{shop}:meta"
    assert store.note_settings("shop", "one", as_noted({"a": 1}), 60) == []
    # No namespace is begun by that.
    assert not client.exists(meta)
    client.hset(meta, "model", "m")
    for number in range(40):
        store.note_settings("shop", f"w{number}", as_noted({"a": number}), 60)
    others = store.note_settings("shop", "", b"", 60)
    assert len(others) == 15
    assert differences_of({"a": 39}, others[:1]) in ([], ["a: 39 here, 38 in worker w38"])
    for damage in (b"", b"[1]", b"not json", b'{"x": 1, "y": ["z"]}'):
        client.hset(meta, "settings", damage)
        assert store.note_settings("shop", "one", as_noted({"a": 1}), 60) == []


def test_a_setting_that_only_another_release_knows_is_no_difference() -> None:
    others = [("later", as_noted({"a": 1, "new": 2}))]
    assert differences_of({"a": 1, "old": 3}, others) == []
