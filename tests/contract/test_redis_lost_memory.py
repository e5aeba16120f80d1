"""What the scripts say of a namespace that Redis has lost a part of while it went on: nothing is decided in it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from questream.clustering.merging import Merge
from questream.errors import RecoveryNeeded
from questream.store.protocol import AskedTurn, Committed, MeanUpdate
from questream.store.redis.store import RedisStore
from questream.store.retention import Retention
from tests.contract.on_redis import KEYS, Damage, client, namespace, store
from tests.contract.test_store import (
    IDENTITY,
    batch,
    commit,
    create_two,
    creation,
    join,
    merge,
    proposal,
    recover,
    row,
    tail,
    vector,
)
from tests.kit.store_calls import confirm_one, verify_one

__all__ = ["client", "namespace", "store"]


JOIN = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)))
CREATE = proposal(creation(3, vector(0, 0, 1, 0)), rows=batch(row(3, 3, created=True)))


def _ahead(client: Any, namespace: str) -> None:
    seq = int(client.hget(KEYS.of(namespace, "meta"), "seq"))
    client.xadd(KEYS.of(namespace, "log"), {"x": "y"}, id=f"{seq + 1}-1")


DAMAGES: dict[str, tuple[Damage, Any]] = {
    "the log is ahead of its number": (_ahead, JOIN),
    "its numbers are missing": (lambda client, name: client.hdel(KEYS.of(name, "meta"), "next"), JOIN),
    "the log has fewer changes": (lambda client, name: client.hincrby(KEYS.of(name, "meta"), "seq", -1), JOIN),
    "a ledger is gone": (
        lambda client, name: client.delete(*client.keys(KEYS.named(name, "ledger:*"))),
        replace(JOIN, partitions=[replace(batch(row(3, 1)), head=2)]),
    ),
    "the next number is taken": (lambda client, name: client.hset(KEYS.cluster(name, 3), "revision", 1), CREATE),
    "a cluster has no size": (lambda client, name: client.hdel(KEYS.cluster(name, 1), "size"), JOIN),
    "a cluster is gone": (lambda client, name: client.delete(KEYS.cluster(name, 1)), JOIN),
    "a cluster has other members": (lambda client, name: client.hincrby(KEYS.cluster(name, 1), "members", 1), JOIN),
    "the mean is another": (
        lambda client, name: client.hincrby(KEYS.of(name, "meta"), "mean_questions", 1),
        replace(JOIN, mean=MeanUpdate(3, 4, vector(3, 1, 0, 0))),
    ),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_nothing_is_decided_in_a_namespace_that_has_lost_a_part(
    store: RedisStore, client: Any, namespace: str, damage: str
) -> None:
    seq = create_two(store, namespace).seq
    break_it, proposed = DAMAGES[damage]
    break_it(client, namespace)
    store_epoch = store.store_epoch(namespace)
    size = client.hget(KEYS.cluster(namespace, 1), "size")
    with pytest.raises(RecoveryNeeded, match="lost"):
        commit(store, namespace, replace(proposed, seq=seq))
    assert client.hget(KEYS.cluster(namespace, 1), "size") == size
    # It has to be compared with the cluster topic before anything is decided in it.
    assert store.store_epoch(namespace) != store_epoch


@pytest.mark.parametrize(
    "damage", ["the log is ahead of its number", "its numbers are missing", "the log has fewer changes"]
)
def test_nobody_follows_merges_or_waits_in_a_namespace_whose_log_has_lost_a_part(
    store: RedisStore, client: Any, namespace: str, damage: str
) -> None:
    seq = create_two(store, namespace).seq
    DAMAGES[damage][0](client, namespace)
    with pytest.raises(RecoveryNeeded, match="lost"):
        merge(store, namespace, seq, [Merge(1, 2, 2, 1, vector(2, 1, 0, 0))])
    recover(store, namespace)
    seq = store.load(namespace).seq
    DAMAGES[damage][0](client, namespace)
    with pytest.raises(RecoveryNeeded, match="lost"):
        tail(store, namespace, seq)
    recover(store, namespace)
    seq = store.load(namespace).seq
    DAMAGES[damage][0](client, namespace)
    asked = AskedTurn(store.store_epoch(namespace) or "", seq, "far")
    refused = store.ask_turns({namespace: asked})[namespace]
    assert isinstance(refused, RecoveryNeeded)
    assert "lost" in str(refused)


def test_a_ledger_that_is_gone_is_not_read_as_one_in_which_nothing_was_decided(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    client.delete(KEYS.ledger(namespace, "questions", 0))
    with pytest.raises(RecoveryNeeded, match="lost"):
        store.ledger(namespace, "questions", 0)


def test_a_cluster_that_is_cut_short_is_neither_merged_nor_named(
    store: RedisStore, client: Any, namespace: str
) -> None:
    seq = create_two(store, namespace).seq
    client.hdel(KEYS.cluster(namespace, 2), "size")
    with pytest.raises(RecoveryNeeded, match="lost"):
        merge(store, namespace, seq, [Merge(1, 2, 2, 1, vector(2, 1, 0, 0))])


def test_what_is_whole_is_decided(store: RedisStore, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    assert isinstance(commit(store, namespace, replace(JOIN, seq=seq)), Committed)


def test_what_was_outdated_before_the_namespace_lost_its_numbers_leaves_the_outbox_again(
    store: RedisStore, client: Any, namespace: str
) -> None:
    published = {number: standing.revision for number, standing in create_two(store, namespace).cluster_rows.items()}
    for _ in range(3):
        verify_one(store, namespace, [(1, 0)])
    client.delete(KEYS.of(namespace, "meta"))
    store.open(namespace, IDENTITY)
    recover(store, namespace)
    confirm_one(store, namespace, list(published.items()), {}, store.outbox_position(namespace))
    assert not set(store.unpublished(namespace, 0, 10)) & published.keys()
    # What is found outdated from then on stays until it was sent again.
    sent = store.outbox_position(namespace)
    verify_one(store, namespace, [(1, 0)])
    confirm_one(store, namespace, list(published.items()), {}, sent)
    assert 1 in store.unpublished(namespace, 0, 10)


def test_the_stub_of_a_retired_cluster_is_let_go_once_its_tombstone_is_published(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    assert store.retire(namespace, Retention(max_clusters=1), 100).count == 1
    (retired,) = [i for i in (1, 2) if client.hexists(KEYS.cluster(namespace, i), "retired")]
    assert client.ttl(KEYS.cluster(namespace, retired)) == -1
    revision = int(client.hget(KEYS.cluster(namespace, retired), "revision"))
    client.zadd(KEYS.of(namespace, "outbox"), {str(retired): 0})
    confirm_one(store, namespace, [(retired, revision)], {}, store.outbox_position(namespace))
    assert client.ttl(KEYS.cluster(namespace, retired)) > 0


def test_a_cluster_that_is_not_there_or_cut_short_or_of_an_unsettled_namespace_gets_no_label(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    with pytest.raises(KeyError):
        store.label(namespace, 7, "cards", None)
    # As where it is merged away or retired between the look at it and the script.
    keys = [KEYS.cluster(namespace, 7), KEYS.of(namespace, "outbox"), KEYS.of(namespace, "meta")]
    assert store._scripts["label"](keys=keys, args=[7, "label", "cards"]) == 0
    assert not client.exists(KEYS.cluster(namespace, 7))
    client.hdel(KEYS.cluster(namespace, 1), "size", "sum", "members")
    with pytest.raises(RecoveryNeeded, match="lost"):
        store.label(namespace, 1, "cards", None)
    with pytest.raises(RecoveryNeeded):
        store.label(namespace, 2, "cards", None)
    assert not client.hexists(KEYS.cluster(namespace, 2), "label")


ENTRIES = {
    "no entry": "garbage",
    "no JSON": "3 3 {garbage}",
    "no rows": '3 3 {"rows":7,"clusters":{}}',
    "a row that is none": '3 3 {"rows":[7],"clusters":{}}',
    "a short row": '3 3 {"rows":[[3,1]],"clusters":{"1":[]}}',
    "a row of another cluster": '3 3 {"rows":[[3,7,1,1,1,1,1,1]],"clusters":{"1":[]}}',
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_a_ledger_with_an_entry_that_cannot_be_read_begins_anew(
    store: RedisStore, client: Any, namespace: str, entry: str
) -> None:
    create_two(store, namespace)
    key = KEYS.ledger(namespace, "questions", 0)
    client.rpush(key, ENTRIES[entry])
    store.require_recovery(namespace)
    store.recover(namespace, store.begin_recovery(namespace), None, {("questions", 0): 2})
    assert client.llen(key) == 1
    found = store.ledger(namespace, "questions", 0)
    assert (found.head, found.decisions) == (2, {})


def test_a_mean_that_has_lost_its_sum_is_learnt_anew(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    assert store.load(namespace).mean_questions == 3
    client.hdel(KEYS.of(namespace, "meta"), "mean_sum")
    store.require_recovery(namespace)
    recover(store, namespace)
    mirror = store.load(namespace)
    assert mirror.mean_questions == 0
    # What is decided by that mirror is committed.
    more = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=mirror.seq)
    more = replace(more, mean=MeanUpdate(0, 1, vector(1, 0, 0, 0)))
    assert isinstance(commit(store, namespace, more), Committed)


def test_a_loss_that_is_found_takes_no_recovery_from_its_holder(store: RedisStore, namespace: str) -> None:
    """A move to another model holds the namespace while a worker, late, looks at what it had decided."""
    token = store.hold(namespace, store.store_epoch(namespace) or "", 60)
    assert token is not None
    store.end_store_epoch(namespace)
    assert store.still_holds(namespace, token, 60)
    store.recover(namespace, token, None, {})
    assert store.store_epoch(namespace) is not None


def test_a_loss_that_two_workers_find_has_one_recovery(store: RedisStore, namespace: str) -> None:
    store.end_store_epoch(namespace)
    token = store.begin_recovery(namespace)
    store.end_store_epoch(namespace)
    assert store.begin_recovery(namespace) == token
