"""Workers that end, crash and freeze in any order while questions keep coming."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from random import Random

import pytest

from tests.fault.test_crash import text
from tests.kit.stream import (
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    assert_repetitions_agree,
    assert_sizes_have_no_gap,
    live_sizes,
    question,
    wait_until,
)

OPTIONS = {"batch_questions": 32, "kafka.transaction_timeout_seconds": 3, "kafka.session_timeout_seconds": 2}
ROUNDS, QUESTIONS_PER_ROUND = 8, 500


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_three_workers_in_disorder_cost_no_question(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess], delivery: str
) -> None:
    stream = make_stream(4, **OPTIONS, delivery=delivery)
    workers = [start_worker(stream) for _ in range(3)]
    random = Random(20)
    for number in range(ROUNDS):
        first = number * QUESTIONS_PER_ROUND
        stream.send(question(i, text(i)) for i in range(first, first + QUESTIONS_PER_ROUND))
        time.sleep(random.uniform(0.2, 1))
        trouble(random.choice(workers), random)
    count = ROUNDS * QUESTIONS_PER_ROUND
    wait_until(lambda: sum(stream.committed().values()) >= count, "all offsets are committed")
    with stream.decisions() as reader:
        decisions = reader.values()
    if delivery == "at-least-once":
        decisions = assert_repetitions_agree(decisions)
    assert_one_decision_each(decisions, (f"q{i}" for i in range(count)))
    assert_sizes_have_no_gap(decisions)
    assert sum(live_sizes(stream.store()).values()) == count


def trouble(worker: WorkerProcess, random: Random) -> None:
    """Kill it, stop it or freeze it for up to twice its session timeout; then it goes on, or another life begins."""
    deed = random.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP])
    if worker.running:
        worker.signal(deed)
    if deed == signal.SIGSTOP:
        time.sleep(random.uniform(0.5, 4))
        worker.signal(signal.SIGCONT)
        return
    worker.wait()
    worker.kill()
    worker.start()
