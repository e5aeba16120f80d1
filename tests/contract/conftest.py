"""The stores of the contract: in memory, and Redis in every form that `redis.mode` knows, and the embedded Valkey."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from pydantic import SecretStr

from questream.embedded import embedded_store
from questream.settings import RedisSettings
from questream.store.protocol import Store
from questream.store.redis.client import connect_redis
from questream.store.redis.store import RedisStore
from questream.store.reference.store import MemoryStore
from tests.conftest import built
from tests.kit.servers import RedisCluster, RedisSentinel

KINDS = ["memory", "redis", "sentinel", "cluster", "valkey"]


@pytest.fixture(scope="module")
def redis_clients(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Clients by kind, each connected once its server is first asked for."""
    with ExitStack() as servers:
        yield _Clients(request, tmp_path_factory, servers)


class _Clients(dict[str, Any]):
    def __init__(self, request: pytest.FixtureRequest, folders: pytest.TempPathFactory, servers: ExitStack) -> None:
        self._request = request
        self._folders = folders
        self._servers = servers

    def __missing__(self, kind: str) -> Any:
        self[kind] = connect_redis(self._settings(kind))
        return self[kind]

    def _settings(self, kind: str) -> RedisSettings:
        folder = self._folders.mktemp(kind)
        match kind:
            case "redis":
                return RedisSettings(url=SecretStr(self._request.getfixturevalue("redis_server").url))
            case "sentinel":
                sentinel = self._servers.enter_context(built(lambda: RedisSentinel(folder)))
                return RedisSettings(mode="sentinel", sentinels=sentinel.sentinels, sentinel_service=sentinel.service)
            case "cluster":
                cluster = self._servers.enter_context(built(lambda: RedisCluster(folder)))
                return RedisSettings(mode="cluster", url=SecretStr(cluster.url))
            case _:
                return RedisSettings(url=SecretStr(self._servers.enter_context(embedded_store())))


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest) -> Store:
    """Each kind of store in turn."""
    if request.param == "memory":
        return MemoryStore()
    return RedisStore(request.getfixturevalue("redis_clients")[request.param])
