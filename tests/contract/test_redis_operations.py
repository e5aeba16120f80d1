"""What the scripts of operations and levels make of keys that another hand has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from questream.domain import Ruling
from questream.errors import RecoveryNeeded
from questream.store.redis.keys import Name
from questream.store.redis.store import RedisStore
from tests.contract.on_redis import KEYS, Damage, client, namespace, store
from tests.contract.test_store import create_third, create_two, merge, merge_one_and_two, recover
from tests.contract.test_store_forget import filled, forgetting
from tests.contract.test_store_intents import opening
from tests.contract.test_store_operations import PINNED, merging, parted, pin, proposed

__all__ = ["client", "namespace", "store"]


def _ahead(client: Any, namespace: str) -> None:
    seq = int(client.hget(KEYS.of(namespace, "meta"), "seq"))
    client.xadd(KEYS.of(namespace, "log"), {"x": "y"}, id=f"{seq + 1}-1")


# What is broken, and what Redis says of it.
DAMAGES: dict[str, Damage] = {
    "the count of operations cannot be read": lambda client, name: client.hset(
        KEYS.of(name, "meta"), "operation_count", "many"
    ),
    "which operation was the last cannot be read": lambda client, name: client.hset(
        KEYS.of(name, "meta"), "operation_kept", "?"
    ),
    "the log is ahead of its number": _ahead,
    "the index has not the clusters that it had": lambda client, name: client.zrem(KEYS.of(name, "idle"), 2),
    "a cluster is cut short": lambda client, name: client.hdel(KEYS.cluster(name, 1), "members"),
    "a cluster is cut short (2)": lambda client, name: client.hdel(KEYS.cluster(name, 1), "revision"),
    "the rules cannot be read": lambda client, name: client.hset(KEYS.of(name, "meta"), "rules", "?"),
    "the names of levels cannot be read": lambda client, name: client.hset(KEYS.of(name, "levels"), "named", "?"),
    "a ruling cannot be read": lambda client, name: client.hset(KEYS.cluster(name, 1), "ruled", "?"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_nobody_decides_of_a_namespace_that_has_lost_a_part(
    store: RedisStore, client: Any, namespace: str, damage: str
) -> None:
    create_two(store, namespace)
    DAMAGES[damage](client, namespace)
    cluster = client.hgetall(KEYS.cluster(namespace, 1))
    with pytest.raises(RecoveryNeeded, match=damage.removesuffix(" (2)")):
        store.operate(namespace, proposed(1, "label", Ruling(), Ruling("cards")))
    assert client.hgetall(KEYS.cluster(namespace, 1)) == cluster
    assert not client.exists(KEYS.of(namespace, "operations"), KEYS.of(namespace, "operation_ids"))
    assert store.store_epoch(namespace) is None


@pytest.mark.parametrize("damaged", [False, True])
def test_ids_of_operations_are_no_more_than_are_kept(
    store: RedisStore, client: Any, namespace: str, monkeypatch: pytest.MonkeyPatch, damaged: bool
) -> None:
    monkeypatch.setattr("questream.store.redis.operations.OPERATIONS_KEPT", 2)
    create_two(store, namespace)
    ruling = Ruling()
    for number in range(1, 7):
        after = Ruling(pinned=not ruling.pinned)
        assert store.operate(namespace, proposed(number, "pin", ruling, after)) is not None
        ruling = after
        if damaged and number == 1:
            client.hset(KEYS.of(namespace, "operations"), "1", "?")
    # Whose id cannot be read leaves that behind.
    assert client.hlen(KEYS.of(namespace, "operation_ids")) == 2 + damaged
    assert client.hlen(KEYS.of(namespace, "operations")) == 2


def test_operations_are_put_back_where_their_keys_are_of_another_type(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    published = store.operations(namespace, 10)
    for name in ("operations", "operation_ids"):
        client.delete(KEYS.of(namespace, name))
        client.set(KEYS.of(namespace, name), "?")
    assert store.claim_operations(namespace, "one", 30.0) is not None
    assert store.restore_operations(namespace, "one", published, 1) == 1
    assert store.operations(namespace, 10) == published
    # Its id answers what it did.
    assert store.operate(namespace, proposed(1, "unpin", PINNED, Ruling())) == published[0]


def _undone(store: RedisStore, namespace: str) -> Any:
    return store.operate(namespace, proposed(2, "undo", PINNED, Ruling(), undoes=1))


# What people do where operations are gone that were made.
DONE_WITHOUT: dict[str, Callable[[RedisStore, str], Any]] = {
    "looked at": lambda store, name: store.operation(name, 1),
    "published": lambda store, name: store.operations_from(name, 1, 10),
    "undone": _undone,
    "done again": lambda store, name: store.operate(name, proposed(1, "pin", Ruling(), PINNED)),
}


@pytest.mark.parametrize(
    ("key", "done"),
    [*(("operations", done) for done in DONE_WITHOUT), ("operation_ids", "undone"), ("operation_ids", "done again")],
)
def test_operations_that_are_gone_are_noticed_and_put_back(
    store: RedisStore, client: Any, namespace: str, key: Name, done: str
) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    published = store.operations(namespace, 10)
    client.delete(KEYS.of(namespace, key))
    with pytest.raises(RecoveryNeeded, match="lost"):
        DONE_WITHOUT[done](store, namespace)
    assert store.store_epoch(namespace) is None
    token = store.begin_recovery(namespace)
    store.restore_operations(namespace, token, published, 1)
    store.recover(namespace, token, None, {})
    assert store.operations(namespace, 10) == published
    assert store.operate(namespace, proposed(1, "pin", Ruling(), PINNED)) == published[0]
    assert _undone(store, namespace).number == 2


def test_operations_that_no_topic_knows_are_missed_once(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    client.delete(KEYS.of(namespace, "operations"))
    # Whoever compares them with the topic sees what is there.
    assert store.operations(namespace, 10) == []
    with pytest.raises(RecoveryNeeded, match="lost"):
        store.operation(namespace, 1)
    recover(store, namespace)
    assert store.operation(namespace, 1) is None
    assert store.operations(namespace, 10) == []
    assert _unpinned(store, namespace).number == 2


def test_what_a_release_before_wrote_and_let_go_is_not_missed(
    store: RedisStore, client: Any, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("questream.store.redis.operations.OPERATIONS_KEPT", 2)
    create_two(store, namespace)
    pin(store, namespace, 1)
    kept = client.hget(KEYS.of(namespace, "meta"), "operation_kept")
    for number, (before, after) in enumerate([(PINNED, Ruling()), (Ruling(), PINNED), (PINNED, Ruling())], 2):
        assert store.operate(namespace, proposed(number, "pin", before, after)) is not None
        # It does not know the field.
        client.hset(KEYS.of(namespace, "meta"), "operation_kept", kept)
    assert [one.number for one in store.operations(namespace, 10)] == [4, 3]
    assert store.operation(namespace, 1) is None
    assert [one.number for one in store.operations_from(namespace, 1, 10)] == [3, 4]


@pytest.mark.parametrize("name", ["operations", "operation_ids"])
def test_an_operation_that_is_gone_from_among_others_is_missed(
    store: RedisStore, client: Any, namespace: str, name: Name
) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    _unpinned(store, namespace)
    key = KEYS.of(namespace, name)
    client.hdel(key, client.hkeys(key)[0])
    with pytest.raises(RecoveryNeeded, match="operations are gone"):
        store.operate(namespace, proposed(3, "pin", Ruling(), PINNED))
    assert store.store_epoch(namespace) is None
    recover(store, namespace)
    assert store.operate(namespace, proposed(3, "pin", Ruling(), PINNED)) is not None
    assert store.operations(namespace, 10)


def test_an_operation_that_is_gone_is_not_taken_for_one_that_never_was(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    _unpinned(store, namespace)
    client.hdel(KEYS.of(namespace, "operations"), 1)
    with pytest.raises(RecoveryNeeded, match="operations are gone"):
        store.operation(namespace, 1)


def test_what_an_operation_of_a_release_before_wrote_is_not_taken_for_lost(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    pin(store, namespace, 1)
    lengths = client.hget(KEYS.of(namespace, "meta"), "operation_lengths")
    _unpinned(store, namespace)
    # It does not know the field.
    client.hset(KEYS.of(namespace, "meta"), "operation_lengths", lengths)
    assert [one.number for one in store.operations(namespace, 10)] == [2, 1]
    assert store.operate(namespace, proposed(3, "pin", Ruling(), PINNED)) is not None


def _unpinned(store: RedisStore, namespace: str) -> Any:
    return store.operate(namespace, proposed(2, "unpin", PINNED, Ruling()))


@pytest.mark.parametrize("cluster_id", [1, 2])
def test_nobody_merges_a_cluster_that_has_lost_a_part(
    store: RedisStore, client: Any, namespace: str, cluster_id: int
) -> None:
    create_two(store, namespace)
    proposal = merging(store, namespace, Ruling())
    client.hdel(KEYS.cluster(namespace, cluster_id), "seen")
    with pytest.raises(RecoveryNeeded, match="a cluster is cut short"):
        store.operate(namespace, proposal)
    assert not client.hexists(KEYS.cluster(namespace, 2), "merged_into")


def test_nobody_opens_a_cluster_under_a_number_that_a_key_has(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    client.hset(KEYS.cluster(namespace, 3), "revision", 1)
    with pytest.raises(RecoveryNeeded, match="the next number is that of a cluster"):
        store.operate(namespace, opening(3))
    assert client.hgetall(KEYS.cluster(namespace, 3)) == {b"revision": b"1"}


def test_no_cluster_parts_from_one_that_has_lost_a_part(store: RedisStore, client: Any, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    assert merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    proposal = parted(store, namespace)
    client.hdel(KEYS.cluster(namespace, 1), "seen")
    with pytest.raises(RecoveryNeeded, match="a cluster is cut short"):
        store.operate(namespace, proposal)
    assert client.hget(KEYS.cluster(namespace, 2), "merged_into") == b"1"


def test_texts_are_erased_where_the_key_of_names_is_of_another_type(
    store: RedisStore, client: Any, namespace: str
) -> None:
    filled(store, namespace)
    client.delete(KEYS.of(namespace, "names"))
    client.set(KEYS.of(namespace, "names"), "?")
    assert store.operate(namespace, forgetting(store, namespace)) is not None
    assert store.made_names(namespace) == {}
    assert store.name_changes(namespace) > 0


REMAINS: dict[str, Callable[[Any, str, str], object]] = {
    "they are of another type": lambda client, key, _: (client.delete(key), client.set(key, "?")),
    "they are trimmed": lambda client, key, _: client.xtrim(key, maxlen=0, approximate=False),
    "only those of another merge are left": lambda client, key, entry: (
        client.xadd(key, dict(client.xrange(key)[0][1])),
        client.xdel(key, entry),
    ),
    "a part of them stands by itself": lambda client, key, _: client.xadd(
        key, {"cluster": "2", "survivor": "", "kept": "", "parted": "3"}
    ),
}


@pytest.mark.parametrize("damage", REMAINS)
def test_a_cluster_returns_by_its_own_whole_remains_or_not_at_all(
    store: RedisStore, client: Any, namespace: str, damage: str
) -> None:
    seq = create_two(store, namespace).seq
    assert merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    wanted, key = parted(store, namespace), KEYS.of(namespace, "remains")
    whole = client.dump(key)
    assert wanted.part is not None
    REMAINS[damage](client, key, wanted.part.remains.key)
    assert store.operate(namespace, wanted) is None
    client.restore(key, 0, whole, replace=True)
    assert store.operate(namespace, wanted) is not None


def test_remains_of_another_type_stop_no_merge_and_go(store: RedisStore, client: Any, namespace: str) -> None:
    key = KEYS.of(namespace, "remains")
    seq = create_third(store, namespace, create_two(store, namespace).seq)
    client.set(key, "?")
    assert merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    assert store.remains(namespace, 2) is not None
    client.delete(key)
    assert store.remains(namespace, 2) is None
    client.set(key, "?")
    store.mend(namespace, "token", [1], None)
    assert client.type(key) == b"none"
