"""Partitions that change hands while a worker is loaded."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
from kafka import KafkaAdminClient

from questream.stream import intake
from tests.kit.stream import (
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    assert_repetitions_agree,
    live_sizes,
    question,
    running_worker,
    wait_until,
)
from tests.kit.vectors import hash_encoder, question_of

QUESTIONS = 6000


@pytest.mark.parametrize(
    ("delivery", "clients"),
    [
        pytest.param("exactly-once", ["kafka-python"], id="exactly-once"),
        pytest.param("at-least-once", ["kafka-python"], id="at-least-once"),
        pytest.param("exactly-once", ["confluent", "kafka-python"], id="exactly-once-with-both-clients"),
        pytest.param("at-least-once", ["confluent"], id="at-least-once-confluent"),
    ],
)
def test_workers_that_join_and_leave_in_mid_batch_cost_no_question(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], delivery: str, clients: list[str]
) -> None:
    stream = make_stream(4, **{"batch_questions": 64, "delivery": delivery})
    turns = itertools.cycle(clients)

    def start() -> WorkerProcess:
        return start_worker(replace(stream, options={**stream.options, "kafka.client": next(turns)}))

    stream.send(question(i, question_of(i % 40, i, repeats=2)) for i in range(QUESTIONS))
    with stream.decisions() as reader:
        start()
        reader.until(300)
        second = start()
        reader.until(QUESTIONS // 3)
        third = start()
        reader.until(QUESTIONS // 2)
        second.kill()
        third.kill()
        wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS, "all offsets are committed")
        decisions = reader.values()
    if delivery == "at-least-once":
        decisions = assert_repetitions_agree(decisions)
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS)))
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS


def test_partitions_added_to_the_input_topic_are_read_although_the_join_outlasts_many_polls(
    make_stream: Callable[..., Stream], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without help kafka-python forgets a join that new metadata began and that a poll cut short."""
    monkeypatch.setattr(intake, "_POLL_SECONDS", 0.001)
    stream = make_stream(1, **{"kafka.options": {"metadata_max_age_ms": 500}})
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        stream.send([question(0, "first partition", partition=0)])
        reader.until(1)
        admin = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
        admin.create_partitions({stream.topics.input_topic: 2})
        admin.close()
        stream.send([question(1, "second partition", partition=1)])
        assert_one_decision_each(reader.values(2), ["q0", "q1"])
