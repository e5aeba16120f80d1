"""The broker and the store killed (-9) and started again under load."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.fault.test_crash import text
from tests.kit.servers import KafkaServer, RedisServer, Topics, create_topics
from tests.kit.stream import (
    Stream,
    Supervisor,
    assert_one_decision_each,
    assert_repetitions_agree,
    assert_sizes_have_no_gap,
    live_sizes,
    members,
    question,
    wait_until,
)

QUESTIONS = 3000
OPTIONS = {"batch_questions": 32, "kafka.transaction_timeout_seconds": 5, "kafka.session_timeout_seconds": 6}


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_broker_killed_under_load_and_started_again_costs_no_question(
    breakable_kafka: KafkaServer, redis_url: str, supervise: Callable[..., Supervisor], delivery: str
) -> None:
    kafka = breakable_kafka
    topics = create_topics(kafka.bootstrap_servers, 2)
    stream = Stream(kafka.bootstrap_servers, topics, redis_url, {**OPTIONS, "delivery": delivery})
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    with stream.decisions() as reader:
        supervise(stream)
        supervise(stream)
        reader.until(QUESTIONS // 10)
        kafka.kill()
        time.sleep(1)
        kafka.start()
    with stream.decisions() as reader:
        wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS, "all offsets are committed", 60)
        decisions = reader.values()
    if delivery == "at-least-once":
        decisions = assert_repetitions_agree(decisions)
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS)))
    assert_sizes_have_no_gap(decisions)
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS


def test_a_redis_killed_under_load_and_started_again_costs_no_question(
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_factory: Callable[..., RedisServer],
    supervise: Callable[..., Supervisor],
) -> None:
    server = redis_factory(appendfsync="always")
    stream = Stream(kafka.bootstrap_servers, topics(2), server.url, OPTIONS)
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    with stream.decisions() as reader:
        supervisors = [supervise(stream), supervise(stream)]
        for part in (1, 2, 3):
            reader.until(QUESTIONS * part // 10)
            server.kill()
            time.sleep(0.5)
            server.start()
        reader.until(QUESTIONS)
        wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS, "all offsets are committed")
        decisions = reader.values()
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS)))
    assert_sizes_have_no_gap(decisions)
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS
    assert all(supervisor.restarts == 0 and supervisor.worker.running for supervisor in supervisors)
    wait_until(lambda: len(members(stream)) == 2, "both workers are still there")
