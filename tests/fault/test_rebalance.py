"""Partitions that change hands while a worker is loaded."""

from __future__ import annotations

from collections.abc import Callable

from tests.stream import (
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    live_sizes,
    question,
    wait_until,
)

QUESTIONS = 6000


def test_workers_that_join_and_leave_in_mid_batch_cost_no_question(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(4, **{"batch_questions": 64})
    stream.send(question(i, f"topic{i % 40} topic{i % 40} variant{i}") for i in range(QUESTIONS))
    with stream.decisions() as reader:
        start_worker(stream)
        reader.until(300)
        second = start_worker(stream)
        reader.until(QUESTIONS // 3)
        third = start_worker(stream)
        reader.until(QUESTIONS // 2)
        second.kill()
        third.kill()
        reader.until(QUESTIONS)
        decisions = reader.values()
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS)))
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS
    wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS, "all offsets are committed")
