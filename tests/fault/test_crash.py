"""Workers killed at the worst moments, and the one that takes over."""

from __future__ import annotations

import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from questream.domain import Decision, format_cluster_id
from questream.errors import ExitCode
from questream.store.redis.store import RedisStore
from tests.kit.stream import (
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    assert_repetitions_agree,
    assert_sizes_have_no_gap,
    live_sizes,
    question,
    real_questions,
    wait_until,
)
from tests.kit.vectors import question_of
from tests.kit.worker_process import POINTS

QUESTIONS = 400
TOPICS = 12
# Slow enough for its first batches to be on their way when it is killed, quick enough to wait for its transaction.
OPTIONS = {"batch_questions": 32, "kafka.transaction_timeout_seconds": 3, "kafka.session_timeout_seconds": 2}


def text(number: int) -> str:
    """A question of one of `TOPICS` topics, near to all of its own and to none of another."""
    return question_of(number % TOPICS, number)


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("commit:before:3:KILL", id="before_redis_and_kafka"),
        pytest.param("commit:after:3:KILL", id="after_redis_and_before_kafka"),
        pytest.param("commit-transaction:before:3:KILL", id="with_the_transaction_open"),
        pytest.param("commit-transaction:after:3:KILL", id="after_kafka_and_before_redis_is_told"),
    ],
)
def test_a_worker_killed_between_commits_leaves_one_decision_for_each_question(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], fault: str, client: str
) -> None:
    stream = make_stream(2, **OPTIONS, **{"kafka.client": client})
    places = stream.send(question(i, text(i)) for i in range(QUESTIONS))
    first = start_worker(stream, fault=fault)
    assert first.wait() == -signal.SIGKILL
    recorded = recorded_decisions(stream)
    assert recorded
    start_worker(stream)
    with stream.decisions() as reader:
        reader.until(QUESTIONS)
        wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS, "all offsets are committed")
        decisions = reader.values()
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS)))
    assert_published_as_recorded(decisions, recorded)
    assert_sizes_have_no_gap(decisions)
    assert len(live_sizes(stream.store())) == TOPICS
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS
    assert {(d["source"]["partition"], d["source"]["offset"]) for d in decisions} == set(places)


def test_a_worker_with_a_real_model_killed_after_redis_committed_leaves_one_decision_for_each_question(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], minilm: Path
) -> None:
    stream = make_stream(2, **OPTIONS)
    texts = real_questions(300)
    stream.send(question(i, text) for i, text in enumerate(texts))
    first = start_worker(stream, model=minilm, fault="commit:after:3:KILL")
    wait_until(first.has_started, "the model is loaded")
    assert first.wait() == -signal.SIGKILL
    recorded = recorded_decisions(stream)
    second = start_worker(stream, model=minilm)
    wait_until(second.has_started, "the model is loaded again")
    with stream.decisions() as reader:
        reader.until(len(texts))
        wait_until(lambda: sum(stream.committed().values()) >= len(texts), "all offsets are committed")
        decisions = reader.values()
    assert_one_decision_each(decisions, (f"q{i}" for i in range(len(texts))))
    assert_published_as_recorded(decisions, recorded)
    store = stream.store()
    assert sum(live_sizes(store).values()) == len(texts)
    for decision in decisions:
        state = store.cluster("default", int(decision["cluster_id"][1:]))
        assert state is not None
        assert (state.merged_into is None) == (decision["cluster_id"] in live_sizes(store))


def test_states_that_a_killed_worker_did_not_publish_are_published_by_another(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    streams = {
        delivery: make_stream(1, **OPTIONS, **{"delivery": delivery, "clusters.namespace": delivery})
        for delivery in ("exactly-once", "at-least-once")
    }
    for stream in streams.values():
        stream.send(question(i, text(i)) for i in range(TOPICS))
        assert start_worker(stream, fault="commit:after:1:KILL").wait() == -signal.SIGKILL
        start_worker(stream)
    client = next(iter(streams.values())).redis()
    for namespace, stream in streams.items():
        outbox = f"questream:{{{namespace}}}:outbox"
        wait_until(partial(lambda key: not client.zcard(key), outbox), "every state is published")
        with stream.cluster_states() as reader:
            told = {value["cluster_id"]: value for value in reader.values() if value["event"] != "levels"}
        assert told.pop(None)["mean"]["questions"] == TOPICS
        assert {name: value["size"] for name, value in told.items()} == live_sizes(stream.store(), namespace)


@pytest.mark.parametrize("fault", ["publish-at-least-once:before:3:KILL", "publish-at-least-once:after:3:KILL"])
def test_at_least_once_repeats_decisions_and_never_changes_one(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], fault: str
) -> None:
    stream = make_stream(2, **OPTIONS, delivery="at-least-once")
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    assert start_worker(stream, fault=fault).wait() == -signal.SIGKILL
    start_worker(stream)
    wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS, "all offsets are committed")
    with stream.decisions() as reader:
        decisions = reader.values()
    decided = assert_repetitions_agree(decisions)
    assert_one_decision_each(decided, (f"q{i}" for i in range(QUESTIONS)))
    assert_sizes_have_no_gap(decided)
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS


def test_at_least_once_keeps_decisions_for_as_long_as_their_offsets_are_not_committed(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    """The worker publishes three batches and is killed before Kafka hears of the first one's offsets.

    Its first commit is none of a batch: it says where the group begins.
    """
    stream = make_stream(1, **OPTIONS, delivery="at-least-once")
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    worker = start_worker(stream, fault="commit-offsets:before:2:HANG,publish-at-least-once:after:3:KILL")
    assert worker.wait() == -signal.SIGKILL
    assert stream.committed() == {0: 0}
    start_worker(stream)
    wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS, "all offsets are committed")
    with stream.decisions() as reader:
        decisions = reader.values()
    assert len(decisions) > QUESTIONS
    decided = assert_repetitions_agree(decisions)
    assert_one_decision_each(decided, (f"q{i}" for i in range(QUESTIONS)))
    assert_sizes_have_no_gap(decided)
    assert {decision["outcome"] for decision in decisions} == {"joined", "created"}


def test_a_call_to_kafka_that_never_returns_ends_the_process_and_costs_no_question(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(2, **OPTIONS, **{"kafka.call_deadline_seconds": 3})
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    worker = start_worker(stream, fault="commit-transaction:before:3:HANG")
    assert worker.wait() == ExitCode.STUCK
    assert "outlasted its deadline" in worker.end_of_log()
    # A deadline that a loaded machine keeps: no call hangs any more.
    worker.overrides["kafka.call_deadline_seconds"] = 12
    worker.start()
    with stream.decisions() as reader:
        assert_one_decision_each(reader.values(QUESTIONS), (f"q{i}" for i in range(QUESTIONS)))
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS


def test_every_fault_names_a_call_that_exists() -> None:
    for owner, method in POINTS.values():
        assert callable(getattr(owner, method))


def recorded_decisions(stream: Stream) -> dict[tuple[int, int], Decision]:
    """What the ledger holds, by partition and offset."""
    store: RedisStore = stream.store()
    topic = stream.topics.input_topic
    ledgers = {partition: store.ledger("default", topic, partition) for partition in range(2)}
    return {(p, offset): decision for p, ledger in ledgers.items() for offset, decision in ledger.decisions.items()}


def assert_published_as_recorded(decisions: list[dict[str, Any]], recorded: dict[tuple[int, int], Decision]) -> None:
    """Each recorded decision was published as it stands."""
    published = {(d["source"]["partition"], d["source"]["offset"]): d for d in decisions}
    for place, decision in recorded.items():
        value = published[place]
        assert value["cluster_id"] == format_cluster_id(decision.cluster_id or 0)
        assert (value["cluster_size"], value["outcome"]) == (decision.cluster_size, decision.outcome)
        assert value["similarity"] == decision.similarity
