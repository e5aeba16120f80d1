"""Stopping a worker: the batch in hand is finished, and a second signal, which does not wait for it, is as safe."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import (
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    live_sizes,
    members,
    question,
    wait_until,
)
from tests.kit.worker_process import HANGS

QUESTIONS = 3000


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    """A stream with work for some seconds."""
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url, {"batch_questions": 32})
    stream.send(question(i, f"how to {i % 9} card{i % 9} bank{i % 9} {i}") for i in range(QUESTIONS))
    return stream


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_sigterm_finishes_the_batch_in_hand_and_leaves(stream: Stream, tmp_path: Path, delivery: str) -> None:
    stream.options["delivery"] = delivery
    with WorkerProcess(tmp_path, stream.overrides()) as worker, stream.decisions() as reader:
        reader.until(100)
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.end_of_log()
        published = len(reader.rest())
        assert 100 <= published < QUESTIONS
        assert sum(stream.committed().values()) == published
        assert sum(live_sizes(stream.store()).values()) == published
        assert members(stream) == {}


def test_a_second_signal_ends_at_once_and_loses_nothing(stream: Stream, tmp_path: Path) -> None:
    frozen_publish = "publish-batch:before:2:HANG"
    with WorkerProcess(tmp_path, stream.overrides(), fault=frozen_publish) as worker, stream.decisions() as reader:
        reader.until(1)
        wait_until(lambda: HANGS in worker.log.read_text(errors="replace"), "the worker hangs")
        worker.signal(signal.SIGTERM)
        with pytest.raises(AssertionError, match="did not end"):
            worker.wait(1)
        worker.signal(signal.SIGTERM)
        assert worker.wait(5) != 0
        assert sum(live_sizes(stream.store()).values()) > len(reader.rest())
        worker.kill()
        worker.start()
        assert_one_decision_each(reader.values(QUESTIONS), [f"q{i}" for i in range(QUESTIONS)])
    assert sum(live_sizes(stream.store()).values()) == QUESTIONS
