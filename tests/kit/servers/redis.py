"""Redis as operators run it: one server with an append-only file, Sentinel with a replica, and Redis Cluster."""

from __future__ import annotations

import itertools
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from tests.kit.servers.certificates import Authority
from tests.kit.servers.process import LOOPBACK, Server, ServerFailed, free_port, listens, needed_program

AppendFsync = Literal["always", "everysec"]
REMEDY = "install redis-server, redis-sentinel and redis-tools"
SETTLE_SECONDS = 30.0
# A Sentinel that was not scheduled for 2 s, as on a loaded machine, does nothing for the next 30 s (its TILT mode);
# and before it makes a replica of a master that came back, that one must have called itself master, undisturbed, for
# 8 s, in answers to an INFO sent every 10 s. Twice that, and some.
SENTINEL_SECONDS = 120.0


class RedisServer(Server):
    """A redis-server with noeviction and an append-only file, so that it keeps its data through a restart.

    What was written last before a `kill` is kept for certain only with `appendfsync="always"`.
    `directives` are lines of redis.conf on top of those, such as `{"maxmemory": "8mb"}`.
    Raises MissingServer if redis-server is not installed.
    """

    def __init__(
        self, folder: Path, *, appendfsync: AppendFsync = "everysec", directives: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder)
        self._program = needed_program("redis-server", REMEDY)
        self.port = free_port()
        self._databases = itertools.count(1)
        self._configuration = folder / "redis.conf"
        own = {
            "bind": LOOPBACK,
            "port": str(self.port),
            "dir": str(folder),
            # A fresh database for each of many tests; an unused one costs next to nothing.
            "databases": "4096",
            "save": '""',
            "appendonly": "yes",
            "appendfsync": appendfsync,
            "maxmemory-policy": "noeviction",
        }
        # Written once: Sentinel and Cluster rewrite it while they run, and a restart must find what they wrote.
        self._configuration.write_text(
            "".join(f"{key} {value}\n" for key, value in {**own, **(directives or {})}.items())
        )

    @property
    def url(self) -> str:
        """`redis://127.0.0.1:port/0`."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def new_database(self) -> str:
        """URL of one of the 4,096 databases, which nobody has been given yet."""
        return f"redis://{LOOPBACK}:{self.port}/{next(self._databases)}"

    def client(self) -> redis.Redis:
        """A client that fails at once instead of trying again; close it after use."""
        return redis.Redis(port=self.port, socket_timeout=2, retry=Retry(NoBackoff(), 0), decode_responses=True)

    def command(self) -> list[str]:
        return [self._program, str(self._configuration)]

    def answers(self) -> bool:
        if not listens(self.port):
            return False
        with self.client() as client:
            try:
                # PING alone is not enough: it answers while the data are still being read from disk.
                return bool(client.info()["process_id"] == self.pid and client.ping())
            except redis.RedisError:
                return False


class SecuredRedis(RedisServer):
    """A redis-server with a TLS port besides; tests administer it over the plain one, as the user `default`.

    A client's certificate is taken, and asked for after `CONFIG SET tls-auth-clients yes`.
    """

    def __init__(self, folder: Path, authority: Authority) -> None:
        self._tls_port = free_port()
        certificate = authority.issue("redis")
        directives = {
            "tls-port": str(self._tls_port),
            "tls-cert-file": str(certificate.chain),
            "tls-key-file": str(certificate.key),
            "tls-ca-cert-file": str(authority.certificate),
            "tls-auth-clients": "optional",
        }
        super().__init__(folder, appendfsync="always", directives=directives)

    def tls_url(self, user: str, password: str) -> str:
        """`rediss://user:password@127.0.0.1:port/0`; both as in a URL."""
        return f"rediss://{user}:{password}@{LOOPBACK}:{self._tls_port}/0"


class SentinelProcess(RedisServer):
    """One redis-sentinel that watches a master under the name `service`."""

    def __init__(self, folder: Path, service: str, master_port: int) -> None:
        super().__init__(folder)
        self._program = needed_program("redis-sentinel", REMEDY)
        self._configuration.write_text(
            f"bind {LOOPBACK}\nport {self.port}\ndir {folder}\n"
            f"sentinel monitor {service} {LOOPBACK} {master_port} 1\n"
            # Who does not answer for so long counts as down, and a master that came back must not have been down for
            # 8 s before it is made a replica: with 1 s a machine that stalls now and then never gets there.
            f"sentinel down-after-milliseconds {service} 3000\n"
            f"sentinel failover-timeout {service} 5000\n"
        )


class _Together(ABC):
    """Servers that are started and ended together."""

    def __init__(self) -> None:
        self._started = ExitStack()

    @abstractmethod
    def start(self) -> None:
        """Start all and wait until they are ready; raises ServerFailed if that does not come."""

    def stop(self) -> None:
        """End all at once. Idempotent."""
        self._started.close()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class RedisSentinel(_Together):
    """A master, a replica and one sentinel, which makes the replica master some 4 s after that one's death.

    What Sentinel shall do is awaited with `wait_until`: it may rest for half a minute. `master` and `replica` change
    places with `fail_over`.
    """

    def __init__(self, folder: Path, *, appendfsync: AppendFsync = "everysec") -> None:
        self.service = "questream-test"
        # Else a master waits 5 s for more replicas before it sends the first one its data.
        at_once = {"repl-diskless-sync-delay": "0", "user": "replica on nopass ~* &* +@all"}
        # A name of its own, so that a replica can be shut out; Redis wants a password beside it.
        at_once |= {"masteruser": "replica", "masterauth": "any"}
        self.master = RedisServer(folder / "master", appendfsync=appendfsync, directives=at_once)
        follow = {**at_once, "replicaof": f"{LOOPBACK} {self.master.port}"}
        self.replica = RedisServer(folder / "replica", appendfsync=appendfsync, directives=follow)
        self.sentinel = SentinelProcess(folder / "sentinel", self.service, self.master.port)
        super().__init__()

    @property
    def sentinels(self) -> list[str]:
        """`host:port` of each sentinel."""
        return [f"{LOOPBACK}:{self.sentinel.port}"]

    def master_port(self) -> int:
        """Port of the master as Sentinel sees it now."""
        with self.sentinel.client() as client:
            return int(client.sentinel_get_master_addr_by_name(self.service)[1])

    def wait_until(self, condition: Callable[[], bool], promise: str) -> None:
        """Return once Sentinel has seen to `condition`; raises ServerFailed with its log after SENTINEL_SECONDS."""
        try:
            wait_until(condition, promise, SENTINEL_SECONDS)
        except ServerFailed as failed:
            raise ServerFailed(f"{failed}\n{self.sentinel.end_of_log()}") from None

    def start(self) -> None:
        """Start the three and wait until a failover would succeed; raises ServerFailed if that does not come."""
        for server in (self.master, self.replica, self.sentinel):
            self._started.enter_context(server)
        self.wait_until(self._can_fail_over, "the replica follows the master and Sentinel knows it")

    def stop_replication(self) -> None:
        """The replica misses the master's writes from now on. Sentinel still takes it for fit for about 10 s."""
        with self.master.client() as client:
            client.execute_command("ACL", "SETUSER", "replica", "off")
            client.execute_command("CLIENT", "KILL", "USER", "replica")

    def fail_over(self) -> None:
        """Kill the master; returns once its replica is the master and it is back as the replica.

        Raises ServerFailed if that does not come.
        """
        self.master.kill()
        self.wait_until(lambda: self.master_port() == self.replica.port, "Sentinel names the replica as master")
        self.master, self.replica = self.replica, self.master
        self.wait_until(self._is_master, "the replica has become the master")
        self.replica.start()
        with self.replica.client() as client:
            # Sentinel would do so too, 10 s later.
            client.replicaof(LOOPBACK, str(self.master.port))
        for server in (self.master, self.replica):
            with server.client() as client:
                client.execute_command("ACL", "SETUSER", "replica", "on")
        self.wait_until(self._can_fail_over, "the old master follows the new one and Sentinel knows it")

    def _is_master(self) -> bool:
        with self.master.client() as client:
            return bool(client.info("replication")["role"] == "master")

    def _can_fail_over(self) -> bool:
        with self.replica.client() as replica, self.sentinel.client() as sentinel:
            if replica.info("replication")["master_link_status"] != "up":
                return False
            return [known["port"] for known in sentinel.sentinel_slaves(self.service)] == [self.replica.port]


class RedisCluster(_Together):
    """Three masters that share the slots; no replicas, so a dead node's slots are down until it is started again."""

    def __init__(self, folder: Path, *, appendfsync: AppendFsync = "everysec") -> None:
        self._cli = needed_program("redis-cli", REMEDY)
        self.nodes = [
            RedisServer(
                folder / f"node-{number}",
                appendfsync=appendfsync,
                # The default bus port, 10,000 above the other, lies where outgoing connections take theirs.
                directives={"cluster-enabled": "yes", "cluster-port": str(free_port()), "databases": "1"},
            )
            for number in range(3)
        ]
        super().__init__()

    @property
    def url(self) -> str:
        """URL of the first node, from which a client finds the others."""
        return self.nodes[0].url

    def start(self) -> None:
        """Start the nodes, join them, and wait until each sees all slots; raises ServerFailed if that does not come."""
        for node in self.nodes:
            self._started.enter_context(node)
        addresses = [f"{LOOPBACK}:{node.port}" for node in self.nodes]
        command = [self._cli, "--cluster", "create", *addresses, "--cluster-yes"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=SETTLE_SECONDS)
        if result.returncode != 0:
            raise ServerFailed(f"the Redis Cluster cannot be created:\n{result.stdout}{result.stderr}")
        wait_until(self.is_whole, "every node sees all slots")

    def is_whole(self) -> bool:
        """True if every node sees every slot served."""
        return all(map(_sees_all_slots, self.nodes))


def wait_until(condition: Callable[[], bool], promise: str, seconds: float = SETTLE_SECONDS) -> None:
    """Return as soon as `condition` holds; raises ServerFailed with the promise that was not kept."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ServerFailed(f"not within {seconds:.0f} s: {promise}")
        time.sleep(0.05)


def _sees_all_slots(node: RedisServer) -> bool:
    with node.client() as client:
        return bool(client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
