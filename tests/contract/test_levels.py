"""What both stores promise of the levels above the clusters."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from questream.clustering.levels import Levels, Node, leaf
from questream.errors import NamespaceRefused, RecoveryNeeded
from questream.operations import By, Decisions
from questream.store.levels_text import levels_text, parse_levels
from questream.store.protocol import LevelsMark, Store, StoredLevels, Waiting
from questream.store.redis.store import RedisStore
from tests.contract.on_redis import KEYS
from tests.contract.test_store import IDENTITY, create_two, recover

INTENT, TOPIC = Node(1, 5), Node(2, 2)
FOUND = StoredLevels(
    Levels({leaf(1): INTENT, leaf(2): TOPIC, INTENT: TOPIC}, (6, 3)), 2, {Node(1, 3): INTENT, Node(1, 4): None}
)


@pytest.fixture
def namespace(store: Store) -> str:
    name = f"levels-{uuid.uuid4().hex[:8]}"
    store.open(name, IDENTITY)
    recover(store, name)
    return name


def epoch(store: Store, namespace: str) -> str:
    return store.store_epoch(namespace) or ""


def test_levels_are_read_as_they_were_written(store: Store, namespace: str) -> None:
    assert store.levels(namespace) == StoredLevels()
    assert store.write_levels(namespace, epoch(store, namespace), FOUND)
    found = store.levels(namespace)
    assert found.version > 0
    assert found == replace(FOUND, version=found.version)


def test_levels_are_written_over_those_that_they_were_computed_from_alone(store: Store, namespace: str) -> None:
    assert store.write_levels(namespace, epoch(store, namespace), FOUND)
    assert not store.write_levels(namespace, epoch(store, namespace), FOUND)
    first = store.levels(namespace)
    assert store.write_levels(namespace, epoch(store, namespace), replace(first, opened=7))
    second = store.levels(namespace)
    assert second.version > first.version
    assert second.opened == 7
    assert not store.write_levels(namespace, epoch(store, namespace), first)
    assert store.levels(namespace) == second


def test_levels_of_another_store_epoch_are_not_written(store: Store, namespace: str) -> None:
    before = epoch(store, namespace)
    store.require_recovery(namespace)
    recover(store, namespace)
    with pytest.raises(RecoveryNeeded):
        store.write_levels(namespace, before, FOUND)
    assert store.levels(namespace) == StoredLevels()


def test_one_worker_at_a_time_has_the_lease(store: Store, namespace: str) -> None:
    assert store.lease_levels(namespace, "one", 60.0)
    assert store.lease_levels(namespace, "one", 60.0)
    assert not store.lease_levels(namespace, "other", 60.0)
    assert store.lease_levels(namespace, "one", 0)
    assert store.lease_levels(namespace, "other", 60.0)
    # The lease is no part of the levels.
    assert store.levels(namespace) == StoredLevels()


def test_marks_tell_how_far_levels_are_behind(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    assert store.levels_marks([namespace, "nowhere"]) == {namespace: LevelsMark(0, 0, 2, 2)}
    assert store.write_levels(namespace, epoch(store, namespace), FOUND)
    version = store.levels(namespace).version
    assert store.levels_marks([namespace]) == {namespace: LevelsMark(version, 2, 2, 2)}
    store.confirm_levels(namespace, version)
    assert store.levels_marks([namespace]) == {namespace: LevelsMark(version, 2, 2, 2, version)}


def waits(store: Store, namespace: str) -> bool:
    found = store.waiting([namespace], 0, 1)[namespace]
    assert isinstance(found, Waiting)
    return found.levels


def test_levels_wait_to_be_published_until_that_version_is(store: Store, namespace: str) -> None:
    assert not waits(store, namespace)
    assert store.write_levels(namespace, epoch(store, namespace), FOUND)
    first = store.levels(namespace)
    assert waits(store, namespace)
    assert store.write_levels(namespace, epoch(store, namespace), first)
    store.confirm_levels(namespace, first.version)
    assert waits(store, namespace), "a later version is not published yet"
    assert store.lease_levels(namespace, "one", 60.0)
    assert not waits(store, namespace), "another finds or publishes them"
    assert store.lease_levels(namespace, "one", 0)
    store.confirm_levels(namespace, store.levels(namespace).version)
    assert not waits(store, namespace)
    assert store.levels(namespace) == replace(first, version=store.levels(namespace).version)


def test_a_late_word_of_earlier_levels_takes_nothing_back(store: Store, namespace: str) -> None:
    assert store.write_levels(namespace, epoch(store, namespace), FOUND)
    first = store.levels(namespace)
    assert store.write_levels(namespace, epoch(store, namespace), first)
    second = store.levels(namespace)
    store.confirm_levels(namespace, second.version)
    store.confirm_levels(namespace, first.version)
    assert not waits(store, namespace)
    assert store.levels_marks([namespace])[namespace].published == second.version


def restored(store: Store, namespace: str, levels: StoredLevels) -> bool:
    """True if levels that were published come back in a recovery."""
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    is_put_back = store.restore_levels(namespace, token, levels)
    store.recover(namespace, token, None, {})
    return is_put_back


def test_a_recovery_puts_published_levels_back_as_they_were(store: Store, namespace: str) -> None:
    published = replace(FOUND, version=9)
    assert restored(store, namespace, published)
    assert store.levels(namespace) == published
    assert not waits(store, namespace)
    assert store.write_levels(namespace, epoch(store, namespace), published)
    assert store.levels(namespace).version > 9


def test_levels_that_the_store_found_later_stay(store: Store, namespace: str) -> None:
    assert store.write_levels(namespace, epoch(store, namespace), FOUND)
    standing = store.levels(namespace)
    assert not restored(store, namespace, StoredLevels(version=standing.version - 1))
    assert store.levels(namespace) == standing
    assert restored(store, namespace, StoredLevels(opened=1, version=standing.version))
    assert store.levels(namespace).opened == 1


def test_levels_are_put_back_by_the_recovery_in_hand_alone(store: Store, namespace: str) -> None:
    published = replace(FOUND, version=9)
    assert not store.restore_levels(namespace, "token", published)
    store.require_recovery(namespace)
    assert not store.restore_levels(namespace, "token", published)
    assert store.levels(namespace) == StoredLevels()


@pytest.mark.parametrize("store", ["redis"], indirect=True)
@pytest.mark.parametrize("step", ["lease", "write", "name"])
def test_levels_that_a_release_before_levels_did_not_put_back_are_a_lost_memory(
    store: RedisStore, namespace: str, redis_clients: dict[str, Any], step: str
) -> None:
    client, meta = redis_clients["redis"], KEYS.of(namespace, "meta")
    assert store.lease_levels(namespace, "one", 60.0)
    assert store.write_levels(namespace, epoch(store, namespace), FOUND)
    published = store.levels(namespace)
    # That release begins a store epoch, and notes nothing of levels.
    client.hset(meta, "incarnation", f"{epoch(store, namespace).rpartition(':')[0]}:another")
    assert store.lease_levels(namespace, "one", 0), "it is let go all the same"
    decisions = Decisions(store, namespace, By("ann"))
    steps: dict[str, Callable[[], object]] = {
        "lease": lambda: store.lease_levels(namespace, "one", 60.0),
        "write": lambda: store.write_levels(namespace, epoch(store, namespace), published),
        "name": lambda: decisions.commit(decisions.label_level("i5", "cards", None)),
    }
    with pytest.raises(RecoveryNeeded):
        steps[step]()
    assert store.store_epoch(namespace) is None
    assert store.levels(namespace) == published
    assert restored(store, namespace, published)
    assert store.lease_levels(namespace, "one", 60.0)
    assert store.write_levels(namespace, epoch(store, namespace), published)


@pytest.mark.parametrize("store", ["redis"], indirect=True)
@pytest.mark.parametrize("is_published", [True, False])
@pytest.mark.parametrize("damage", ["type", "levels", "named", "version"])
def test_levels_that_cannot_be_read_are_a_lost_memory(
    store: RedisStore, namespace: str, redis_clients: dict[str, Any], damage: str, is_published: bool
) -> None:
    client, key = redis_clients["redis"], KEYS.of(namespace, "levels")
    assert store.write_levels(namespace, epoch(store, namespace), FOUND)
    published = store.levels(namespace) if is_published else StoredLevels()
    if damage == "type":
        client.delete(key)
        client.set(key, "levels")
    else:
        client.hset(key, damage, "?")
    with pytest.raises(RecoveryNeeded):
        store.levels(namespace)
    assert restored(store, namespace, published) is is_published
    assert store.levels(namespace) == published
    assert store.lease_levels(namespace, "one", 60.0)
    assert store.write_levels(namespace, epoch(store, namespace), replace(FOUND, version=published.version))


def test_a_later_release_adds_to_the_text_and_its_other_meaning_is_refused() -> None:
    text = levels_text(FOUND)
    assert parse_levels(text[:-1] + b',"added":[1]}', 7) == replace(FOUND, version=7)
    with pytest.raises(NamespaceRefused, match="upgrade questream"):
        parse_levels(text.replace(b'"v":1', b'"v":2'), 7)
