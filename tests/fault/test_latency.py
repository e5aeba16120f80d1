"""Servers that are far away: every answer takes long, and nothing else is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from questream.settings import Settings
from tests.kit.servers import KafkaServer, Link, RedisServer, create_topics
from tests.kit.servers.process import LOOPBACK, free_port
from tests.kit.stream import (
    WAIT_SECONDS,
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    assert_sizes_have_no_gap,
    live_sizes,
    metric_values,
    probe,
    question,
    wait_until,
)
from tests.kit.vectors import question_of

QUESTIONS = 1200
# What users have who set nothing: with these, a slow server must not look like a broken one.
DEFAULTS = Settings()
DEFAULT_WAITS = {
    "kafka.session_timeout_seconds": DEFAULTS.kafka.session_timeout_seconds,
    "kafka.transaction_timeout_seconds": DEFAULTS.kafka.transaction_timeout_seconds,
    "kafka.call_deadline_seconds": DEFAULTS.kafka.call_deadline_seconds,
    "redis.timeout_seconds": DEFAULTS.redis.timeout_seconds,
    # Sizes are counted one by one, so nothing may merge.
    "clusters.merge_threshold": 1,
}


def test_a_redis_half_a_second_away_slows_a_worker_down_and_nothing_else(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], redis_server: RedisServer
) -> None:
    near = make_stream(2, **DEFAULT_WAITS)
    with Link(redis_server.port) as to_redis:
        far = replace(near, redis_url=through_link(near.redis_url, to_redis))
        worker = ready(start_worker(far))
        to_redis.delay(0.25)
        assert ping_seconds(far) >= 0.5
        take(far, worker)
    assert sum(live_sizes(near.store()).values()) == QUESTIONS


def test_a_kafka_and_a_redis_50_ms_away_slow_a_worker_down_and_nothing_else(
    kafka_factory: Callable[..., KafkaServer],
    redis_server: RedisServer,
    redis_url: str,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    with Link(free_port()) as to_kafka, Link(redis_server.port) as to_redis:
        kafka = kafka_factory(links=[to_kafka])
        near = Stream(kafka.bootstrap_servers, create_topics(kafka.bootstrap_servers, 2), redis_url, DEFAULT_WAITS)
        far = replace(
            near,
            bootstrap_servers=f"{LOOPBACK}:{to_kafka.port}",
            redis_url=through_link(near.redis_url, to_redis),
        )
        worker = ready(start_worker(far))
        to_kafka.delay(0.025)
        to_redis.delay(0.025)
        take(near, worker)
    assert sum(live_sizes(near.store()).values()) == QUESTIONS


def through_link(redis_url: str, link: Link) -> str:
    """The same database, at the end of a link."""
    return f"redis://{LOOPBACK}:{link.port}{urlsplit(redis_url).path}"


def ready(worker: WorkerProcess) -> WorkerProcess:
    """The worker, once it is ready."""
    wait_until(lambda: probe(worker.port, "readyz")[0] == 200, "the worker is ready")
    return worker


def take(stream: Stream, worker: WorkerProcess) -> None:
    """Have the worker decide all questions, and see that it is well all the time."""
    stream.send(question(i, question_of(i % 150, i, repeats=2)) for i in range(QUESTIONS))
    began = time.monotonic()
    troubles: set[tuple[int, str]] = set()
    # A member that joins before its client knows the topic's partitions joins once more: a start, no rebalance.
    assigned_at_start = 0
    with stream.decisions() as reader:
        while len(reader.records) < QUESTIONS:
            reader.poll()
            if reader.records and not assigned_at_start:
                assigned_at_start = times_assigned(worker)
            troubles |= {probe(worker.port, "livez"), probe(worker.port, "readyz")}
            late = time.monotonic() - began > 2 * WAIT_SECONDS
            assert not late, f"{len(reader.records)} of {QUESTIONS}\n{worker.end_of_log()}"
        wait_until(lambda: sum(stream.committed().values()) == QUESTIONS, "all offsets are committed")
        decisions = reader.values()
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS)))
    assert_sizes_have_no_gap(decisions)
    seen = metric_values(worker.port)
    assert troubles == {(200, "ok")}
    assert (seen["questream_kafka_sessions_total"], seen["questream_dropped_total"]) == (1, 0)
    assert times_assigned(worker) == assigned_at_start, "the group rebalanced"
    assert "does not answer" not in worker.log.read_text()


def times_assigned(worker: WorkerProcess) -> int:
    """How often the worker has told that it was given partitions."""
    return worker.log.read_text().count("partitions assigned")


def ping_seconds(stream: Stream) -> float:
    """How long the store takes to answer."""
    with stream.redis() as client:
        client.ping()
        began = time.monotonic()
        client.ping()
        return time.monotonic() - began
