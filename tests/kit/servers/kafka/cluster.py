"""Three brokers as a careful operator runs them: each partition three times, acknowledged by two."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.kit.servers.kafka import KafkaServer
from tests.kit.servers.process import LOOPBACK, ServerFailed, free_port, listens

_REPLICATION = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.num.partitions": "3",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.num.partitions": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "num.partitions": "3",
    # What most clusters have, and what a client must not rest on.
    "auto.create.topics.enable": "true",
}
_SETTLED_SECONDS = 60.0


class Broker(KafkaServer):
    """One of a `KafkaCluster`."""

    def __init__(self, folder: Path, number: int, controllers: Mapping[int, int], cluster_id: str | None) -> None:
        self._number, self._controllers = number, controllers
        super().__init__(folder)
        self.cluster_id = cluster_id or self.cluster_id

    def command(self) -> list[str]:
        return self._broker_command("-Xmx320m")

    def answers(self) -> bool:
        return listens(self._port)

    def move(self) -> None:
        """Listen on another port from the next start on."""
        self._port = free_port()
        self._write(self._own_properties(0))

    def _own_properties(self, controller_port: int) -> dict[str, str]:
        del controller_port
        own = super()._own_properties(self._controllers[self._number])
        voters = ",".join(f"{number}@{LOOPBACK}:{port}" for number, port in self._controllers.items())
        return own | _REPLICATION | {"node.id": str(self._number), "controller.quorum.voters": voters}


class KafkaCluster:
    """Three brokers that are controllers too; a context manager."""

    def __init__(self, folder: Path) -> None:
        controllers = {number: free_port() for number in (1, 2, 3)}
        first = Broker(folder / "broker-1", 1, controllers, None)
        others = [Broker(folder / f"broker-{n}", n, controllers, first.cluster_id) for n in (2, 3)]
        self.brokers = [first, *others]

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:port` of all, between commas."""
        return ",".join(broker.bootstrap_servers for broker in self.brokers)

    def wait_until_in_sync(self) -> None:
        """Until each replica of each partition is in sync; raises ServerFailed after a minute."""
        deadline = time.monotonic() + _SETTLED_SECONDS
        while not self._in_sync():
            if time.monotonic() > deadline:
                raise ServerFailed("the replicas of the three brokers are not in sync")
            time.sleep(0.2)

    def _in_sync(self) -> bool:
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers.split(","), bootstrap_timeout_ms=5000)
        except KafkaError:
            return False
        try:
            if len(admin.describe_cluster()["brokers"]) < len(self.brokers):
                return False
            partitions = [p for topic in admin.describe_topics() for p in topic["partitions"]]
        except KafkaError:
            return False
        finally:
            admin.close()
        return all(len(p["isr_nodes"]) == len(p["replica_nodes"]) for p in partitions)

    def __enter__(self) -> Self:
        # No broker answers before a majority of the controllers is there.
        with ThreadPoolExecutor(len(self.brokers)) as pool:
            list(pool.map(lambda broker: broker.start(), self.brokers))
        self.wait_until_in_sync()
        return self

    def __exit__(self, *_: object) -> None:
        for broker in self.brokers:
            broker.kill()
