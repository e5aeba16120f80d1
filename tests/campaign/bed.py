"""What a round runs on: the broker, a store, workers that are kept alive, questions that go on, and a reader."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Self

from tests.campaign.kept import KeptWorker
from tests.campaign.stores import SentinelStore, SingleStore
from tests.campaign.traffic import NAMESPACES, Traffic
from tests.campaign.watch import Watch
from tests.servers import KafkaServer, Link, create_topics
from tests.stream import Stream, wait_until

if TYPE_CHECKING:
    from tests.campaign.schedule import Round

THRESHOLD = 0.6
MAX_POLL_INTERVAL_SECONDS = 30
DRAIN_SECONDS = 180.0
READY_SECONDS = 120.0


class Bed:
    """A context manager: up, with decisions in every partition, when it is entered.

    `paths` lead to the broker, one for each worker at least.
    """

    def __init__(self, folder: Path, kafka: KafkaServer, paths: list[Link], plan: Round) -> None:
        self.folder = folder
        self.kafka = kafka
        self.store = SingleStore(folder / "store", plan.workers) if plan.store == "single" else SentinelStore(folder)
        self.workers: list[KeptWorker] = []
        self._paths = paths
        self._plan = plan
        self._started = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._started.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def single(self) -> SingleStore:
        """The store of one server."""
        assert isinstance(self.store, SingleStore)
        return self.store

    @property
    def sentinel(self) -> SentinelStore:
        """The store that Sentinel watches."""
        assert isinstance(self.store, SentinelStore)
        return self.store

    def come_to_rest(self) -> None:
        """Wait until everything asked is decided and published; fails if that does not come."""
        wait_until(self._is_drained, "every offset is committed", DRAIN_SECONDS)
        wait_until(self._is_published, "every cluster's state is published", DRAIN_SECONDS)

    def _start(self) -> None:
        plan = self._plan
        self._started.enter_context(self.store)
        topics = create_topics(self.kafka.bootstrap_servers, plan.partitions)
        options = {
            "input.namespace_field": "namespace",
            "clusters.threshold": THRESHOLD,
            "clusters.log_entries": 1_000_000,
            # A broker that was killed can load a group without the session timers of its members: those that are gone
            # are waited for this long at the next rebalance (Kafka 4.1.1, one node).
            "kafka.max_poll_interval_seconds": MAX_POLL_INTERVAL_SECONDS,
            **plan.options,
        }
        self.stream = Stream(self.kafka.bootstrap_servers, topics, self.store.url, options)
        for number in range(plan.workers):
            overrides = self.stream.overrides() | self.store.overrides(number)
            path = self._paths[number]
            overrides["kafka.bootstrap_servers"] = f"127.0.0.1:{path.port}"
            worker = KeptWorker(self.folder, overrides, path, self.store.path_of(number))
            self.workers.append(self._started.enter_context(worker))
        self.watch = self._started.enter_context(Watch(self.stream))
        self.traffic = self._started.enter_context(
            Traffic(self.kafka.bootstrap_servers, topics.input_topic, plan.partitions, Random(plan.seed))
        )
        everywhere = dict.fromkeys(range(plan.partitions), 0)
        if self.watch.seconds_until_decided(everywhere, READY_SECONDS) is None:
            raise AssertionError(
                f"no decision in some partition before any fault:\n{self.workers[0].process.end_of_log()}"
            )

    def _is_drained(self) -> bool:
        committed, asked = self.stream.committed(), self.watch.asked()
        drained = all(committed.get(partition, 0) >= end for partition, end in asked.items())
        if not drained:
            time.sleep(0.2)
        return drained

    def _is_published(self) -> bool:
        self.stream.redis_url = self.store.url
        with self.stream.redis() as client:
            return not any(client.zcard(f"questream:{{{namespace}}}:outbox") for namespace in NAMESPACES)
