"""A Redis that answers and takes no writes: what is wrong is said in words, and what to do about it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import redis

from questream.errors import Recourse, StoreRefused, StoreUnavailable, recourse_of
from questream.store.redis.store import RedisStore
from tests.contract.test_store import IDENTITY, create_two, recover
from tests.kit.servers import RedisServer

STATES: dict[str, tuple[Callable[[Any], object], str]] = {
    "a replica": (
        lambda client: client.replicaof("127.0.0.1", "1"),
        "it is a replica; let redis.url lead to the master",
    ),
    "full": (lambda client: client.config_set("maxmemory", 1), "its memory is full; raise its maxmemory"),
    "without its replicas": (
        lambda client: client.config_set("min-replicas-to-write", 1),
        "it has fewer replicas than min-replicas-to-write; start its replicas",
    ),
}


@pytest.mark.parametrize(("change", "told"), STATES.values(), ids=STATES)
def test_a_redis_that_takes_no_writes_says_why_and_what_to_do(
    change: Callable[[Any], object], told: str, redis_factory: Callable[..., RedisServer]
) -> None:
    with closing(redis.Redis.from_url(redis_factory().url)) as client:
        change(client)
        with pytest.raises(StoreUnavailable, match=f"^Redis takes no writes: {told}") as raised:
            RedisStore(client).open("default", IDENTITY)
        assert recourse_of(raised.value) is Recourse.RETRY


def test_rights_that_are_taken_away_are_told_in_words(redis_factory: Callable[..., RedisServer]) -> None:
    client: Any = redis.Redis.from_url(redis_factory().url)
    with closing(client):
        store = RedisStore(client)
        store.open("default", IDENTITY)
        recover(store, "default")
        client.execute_command("ACL", "SETUSER", "default", "-hset")
        with pytest.raises(StoreRefused, match="Redis denies this user a command that scripts call"):
            create_two(store, "default")
