"""Servers that are far away: every answer takes long, and nothing else is wrong."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from questream.settings import Settings
from tests.servers import KafkaServer, Link, RedisServer, create_topics
from tests.servers.process import LOOPBACK, free_port
from tests.stream import (
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

QUESTIONS = 1500
# What users have who set nothing: with these, a slow server must not look like a broken one.
DEFAULTS = Settings()
DEFAULT_WAITS = {
    "kafka.session_timeout_seconds": DEFAULTS.kafka.session_timeout_seconds,
    "kafka.transaction_timeout_seconds": DEFAULTS.kafka.transaction_timeout_seconds,
    "kafka.call_deadline_seconds": DEFAULTS.kafka.call_deadline_seconds,
    "redis.timeout_seconds": DEFAULTS.redis.timeout_seconds,
}


@pytest.mark.parametrize("round_trip_seconds", [0.05, 0.5])
def test_a_far_redis_slows_a_worker_down_and_nothing_else(
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
    redis_server: RedisServer,
    round_trip_seconds: float,
) -> None:
    near = make_stream(2, **DEFAULT_WAITS)
    with Link(redis_server.port) as link:
        far = replace(near, redis_url=f"redis://{LOOPBACK}:{link.port}{urlsplit(near.redis_url).path}")
        worker = start_worker(far)
        wait_until(lambda: probe(worker.port, "readyz")[0] == 200, "the worker is ready")
        link.delay(round_trip_seconds / 2)
        through(far, worker)
        assert round_trip_of(far) >= round_trip_seconds
    assert sum(live_sizes(near.store()).values()) == QUESTIONS


def test_a_far_kafka_slows_a_worker_down_and_nothing_else(
    kafka_factory: Callable[..., KafkaServer],
    redis_url: str,
    start_worker: Callable[..., WorkerProcess],
) -> None:
    with Link(free_port()) as link:
        kafka = kafka_factory(links=[link])
        topics = create_topics(kafka.bootstrap_servers, 2)
        near = Stream(kafka.bootstrap_servers, topics, redis_url, DEFAULT_WAITS)
        far = replace(near, bootstrap_servers=f"{LOOPBACK}:{link.port}")
        worker = start_worker(far)
        wait_until(lambda: probe(worker.port, "readyz")[0] == 200, "the worker is ready")
        link.delay(0.025)
        through(near, worker)


def through(stream: Stream, worker: WorkerProcess) -> None:
    """Have the worker decide all questions, and see that it is well all the time."""
    stream.send(question(i, f"topic{i % 150} topic{i % 150} variant{i}") for i in range(QUESTIONS))
    began = time.monotonic()
    troubles: set[tuple[int, str]] = set()
    with stream.decisions() as reader:
        while len(reader.records) < QUESTIONS:
            reader.poll()
            troubles |= {probe(worker.port, "livez"), probe(worker.port, "readyz")}
            late = time.monotonic() - began > 2 * WAIT_SECONDS
            assert not late, f"{len(reader.records)} of {QUESTIONS}\n{worker.end_of_log()}"
        seconds = time.monotonic() - began
        wait_until(lambda: sum(stream.committed().values()) == QUESTIONS, "all offsets are committed")
        decisions = reader.values()
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS)))
    assert_sizes_have_no_gap(decisions)
    seen = metric_values(worker.port)
    assert troubles == {(200, "ok")}
    assert (seen["questream_kafka_sessions_total"], seen["questream_dropped_total"]) == (1, 0)
    assert worker.log.read_text().count("partitions assigned") == 1, "the group rebalanced"
    assert "does not answer" not in worker.log.read_text()
    print(f"{QUESTIONS / seconds:.0f} questions a second")  # noqa: T201 - shown by pytest -s


def round_trip_of(stream: Stream) -> float:
    """How long the store takes to answer."""
    with stream.redis() as client:
        client.ping()
        began = time.monotonic()
        client.ping()
        return time.monotonic() - began
