"""Which store serves a namespace: what a store has as home against what the cluster topic says, and who is refused."""

from __future__ import annotations

from typing import Any

import pytest

from questream.errors import AnotherStore
from questream.recovery.home import HOME_HEADER, Home, HomeHeaders, Homes
from questream.store.redis.store import RedisStore
from tests.contract.on_redis import KEYS, client, namespace, store
from tests.contract.test_round_trips import round_trips

__all__ = ["client", "namespace", "store"]

HERE, THERE = "here", "there"
MINE = Home(3, "mine", HERE, "former")


@pytest.mark.parametrize("home", [Home(1, "a", HERE), MINE])
def test_a_home_reads_as_it_was_written(home: Home) -> None:
    assert Home.parse(str(home).encode()) == home


def test_what_a_later_release_adds_to_a_home_is_passed_over() -> None:
    assert Home.parse(b"3 mine here former and more") == MINE


@pytest.mark.parametrize("text", [None, b"", b"3", b"3 mine", b"third mine here", b"\xff\xff \xff \xff"])
def test_what_is_no_home_is_none(text: bytes | None) -> None:
    assert Home.parse(text) is None


@pytest.mark.parametrize("published", [None, Home(3, "mine", THERE), Home(9, "former", THERE)], ids=str)
def test_the_store_that_the_topic_names_or_that_it_was_before_is_served_from(
    store: RedisStore, namespace: str, published: Home | None
) -> None:
    store.replace_home(namespace, str(MINE).encode())
    Homes(store, HERE).require(namespace, published)


def test_another_store_is_refused_also_at_the_same_place(store: RedisStore, namespace: str) -> None:
    store.replace_home(namespace, str(MINE).encode())
    with pytest.raises(AnotherStore):
        Homes(store, HERE).require(namespace, Home(3, "other", HERE))


def test_a_store_without_a_home_was_emptied_where_it_is_found_at_the_same_place(
    store: RedisStore, namespace: str
) -> None:
    homes = Homes(store, HERE)
    homes.require(namespace, Home(3, "other", HERE))
    with pytest.raises(AnotherStore):
        homes.require(namespace, Home(3, "other", THERE))


def test_an_emptied_store_takes_the_next_home_once_and_names_the_one_before(store: RedisStore, namespace: str) -> None:
    homes = Homes(store, HERE)
    homes.take(namespace, MINE)
    taken = Home.parse(store.home(namespace))
    assert taken is not None
    assert (taken.epoch, taken.location, taken.former) == (4, HERE, "mine")
    homes.take(namespace, MINE)
    assert Home.parse(store.home(namespace)) == taken
    homes.adopt(namespace, taken)
    adopted = Home.parse(store.home(namespace))
    assert adopted is not None
    assert (adopted.epoch, adopted.former) == (5, taken.store)


def headers_of(store: RedisStore, published: Home | None = None) -> HomeHeaders:
    return HomeHeaders(store, Homes(store, HERE), lambda _: published)


def test_a_header_is_read_once_in_a_store_epoch(store: RedisStore, namespace: str) -> None:
    store.replace_home(namespace, str(MINE).encode())
    headers, moved = headers_of(store), Home(4, "next", HERE, "mine")
    assert headers.of(namespace, "epoch 1") == [(HOME_HEADER, str(MINE).encode())]
    store.replace_home(namespace, str(moved).encode())
    assert headers.of(namespace, "epoch 1") == [(HOME_HEADER, str(MINE).encode())]
    assert headers.of(namespace, "epoch 2") == [(HOME_HEADER, str(moved).encode())]


@pytest.mark.parametrize(("published", "epoch", "former"), [(None, 1, ""), (MINE, 4, "mine")])
def test_a_namespace_that_an_earlier_release_recovered_gets_the_home_after_the_published_one(
    store: RedisStore, namespace: str, published: Home | None, epoch: int, former: str
) -> None:
    ((name, header),) = headers_of(store, published).of(namespace, "epoch 1")
    assert (name, header) == (HOME_HEADER, store.home(namespace))
    home = Home.parse(header)
    assert home is not None
    assert (home.epoch, home.location, home.former) == (epoch, HERE, former)
    Homes(store, HERE).require(namespace, published)


def test_a_namespace_that_an_earlier_release_recovered_in_another_store_gets_no_home(
    store: RedisStore, namespace: str
) -> None:
    with pytest.raises(AnotherStore):
        headers_of(store, Home(3, "other", THERE)).of(namespace, "epoch 1")
    assert store.home(namespace) is None


def test_homes_of_many_namespaces_take_one_round_trip(store: RedisStore, client: Any, namespace: str) -> None:
    names = [f"{namespace}-{name}" for name in ("mine", "none", "damaged")]
    store.replace_home(names[0], str(MINE).encode())
    client.set(KEYS.of(names[2], "meta"), "of another type")
    with round_trips() as sent:
        homes = store.homes([namespace, *names])
    assert len(sent) == 1
    assert homes == {namespace: None, names[0]: str(MINE).encode(), names[1]: None}
    assert Homes(store, HERE).lacking([namespace, *names]) == {namespace, names[1]}
