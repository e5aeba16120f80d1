"""Records name namespaces that are new: so many begin as the settings let, and what is beyond them is a dead letter."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest
from kafka import KafkaProducer

from tests.integration.test_refused_namespaces import TENANT, asked, reasons
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import (
    Stream,
    assert_one_decision_each,
    members,
    metric_values,
    question,
    running_worker,
    wait_until,
)
from tests.kit.vectors import hash_encoder


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    return Stream(kafka.bootstrap_servers, topics(), redis_url, {"input.namespace_header": TENANT})


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        # The worker's own namespace is the third.
        ({"namespaces__max": 3}, "too_many_namespaces"),
        ({"namespaces__per_minute": 2}, "too_many_new_namespaces"),
        ({"namespaces__allow": ["acme", "ba*"]}, "namespace_not_allowed"),
    ],
)
def test_namespaces_beyond_a_limit_are_dead_letters_and_those_that_are_there_go_on(
    stream: Stream, limits: dict[str, Any], reason: str
) -> None:
    with running_worker(stream.settings(**limits), hash_encoder()):
        stream.send([asked(1, "acme"), asked(2, "bank")])
        with stream.decisions() as reader:
            reader.until(2)
        stream.send([asked(3, "cave"), asked(4, "acme"), asked(5, "dove"), asked(6, "default"), asked(7, "cave")])
        with stream.decisions() as reader, stream.dead_letters() as dead:
            assert_one_decision_each(reader.values(4), ["q1", "q2", "q4", "q6"])
            assert reasons(dead.until(3)) == [(key, "recall", reason) for key in (b"q3", b"q5", b"q7")]
        wait_until(lambda: stream.committed() == {0: 7}, "the offsets are past them")
    # Another worker finds those that are there, whatever its limits are.
    with running_worker(stream.settings(namespaces__max=1), hash_encoder()):
        stream.send([asked(8, "bank"), asked(9, "dove")])
        with stream.decisions() as reader, stream.dead_letters() as dead:
            assert_one_decision_each(reader.values(5), ["q1", "q2", "q4", "q6", "q8"])
            assert reasons(dead.until(4))[-1] == (b"q9", "recall", "too_many_namespaces")


def test_namespaces_that_redis_forgot_are_not_new(stream: Stream) -> None:
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        stream.send([asked(1, "acme"), asked(2, "bank")])
        before = {value["question_id"]: value["cluster_id"] for value in reader.values(2)}
    with stream.redis() as client:
        client.flushdb()
    with running_worker(stream.settings(namespaces__max=1), hash_encoder()), stream.decisions() as reader:
        stream.send([asked(1, "acme"), asked(2, "bank")])
        values = reader.values(4)
    assert {value["question_id"]: value["cluster_id"] for value in values[2:]} == before
    assert {value["outcome"] for value in values[2:]} == {"joined"}


def test_a_batch_of_new_namespaces_is_decided_and_told(stream: Stream) -> None:
    messages = [asked(number, f"tenant-{number}") for number in range(300)]
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        stream.send(messages)
        values = reader.values(300)
        assert_one_decision_each(values, [f"q{number}" for number in range(300)])
        assert {value["cluster_id"] for value in values} == {"c1"}


def test_workers_that_let_namespaces_begin_at_once_keep_to_the_limit_together(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(4), redis_url, {"input.namespace_header": TENANT})
    messages = [
        question(number, "where is my card?", headers=[(TENANT, b"tenant-%d" % number)], partition=number % 4)
        for number in range(40)
    ]
    with ExitStack() as workers:
        for _ in range(4):
            workers.enter_context(running_worker(stream.settings(namespaces__max=10), hash_encoder()))
        wait_until(lambda: sorted(members(stream).values()) == [1, 1, 1, 1], "each worker has a partition")
        stream.send(messages)
        wait_until(lambda: sum(stream.committed().values()) == 40, "all records are decided or dead letters")
    # The workers' own namespace is one of the ten.
    assert len(stream.store().namespaces()) == 10
    with stream.decisions() as reader, stream.dead_letters() as dead:
        assert len(reader.values()) == 9
        assert {reason for _, _, reason in reasons(dead.rest())} == {"too_many_namespaces"}


def test_a_worker_stays_in_its_group_while_it_looks_for_a_new_namespace_in_the_cluster_topic(stream: Stream) -> None:
    # What is read there ends before an open transaction, as it does late in a topic of millions of states.
    other = KafkaProducer(
        bootstrap_servers=stream.bootstrap_servers,
        transactional_id=f"{stream.group_id}-other",
        transaction_timeout_ms=60_000,
    )
    settings = stream.settings(kafka__max_poll_interval_seconds=4, kafka__transaction_timeout_seconds=40)
    with running_worker(settings, hash_encoder()) as worker, stream.decisions() as reader:
        stream.send([asked(1, "acme")])
        reader.until(1)
        before = members(stream)
        other.init_transactions()
        other.begin_transaction()
        other.send(stream.topics.cluster_topic, key=b"another", value=b"{}").get(timeout=10)
        stream.send([asked(2, "bank")])
        ends = time.monotonic() + 12
        while time.monotonic() < ends:
            assert worker.condition.live() is None
            assert members(stream) == before
            time.sleep(0.5)
        assert len(reader.rest()) == 1
        other.commit_transaction()
        other.close(timeout=5)
        assert_one_decision_each(reader.values(2), ["q1", "q2"])
        assert metric_values(worker.metrics_port)["questream_kafka_sessions_total"] == 1
