"""What the fault tests share: a stream on shared servers, and workers as processes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, Supervisor, WorkerProcess


@pytest.fixture
def make_stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Callable[..., Stream]:
    """`make_stream(partitions=1, **{dotted key: value})`: a stream on the shared servers."""

    def make(partitions: int = 1, **options: Any) -> Stream:
        return Stream(kafka.bootstrap_servers, topics(partitions), redis_url, options)

    return make


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[Callable[..., WorkerProcess]]:
    """`start_worker(stream, **options)` starts a process; all are killed at the end."""
    with ExitStack() as started:

        def start(stream: Stream, **options: Any) -> WorkerProcess:
            return started.enter_context(WorkerProcess(tmp_path, stream.overrides(), **options))

        yield start


@pytest.fixture
def supervise(tmp_path: Path) -> Iterator[Callable[..., Supervisor]]:
    """As `start_worker`, with a supervisor that starts it again when it gives up a stuck call."""
    with ExitStack() as started:

        def start(stream: Stream, **options: Any) -> Supervisor:
            return started.enter_context(Supervisor(WorkerProcess(tmp_path, stream.overrides(), **options)))

        yield start
