"""The properties of a Redis server, whatever it holds: version, memory, settings, clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
import redis.exceptions
from redis.backoff import NoBackoff
from redis.retry import Retry

from questream.errors import StoreRefused
from questream.store.redis.failures import translated
from questream.store.redis.rights import denial


class LoginRefused(StoreRefused):
    """User or password are wrong."""


class CommandForbidden(StoreRefused):
    """The user may not run this command."""


def server_info(client: Any, section: str) -> list[dict[str, Any]]:
    """INFO of the server, or of each primary of a cluster.

    Raises LoginRefused, CommandForbidden, StoreUnavailable where it does not answer.
    """
    with _asking():
        if not isinstance(client, redis.RedisCluster):
            return [client.info(section)]
        found: dict[str, Any] = client.info(section, target_nodes=redis.RedisCluster.PRIMARIES)
        # Of a single primary redis-py gives the section itself.
        return list(found.values()) if all(isinstance(part, dict) for part in found.values()) else [found]


def directive(client: Any, name: str) -> set[str] | None:
    """The values of a directive on all primaries, or None where CONFIG may not be asked."""
    try:
        found = client.config_get(name)
    except redis.RedisError:
        return None
    values = found.get(name) or found.get(name.encode())
    if values is None:
        return None
    return {values.decode() if isinstance(values, bytes) else str(values)}


def server_time_seconds(client: Any) -> float:
    """The time of the server, or of any node of a cluster, since the epoch."""
    with _asking():
        found: Any = client.time()
    if isinstance(found, dict):
        found = next(iter(found.values()))
    return int(found[0]) + int(found[1]) / 1e6


def process_id(host: str, port: int, timeout_seconds: float) -> int | None:
    """The process that serves a port, or None where no Redis answers there."""
    retry = Retry(NoBackoff(), 0)
    with redis.Redis(host=host, port=port, socket_timeout=timeout_seconds, retry=retry) as client:
        try:
            return int(client.info("server")["process_id"])
        except redis.RedisError:
            return None


@contextmanager
def _asking() -> Iterator[None]:
    try:
        yield
    except redis.AuthenticationError as error:
        raise LoginRefused("Redis refused the login", "check redis.url and redis.password") from error
    except redis.exceptions.NoPermissionError as error:
        raise CommandForbidden(*denial(str(error))) from error
    except redis.RedisError:
        with translated():
            raise
