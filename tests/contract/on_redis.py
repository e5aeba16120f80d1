"""Fixtures of the tests that hold for Redis alone: a module imports those that it uses, in place of the contract's."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest

from questream.settings.tree import DEFAULT_PREFIX
from questream.store.redis.keys import Keys
from questream.store.redis.store import RedisStore
from tests.contract.test_store import IDENTITY, recover

KEYS = Keys(DEFAULT_PREFIX)

# What is done to the keys of a namespace, by a client that is not questream's.
Damage = Callable[[Any, str], object]


@pytest.fixture
def client(redis_clients: dict[str, Any]) -> Any:
    """A client of a single Redis."""
    return redis_clients["redis"]


@pytest.fixture
def store(client: Any) -> RedisStore:
    """The store in that Redis."""
    return RedisStore(client)


@pytest.fixture
def namespace(store: RedisStore) -> str:
    """A namespace that is opened and recovered."""
    name = f"on-redis-{uuid.uuid4().hex[:12]}"
    store.open(name, IDENTITY)
    recover(store, name)
    return name
