"""Apache Kafka itself: one node that is broker and controller (KRaft)."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from kafka import KafkaAdminClient
from kafka.errors import KafkaError

from tests.kit.servers.kafka.jars import kafka_jars
from tests.kit.servers.network import Link
from tests.kit.servers.process import LOOPBACK, Server, ServerFailed, free_port, listens, needed_program

LOG4J = Path(__file__).with_name("log4j2.properties")
PASSWORD = "secret-of-the-test-broker"
# A controller takes a broker that was killed for alive, and refuses it, until its session has timed out.
SHORT_SESSION = {"broker.session.timeout.ms": "3000"}


def class_archive(jars: Path) -> Path:
    """Where `python -m tests.kit.servers` keeps Kafka's classes; a Java that cannot use them reads the jars."""
    return jars.with_suffix(".jsa")


def _new_id() -> str:
    """16 bytes in URL-safe base64, the first one fixed: an id that begins with a dash reads as an option."""
    return base64.urlsafe_b64encode(b"q" + uuid.uuid4().bytes[1:]).decode().rstrip("=")


class KafkaServer(Server):
    """A broker with a plain listener where everybody may do all, and a SASL/PLAIN one where rights are checked.

    Over SASL, user `owner` may do all and user `guest` nothing, unless an ACL says otherwise; the password of both is
    `PASSWORD`. `properties` are broker settings on top of the ones below. Each of `links` gets a plain listener behind
    it that advertises the link, so that a client who starts at the link's port never leaves it.
    Raises MissingServer if there is no Java, or Maven cannot fetch the jars.
    """

    start_seconds: ClassVar[float] = 90.0

    def __init__(self, folder: Path, properties: Mapping[str, str] | None = None, links: Sequence[Link] = ()) -> None:
        super().__init__(folder)
        self._links = links
        self._java = needed_program("java", "install a JDK 17 or newer")
        self._jars = kafka_jars()
        self._classes = class_archive(self._jars)
        self._port, self._sasl_port, controller_port = free_port(), free_port(), free_port()
        self.cluster_id = _new_id()
        self._properties = folder / "server.properties"
        self._write({**self._own_properties(controller_port), **(properties or {})})

    def _write(self, settings: Mapping[str, str]) -> None:
        self._settings = settings
        self._properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))

    @property
    def bootstrap_servers(self) -> str:
        """`127.0.0.1:port` of the plain listener."""
        return f"{LOOPBACK}:{self._port}"

    @property
    def sasl_bootstrap_servers(self) -> str:
        """`127.0.0.1:port` of the listener with SASL_PLAINTEXT and mechanism PLAIN."""
        return f"{LOOPBACK}:{self._sasl_port}"

    def command(self) -> list[str]:
        return self._broker_command("-Xmx512m")

    def start(self) -> None:
        if not (self.folder / "data" / "meta.properties").exists():
            self._format()
        super().start()

    def kill(self) -> None:
        if self.runs_here:
            super().kill()
            self._write({**self._settings, **SHORT_SESSION})

    def answers(self) -> bool:
        if not listens(self._port):
            return False
        try:
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers, bootstrap_timeout_ms=2000)
        except KafkaError:
            return False
        try:
            cluster = admin.describe_cluster()
        except KafkaError:
            return False
        finally:
            admin.close()
        return cluster["cluster_id"] == self.cluster_id and len(cluster["brokers"]) == 1

    def _format(self) -> None:
        """As StorageTool does, a quarter of a start's cost: what it writes for some options is kept beside the jars."""
        options = hashlib.sha256(" ".join(self._format_options()).encode()).hexdigest()[:12]
        kept = self._jars.with_suffix(f".{options}.checkpoint")
        data = self.folder / "data"
        if not kept.exists():
            self._format_by_tool()
            # Last, and in one step: another process may read it.
            partial = self._jars.with_suffix(f".{self.cluster_id}")
            shutil.copy(data / "bootstrap.checkpoint", partial)
            partial.rename(kept)
            return
        data.mkdir()
        shutil.copy(kept, data / "bootstrap.checkpoint")
        node = dict(line.split("=", 1) for line in self._properties.read_text().splitlines())["node.id"]
        meta = {"version": "1", "node.id": node, "cluster.id": self.cluster_id, "directory.id": _new_id()}
        (data / "meta.properties").write_text("".join(f"{key}={value}\n" for key, value in meta.items()))

    def _format_by_tool(self) -> None:
        tool = self._java_command("kafka.tools.StorageTool", "format", "-t", self.cluster_id)
        command = [*tool, "-c", str(self._properties), *self._format_options()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if result.returncode != 0:
            raise ServerFailed(f"Kafka's storage cannot be formatted:\n{result.stdout}{result.stderr}")

    def limit_client(self, client_id: str, **quotas: float) -> None:
        """Give clients of this id quotas by the broker's names; kafka-python's admin client has no call for it."""
        tool = self._java_command("kafka.admin.ConfigCommand")
        quota = ["--alter", "--add-config", ",".join(f"{name}={value}" for name, value in quotas.items())]
        client = ["--entity-type", "clients", "--entity-name", client_id]
        command = [*tool, "--bootstrap-server", self.bootstrap_servers, *quota, *client]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if result.returncode != 0:
            raise ServerFailed(f"a quota cannot be set:\n{result.stdout}{result.stderr}")

    def _format_options(self) -> list[str]:
        """What else StorageTool shall write, such as users."""
        return []

    def _broker_command(self, memory: str) -> list[str]:
        log4j = f"-Dlog4j2.configurationFile={LOG4J}"
        return self._java_command(memory, log4j, "kafka.Kafka", str(self._properties))

    def _java_command(self, *arguments: str) -> list[str]:
        # Most brokers live for a test or two: what the second compiler makes of them is not worth its processor time.
        options = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
        # A broker that is killed leaves its unpacked libraries behind.
        options.append(f"-Djava.io.tmpdir={self.folder}")
        if self._classes.exists():
            options += [f"-XX:SharedArchiveFile={self._classes}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]
        return [self._java, *options, "-cp", f"{self._jars}/*", *arguments]

    def _own_properties(self, controller_port: int) -> dict[str, str]:
        own = [f"PLAIN://{self.bootstrap_servers}", f"SASL://{self.sasl_bootstrap_servers}"]
        bound = [f"LINK{link.port}://{LOOPBACK}:{link.server_port}" for link in self._links]
        advertised = [f"LINK{link.port}://{LOOPBACK}:{link.port}" for link in self._links]
        protocols = ["PLAIN:PLAINTEXT", "SASL:SASL_PLAINTEXT", "CONTROLLER:PLAINTEXT"]
        protocols += [f"LINK{link.port}:PLAINTEXT" for link in self._links]
        login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
        return {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAIN",
            "listeners": ",".join([*own, *bound, f"CONTROLLER://{LOOPBACK}:{controller_port}"]),
            "advertised.listeners": ",".join([*own, *advertised]),
            "listener.security.protocol.map": ",".join(protocols),
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl.plain.sasl.jaas.config": (f'{login} user_owner="{PASSWORD}" user_guest="{PASSWORD}";'),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS;User:owner",
            "log.dirs": str(self.folder / "data"),
            "auto.create.topics.enable": "false",
            "default.replication.factor": "1",
            "min.insync.replicas": "1",
            "offsets.topic.num.partitions": "1",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            # A transaction whose producer died is aborted this long after its timeout, not up to 10 s after.
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": "500",
            # Its own controller would shut the broker out, with all its partitions and groups, where a loaded machine
            # lets it stand still for longer.
            "broker.session.timeout.ms": "60000",
            "broker.heartbeat.interval.ms": "500",
            # By default a controller that has nothing to record says so twice a second, and all brokers read it.
            "metadata.max.idle.interval.ms": "0",
            "num.network.threads": "2",
            "num.io.threads": "2",
            # Half a minute after its start a broker drops what is too old, and questions of tests may be of any time.
            "log.retention.ms": "-1",
            "log.cleaner.dedupe.buffer.size": str(16 * 1024 * 1024),
        }
