"""`questream events run` as a process of its own, which a test may kill, and decisions for it to look at."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from questream.domain import Decision, Question, Record, Source
from questream.records import encode_decision
from tests.kit.child import ChildProcess, own_environment
from tests.kit.forked import start_module
from tests.kit.stream import Message, Stream, metric_values, wait_until

Asked = tuple[int, str]


def decided(stream: Sequence[Asked], *, before: Iterable[Asked] = (), key: str = "asker") -> list[Message]:
    """Records of the output topic: time and cluster of each question, each with a key of its own.

    The clusters of `before` are not created by them.
    """
    seen = {cluster for _, cluster in before}
    made = []
    for number, (time, cluster) in enumerate(stream):
        record = Record(Source("questions", 0, number, time), None, b"")
        decision = Decision(
            cluster_id=int(cluster[1:]),
            similarity=1.0,
            outcome="joined" if cluster in seen else "created",
            cluster_size=1,
            runner_up=None,
            label=None,
            route=None,
            model="model",
            threshold=0.7,
            truncated=False,
            decided_at=time + 200,
        )
        seen.add(cluster)
        question = Question(f"q{number}", "Why?", "acme", record)
        made.append(Message(encode_decision(question, decision), f"{key} {number}".encode()))
    return made


def create_event_topic(stream: Stream) -> None:
    """Create the topic of events, as `questream topics create` does."""
    with closing(KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)) as admin:
        admin.create_topics([NewTopic(stream.topics.event_topic, 1, -1)], wait_for_metadata=True)


class WatcherProcess(ChildProcess):
    """A process that publishes events; `fault` as in tests/kit/worker_process.py. Killed at the end of the block."""

    process = "Watcher"

    def __init__(self, stream: Stream, folder: Path, name: str, **settings: Any) -> None:
        super().__init__()
        self.log = folder / f"{name}.log"
        self._settings = stream.overrides(kafka__worker_id=name, **settings)
        self._port_file = folder / f"{name}.port"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, fault: str | None = None) -> None:
        """Start it, for the first time or again."""
        self._port_file.unlink(missing_ok=True)
        arguments = {
            "process": self.process,
            "settings": self._settings,
            "port_file": str(self._port_file),
            "fault": fault,
        }
        with self.log.open("ab") as output:
            self._process = start_module(
                "tests.kit.watcher_process", [json.dumps(arguments)], own_environment(), output
            )

    def wait(self, seconds: float = 40.0) -> int:
        """Its exit code; a signal's number is negative."""
        assert self._process is not None
        return self._process.wait(seconds)

    def metrics(self) -> dict[str, float]:
        """The samples of its metrics page."""
        return metric_values(self.port)

    def ready(self) -> tuple[int, str]:
        """What `/readyz` answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def wait_until_publishing(self) -> None:
        """Until it publishes events."""
        wait_until(lambda: self.ready() == (200, "ok\n"), f"{self.log.name} publishes events")

    @property
    def port(self) -> int:
        """The port of its metrics page; waits for it."""
        wait_until(self._port_file.exists, f"{self.log.name} serves its metrics:\n{self.log.read_text()[-2000:]}")
        return int(self._port_file.read_text())


class DeliveryProcess(WatcherProcess):
    """A process that delivers the events of the event topic to a receiver of webhooks."""

    process = "Delivery"
