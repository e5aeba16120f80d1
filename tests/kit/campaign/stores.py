"""The Redis of a round: one server behind a path for each worker, or a pair that Sentinel watches."""

from __future__ import annotations

import os
import resource
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from tests.kit.servers import Link, RedisSentinel, RedisServer

# Else a rewritten file could take the place of the one that a fault is about to cut.
NO_REWRITE = {"auto-aof-rewrite-percentage": "0"}


class LimitableRedis(RedisServer):
    """A Redis whose disk can be full."""

    def command(self) -> list[str]:
        # A file that may not grow shall be an error, as on a full disk, and not the signal that ends a process.
        return ["/bin/sh", "-c", 'trap "" XFSZ; exec "$@"', "sh", *super().command()]

    @property
    def append_file(self) -> Path:
        """The append-only file that grows."""
        return max((self.folder / "appendonlydir").glob("*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)

    def limit_files(self, more_bytes: int) -> None:
        """Let its append-only file grow by so much and no further."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (self.append_file.stat().st_size + more_bytes, hard))

    def lift_limit(self) -> None:
        """Let files grow as they like."""
        _, hard = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (hard, hard))

    def runs(self) -> bool:
        """True if its process has not ended."""
        return self._process is not None and self._process.poll() is None

    def set(self, **directives: str) -> None:
        """CONFIG SET, underscores for hyphens."""
        with self.client() as client:
            for name, value in directives.items():
                client.config_set(name.replace("_", "-"), value)

    def cut_append_file(self, length_bytes: int) -> None:
        """Forget what was appended beyond this length; the server must be down."""
        os.truncate(self.append_file, length_bytes)


class SingleStore:
    """One Redis with its append-only file synced at every write, a path to it for each worker, and one for people."""

    def __init__(self, folder: Path, workers: int) -> None:
        self.server = LimitableRedis(folder, appendfsync="always", directives=NO_REWRITE)
        self.paths: Sequence[Link] = [Link(self.server.port) for _ in range(workers)]
        self.to_people = Link(self.server.port)
        self._started = ExitStack()

    def __enter__(self) -> Self:
        self._started.enter_context(self.server)
        for path in (*self.paths, self.to_people):
            self._started.enter_context(path)
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def url(self) -> str:
        """Where the store is, past all paths."""
        return self.server.url

    @property
    def url_for_people(self) -> str:
        """Where people's operations go."""
        return _url(self.to_people)

    def path_of(self, worker: int) -> Link | None:
        """The path of one worker."""
        return self.paths[worker]

    @property
    def paths_to_it(self) -> dict[str, str]:
        """The URL of the store by that of each path to it."""
        return {_url(path): self.url for path in self.paths}

    def overrides(self, worker: int) -> dict[str, Any]:
        """The store as a worker gets it."""
        return {"redis.url": _url(self.paths[worker])}


class SentinelStore:
    """A master, a replica and a sentinel; workers go where Sentinel sends them."""

    def __init__(self, folder: Path) -> None:
        self.servers = RedisSentinel(folder, appendfsync="always")

    def __enter__(self) -> Self:
        self.servers.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.servers.stop()

    @property
    def url(self) -> str:
        """Where the master is now."""
        return self.servers.master.url

    @property
    def url_for_people(self) -> str:
        """Where people's operations go."""
        return self.url

    def path_of(self, worker: int) -> Link | None:
        """Sentinel names the store itself: there is no path to break."""
        del worker
        return None

    @property
    def paths_to_it(self) -> dict[str, str]:
        """None: Sentinel names the store."""
        return {}

    def overrides(self, worker: int) -> dict[str, Any]:
        """The store as a worker gets it."""
        del worker
        return {
            "redis.mode": "sentinel",
            "redis.sentinels": self.servers.sentinels,
            "redis.sentinel_service": self.servers.service,
        }


def _url(path: Link) -> str:
    return f"redis://127.0.0.1:{path.port}/0"
