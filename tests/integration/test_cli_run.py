"""`questream run` as a process: what signals do to it, and the servers of its own."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.errors import ExitCode
from questream.settings import RedisSettings
from questream.store.redis.client import connect_redis
from questream.store.redis.store import RedisStore
from tests.kit.child import own_environment
from tests.kit.command import questream
from tests.kit.running import STOP_SECONDS, RunningWorker
from tests.kit.servers import KafkaServer, RedisServer, Topics
from tests.kit.stream import Stream, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

ASSIGNED = re.compile(r"partitions assigned")
STARTED = re.compile(r"worker started")


@pytest.fixture
def start() -> Iterator[Callable[..., RunningWorker]]:
    """Starts workers; those that a test leaves running are killed."""
    workers: list[RunningWorker] = []

    def run(*flags: str) -> RunningWorker:
        workers.append(RunningWorker(*flags))
        return workers[-1]

    yield run
    for worker in workers:
        worker.kill()


def flags_of(kafka: KafkaServer, topics: Topics, redis_url: str, model: Path) -> list[str]:
    return [
        f"--kafka.bootstrap_servers={kafka.bootstrap_servers}",
        f"--kafka.group_id=group-{topics.input_topic}",
        *(f"--kafka.{name}={topic}" for name, topic in topics.settings().items()),
        f"--redis.url={redis_url}",
        f"--model.name={model}",
    ]


def test_a_signal_ends_the_worker_in_good_order(
    start: Callable[..., RunningWorker],
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_url: str,
    minilm: Path,
    tmp_path: Path,
) -> None:
    flags = flags_of(kafka, topics(), redis_url, minilm)
    worker = start(*flags)
    worker.wait_for(ASSIGNED)
    path = tmp_path / "questions.txt"
    path.write_text("Where is my secret card?\n")
    assert questream("produce", str(path), *flags).code == 0
    decided = questream("tail", "--from-beginning", "--max", "1", "--json", *flags)
    assert decided.json["outcome"] == "created"
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0, worker.said
    assert "worker stopped" in worker.said
    assert "secret card" not in worker.said


def test_a_second_signal_ends_the_worker_at_once(
    start: Callable[..., RunningWorker],
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_factory: Callable[..., RedisServer],
    minilm: Path,
    tmp_path: Path,
) -> None:
    redis = redis_factory()
    flags = flags_of(kafka, topics(), redis.url, minilm)
    worker = start(*flags, "--shutdown_seconds=600", "--redis.timeout_seconds=30")
    worker.wait_for(ASSIGNED)
    path = tmp_path / "questions.txt"
    path.write_text("Where is my card?\n")
    assert questream("produce", str(path), *flags).code == 0
    assert questream("tail", "--from-beginning", "--max", "1", *flags).code == 0
    redis.pause()
    assert questream("produce", str(path), *flags).code == 0
    wait_until(lambda: worker.consumed == 2, "a batch is in hand that cannot be finished: the store hangs")
    worker.signal(signal.SIGINT)
    time.sleep(1)
    assert worker.process.poll() is None
    worker.signal(signal.SIGINT)
    assert worker.process.wait(5) == ExitCode.INTERRUPTED


def test_a_signal_before_the_worker_has_begun_ends_it_at_once(
    start: Callable[..., RunningWorker], redis_url: str, minilm: Path, tmp_path: Path
) -> None:
    worker = start(f"--model.name={minilm}", f"--redis.url={redis_url}", "--kafka.bootstrap_servers=127.0.0.1:1")
    # Long enough for Python to be up, too short for the model.
    time.sleep(1.5)
    worker.signal(signal.SIGTERM)
    assert worker.process.wait(10) in (0, -signal.SIGTERM)


def test_a_wrong_setting_is_refused_before_anything_is_loaded(start: Callable[..., RunningWorker]) -> None:
    worker = start("--clusters.threshold=2")
    assert worker.end() == 2
    assert worker.said.startswith("questream: clusters.threshold")
    assert len(worker.said.splitlines()) == 1


@pytest.fixture
def _restored_signals() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("_restored_signals")
def test_a_namespace_of_another_model_is_refused(redis_url: str, minilm: Path) -> None:
    store = RedisStore(connect_redis(RedisSettings.model_validate({"url": redis_url})))
    QuestionClusterer(dimension=4, store=store).assign(np.eye(4, dtype=np.float32))
    # In this process, which has loaded torch already: it ends before it has touched Kafka.
    outcome = questream("run", f"--redis.url={redis_url}", f"--model.name={minilm}", "--metrics.port=0")
    assert outcome.code == ExitCode.REFUSED
    assert "was built with" in outcome.err.splitlines()[-1]


@pytest.mark.usefixtures("_restored_signals")
def test_a_metrics_port_that_is_taken_is_named(redis_url: str, minilm: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        outcome = questream(
            *("run", f"--redis.url={redis_url}", f"--model.name={minilm}"),
            *("--metrics.host=127.0.0.1", f"--metrics.port={port}"),
        )
    assert outcome.code == ExitCode.USAGE
    assert "metrics.port" in outcome.err.splitlines()[-1]


def test_embedded_servers_need_nothing_else(start: Callable[..., RunningWorker], tmp_path: Path) -> None:
    # Settings for servers of the user's own are not followed to them.
    config = tmp_path / "mine.toml"
    config.write_text(
        '[kafka]\nbootstrap_servers = "elsewhere:9092"\n[kafka.options]\nsecurity_protocol = "SSL"\n'
        '[redis]\nurl = "redis://elsewhere"\n'
    )
    worker = start("--embedded", "--config", str(config))
    bootstrap_servers = worker.wait_for(re.compile(r"--kafka\.bootstrap_servers=(\S+)"))[1]
    worker.wait_for(STARTED)
    path = tmp_path / "questions.txt"
    path.write_text("Where is my card?\nWhere's my card?\n")
    flag = f"--kafka.bootstrap_servers={bootstrap_servers}"
    assert questream("produce", str(path), flag).code == 0
    decided = questream("tail", "--from-beginning", "--max", "2", "--json", flag)
    assert {decision["outcome"] for decision in decided.json_lines} == {"created", "joined"}
    worker.signal(signal.SIGTERM)
    assert worker.end() == 0, worker.said


@pytest.mark.parametrize("streams", [">&- 2>&-", ">/dev/full 2>/dev/full", "2> >(exit 0)"])
def test_a_worker_whose_streams_are_closed_full_or_broken_decides_all_the_same(
    streams: str,
    kafka: KafkaServer,
    topics: Callable[..., Topics],
    redis_url: str,
    minilm: Path,
    tmp_path: Path,
) -> None:
    flags = flags_of(kafka, topics(), redis_url, minilm)
    worker = subprocess.Popen(
        [
            *("bash", "-c", f'exec "$@" {streams}', "bash", sys.executable, "-m", "questream", "run"),
            *("--metrics.port=0", "--metrics.host=127.0.0.1", "--log.level=debug", *flags),
        ],
        env=own_environment() | {"PYTHONIOENCODING": "ascii"},
    )
    try:
        path = tmp_path / "questions.txt"
        path.write_text("Where is my card 我?\n")
        assert questream("produce", str(path), *flags).code == 0
        assert questream("tail", "--from-beginning", "--max", "1", "--json", *flags).json["outcome"] == "created"
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(STOP_SECONDS) == 0
    finally:
        worker.kill()
        worker.wait()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_what_a_worker_decided_is_shown_in_every_encoding(
    encoding: str, kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(), redis_url)
    stream.send([question("q1", "Where is my card 我?")])
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as decisions:
        decisions.until(1)
    flags = [f"--{key}={value}" for key, value in stream.overrides().items()]
    for command in (["clusters", "list"], ["clusters", "export"], ["clusters", "export", "--format", "csv"]):
        # A process of its own: an encoding is chosen before the first line of the command runs.
        shown = subprocess.run(
            [sys.executable, "-m", "questream", *command, *flags],
            env=own_environment() | {"PYTHONIOENCODING": encoding},
            capture_output=True,
        )
        assert (shown.returncode, shown.stderr) == (0, b""), command
        assert shown.stdout.decode().replace("\\u6211", "我").count("我") == 1
