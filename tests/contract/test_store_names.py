"""What both stores promise of names that a language model made."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from questream.errors import RecoveryNeeded
from questream.store.names_text import name_text, parse_name
from questream.store.protocol import MadeName, Store
from questream.store.redis.store import RedisStore
from tests.contract.on_redis import KEYS
from tests.contract.test_store import IDENTITY, recover

CARDS = MadeName("Cards that do not arrive", "model-1", 1_800_000_000_000, 12, "0f" * 32)
PINS = MadeName("Forgotten PIN “now”", "model-2", 1_800_000_000_001, 40, "f0" * 32, "PIN")


@pytest.fixture
def namespace(store: Store) -> str:
    name = f"names-{uuid.uuid4().hex[:8]}"
    store.open(name, IDENTITY)
    recover(store, name)
    return name


def write(store: Store, namespace: str, names: dict[int, MadeName | None]) -> None:
    store.write_names(namespace, store.store_epoch(namespace) or "", names)


def test_names_are_read_as_they_were_written_and_taken_away(store: Store, namespace: str) -> None:
    assert store.made_names(namespace) == {}
    write(store, namespace, {1: CARDS, 17: PINS})
    assert store.made_names(namespace) == {1: CARDS, 17: PINS}
    write(store, namespace, {1: PINS, 17: None, 18: None})
    assert store.made_names(namespace) == {1: PINS}
    assert store.made_names("nowhere") == {}


def test_each_change_is_told_by_a_larger_number(store: Store, namespace: str) -> None:
    assert store.name_changes(namespace) == 0
    seen = [0]
    for names in ({1: CARDS}, {1: CARDS, 2: PINS}, {1: None}):
        write(store, namespace, dict(names))
        seen.append(store.name_changes(namespace))
    assert seen == sorted(set(seen))
    assert store.name_changes("nowhere") == 0


def test_many_names_are_written_at_once(store: Store, namespace: str) -> None:
    names = dict.fromkeys(range(1, 2500), CARDS)
    write(store, namespace, dict(names))
    assert store.made_names(namespace) == names


def test_names_of_another_store_epoch_are_not_written(store: Store, namespace: str) -> None:
    before = store.store_epoch(namespace) or ""
    store.require_recovery(namespace)
    recover(store, namespace)
    with pytest.raises(RecoveryNeeded):
        store.write_names(namespace, before, {1: CARDS})
    assert store.made_names(namespace) == {}


def test_names_are_not_written_once_anything_has_changed_since(store: Store, namespace: str) -> None:
    epoch = store.store_epoch(namespace) or ""
    assert store.write_names(namespace, epoch, {1: CARDS}, as_of=store.name_changes(namespace))
    before = store.name_changes(namespace)
    write(store, namespace, {1: None})
    assert not store.write_names(namespace, epoch, {1: CARDS}, as_of=before)
    assert store.made_names(namespace) == {}
    many = dict.fromkeys(range(1, 2500), CARDS)
    assert store.write_names(namespace, epoch, many, as_of=store.name_changes(namespace))
    assert store.made_names(namespace) == many


@pytest.mark.parametrize("store", ["redis"], indirect=True)
@pytest.mark.parametrize("damage", ["type", "text", "changes"])
def test_names_that_cannot_be_read_are_made_anew(
    store: RedisStore, namespace: str, redis_clients: dict[str, Any], damage: str
) -> None:
    client, key = redis_clients["redis"], KEYS.of(namespace, "names")
    write(store, namespace, {1: CARDS, 2: PINS})
    if damage == "type":
        client.delete(key)
        client.set(key, "names")
    else:
        client.hset(key, "1" if damage == "text" else damage, "?")
    assert store.made_names(namespace).get(2) == (None if damage == "type" else PINS)
    assert store.name_changes(namespace) >= 0
    write(store, namespace, {1: CARDS})
    assert store.made_names(namespace)[1] == CARDS
    assert store.name_changes(namespace) > 0


def test_a_later_release_adds_to_a_name_and_its_other_meaning_is_passed_over() -> None:
    text = name_text(CARDS)
    assert parse_name(text) == CARDS
    assert parse_name(text[:-1] + b',"added":[1]}') == CARDS
    assert parse_name(text.replace(b'"v":1', b'"v":2')) is None
    for wrong in (b"", b"[]", b"{}", text.replace(b"12,", b'"12",'), text.replace(b"null", b"7")):
        assert parse_name(wrong) is None
