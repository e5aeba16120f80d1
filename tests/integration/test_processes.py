"""`questream run` with `model.processes`: workers around one model, and what the end of each process means."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from questream.encoder.sharing.exchange import Exchange
from questream.encoder.sharing.owner import ModelOwner
from questream.encoder.sharing.remote import Channel, portable
from questream.errors import ExitCode
from tests.kit.command import questream
from tests.kit.running import RunningWorker
from tests.kit.servers import KafkaServer, RedisServer, Topics
from tests.kit.stream import Stream, assert_one_decision_each, members, question, real_questions, wait_until

if TYPE_CHECKING:
    from questream.encoder import Encoder

QUESTIONS = 600
PIDS = re.compile(r'worker processes started.*"pids": (\[[\d, ]+\])')
ASSIGNED = re.compile(r"partitions assigned.*\n(.*\n)*.*partitions assigned")


@pytest.fixture
def start(minilm: Path) -> Iterator[Callable[[Stream], RunningWorker]]:
    """Starts two workers around one model on a stream; what a test leaves running is killed."""
    started: list[RunningWorker] = []

    def run(stream: Stream) -> RunningWorker:
        flags = [f"--{key}={value}" for key, value in stream.overrides(batch_questions=16).items()]
        started.append(RunningWorker("--model.processes=2", f"--model.name={minilm}", *flags))
        return started[-1]

    yield run
    for worker in started:
        worker.kill()


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    return Stream(kafka.bootstrap_servers, topics(4), redis_url)


def pids_of(running: RunningWorker) -> list[int]:
    """The process ids of the workers, once they have the model."""
    found: list[int] = json.loads(running.wait_for(PIDS)[1])
    return found


def send_questions(stream: Stream) -> list[str]:
    """Send real questions; their ids."""
    stream.send(question(at, text, partition=at % 4) for at, text in enumerate(real_questions(QUESTIONS)))
    return [f"q{at}" for at in range(QUESTIONS)]


def test_two_workers_around_one_model_decide_each_question_once(
    start: Callable[[Stream], RunningWorker], stream: Stream
) -> None:
    running = start(stream)
    pids = pids_of(running)
    wait_until(lambda: sorted(members(stream).values()) == [2, 2], "each worker has its share")
    ids = send_questions(stream)
    with stream.decisions() as decisions:
        decisions.until(len(ids))
        # As a service manager does it: all of them are told, and the workers twice.
        for pid in [*pids, running.process.pid]:
            os.kill(pid, signal.SIGTERM)
        assert running.end() == ExitCode.OK, running.said
        assert_one_decision_each(decisions.values(), ids)
    assert running.said.count("worker stopped") == 2


@pytest.mark.parametrize("victim", ["worker", "owner"])
def test_after_a_kill_all_end_and_each_question_is_decided_once(
    start: Callable[[Stream], RunningWorker], stream: Stream, victim: str
) -> None:
    running = start(stream)
    pid, _ = pids_of(running)
    ids = send_questions(stream)
    with stream.decisions() as decisions:
        decisions.until(32)
        os.kill(pid if victim == "worker" else running.process.pid, signal.SIGKILL)
        # It returns only when no process holds stderr any more.
        code = running.end()
        assert len(decisions.rest()) < len(ids)
        if victim == "worker":
            assert code == 128 + signal.SIGKILL
            assert "a worker process failed, which ends all" in running.said
        else:
            assert code == -signal.SIGKILL
            assert running.said.count("questream: the process that has the model has ended") == 2
        start(stream)
        decisions.until(len(ids))
        time.sleep(1)
        assert_one_decision_each(decisions.values(), ids)


def test_a_second_signal_ends_all_at_once(
    start: Callable[[Stream], RunningWorker],
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_factory: Callable[..., RedisServer],
) -> None:
    redis = redis_factory()
    stream = Stream(
        kafka.bootstrap_servers, topics(2), redis.url, {"shutdown_seconds": 600, "redis.timeout_seconds": 30}
    )
    running = start(stream)
    running.wait_for(ASSIGNED)
    wait_until(lambda: sorted(members(stream).values()) == [1, 1], "each worker has its share")
    with stream.decisions() as decisions:
        stream.send([question(at, "Where is my card?", partition=at) for at in range(2)])
        decisions.until(2)
    read = running.consumed
    redis.pause()
    stream.send([question(at, "Where is my money?", partition=at - 2) for at in range(2, 4)])
    wait_until(lambda: running.consumed == read + 2, "batches are in hand that cannot be finished: the store hangs")
    running.signal(signal.SIGINT)
    time.sleep(1)
    assert running.process.poll() is None
    running.signal(signal.SIGINT)
    assert running.end() == ExitCode.INTERRUPTED


def test_a_model_that_is_not_there_is_told_once(stream: Stream, tmp_path: Path) -> None:
    flags = [f"--{key}={value}" for key, value in stream.overrides().items()]
    running = RunningWorker("--model.processes=2", f"--model.name={tmp_path}", *flags)
    assert running.end() == ExitCode.MODEL
    assert running.said.count("questream: ") == 1, running.said
    running.kill()


def test_a_port_that_is_taken_is_told_before_the_model_is_loaded(stream: Stream, minilm: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = [f"--{key}={value}" for key, value in stream.overrides(metrics__port=port).items()]
        running = RunningWorker("--model.processes=2", f"--model.name={minilm}", *flags)
        assert running.end() == ExitCode.USAGE
    assert "metrics.port" in running.said
    assert "model " not in running.said
    running.kill()


def test_vectors_are_bit_for_bit_those_of_a_worker_that_has_the_model(encoder: Encoder) -> None:
    ours, theirs = Pipe()
    exchange = Exchange.create(256, 16_384, encoder.dimension)
    owner = ModelOwner([encoder])
    owner.admit(ours, exchange)
    texts = real_questions(250)
    found: list[bool] = []

    def embed() -> None:
        remote = Channel(theirs, exchange).encoder(0, portable(encoder))
        found.append(np.array_equal(remote.encode(texts), encoder.encode(texts)))

    asking = threading.Thread(target=embed)
    asking.start()
    owner.receive(ours)
    owner.embed_next()
    asking.join()
    owner.close()
    assert found == [True]


def test_a_setting_of_processes_reaches_the_command() -> None:
    refused = questream("run", "--model.processes=0")
    assert refused.code == ExitCode.USAGE
    assert "model.processes" in refused.err
