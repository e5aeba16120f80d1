"""A worker frozen past its session timeout, the one that takes over, and the first one's return."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.fault.test_crash import OPTIONS, assert_published_as_recorded, recorded_decisions, text
from tests.stream import (
    Stream,
    Supervisor,
    WorkerProcess,
    assert_one_decision_each,
    assert_sizes_have_no_gap,
    live_sizes,
    members,
    question,
    wait_until,
)

QUESTIONS = 400
MORE = 100


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("commit:before:3:STOP", id="before_redis_committed"),
        pytest.param("commit:after:3:STOP", id="after_redis_committed"),
        pytest.param("commit-transaction:before:3:STOP", id="with_the_transaction_open"),
    ],
)
def test_a_frozen_worker_returns_and_nothing_happens_twice(
    make_stream: Callable[..., Stream],
    start_worker: Callable[..., WorkerProcess],
    supervise: Callable[..., Supervisor],
    fault: str,
) -> None:
    stream = make_stream(2, **OPTIONS)
    stream.send(question(i, text(i)) for i in range(QUESTIONS))
    # A call to Kafka that was frozen for long may end the process; it is then started again.
    zombie = supervise(stream, fault=fault).worker
    wait_until(zombie.is_frozen, "the worker is frozen")
    recorded = recorded_decisions(stream)
    other = start_worker(stream)
    with stream.decisions() as reader:
        reader.until(QUESTIONS)
        zombie.signal(signal.SIGCONT)
        wait_until(lambda: members(stream) == {zombie.name: 1, other.name: 1}, "both share the partitions")
        stream.send(question(i, text(i)) for i in range(QUESTIONS, QUESTIONS + MORE))
        reader.until(QUESTIONS + MORE)
        wait_until(lambda: sum(stream.committed().values()) >= QUESTIONS + MORE, "all offsets are committed")
        decisions = reader.values()
    assert_one_decision_each(decisions, (f"q{i}" for i in range(QUESTIONS + MORE)))
    assert_published_as_recorded(decisions, recorded)
    assert_sizes_have_no_gap(decisions)
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS + MORE
