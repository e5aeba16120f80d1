"""Any field or key of a namespace in Redis removed or made unreadable: each call works or says that memory was lost."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from questream.clustering.merging import Merge
from questream.domain import ClusterState, NamespaceState
from questream.errors import RecoveryNeeded
from questream.store.protocol import Committed, Restored, Stale
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

CLUSTER_FIELDS = ("members", "sum", "size", "revision", "created", "seen", "representative", "label", "joins")
META_FIELDS = (
    *("seq", "next", "mean_questions", "mean_sum", "live", "live_seq", "dimension", "similarity", "threshold"),
    *("layout", "outdated_count", "turns", "generation", "home", "linkage", "model", "revision", "rules", "settings"),
    *("input_topic", "cluster_topic", "incarnation", "prepared_by", "operation_count", "operations_published"),
)


def _spoilt(name: str, field: str) -> dict[str, Damage]:
    return {
        f"{name} {field} gone": lambda client, at: client.hdel(KEYS.named(at, name), field),
        f"{name} {field} is text": lambda client, at: client.hset(KEYS.named(at, name), field, "garbage"),
        f"{name} {field} is no text": lambda client, at: client.hset(KEYS.named(at, name), field, b"\xff{garbage"),
    }


def _all_fields(name: str) -> Damage:
    def damage(client: Any, at: str) -> None:
        key = KEYS.named(at, name)
        client.hset(key, mapping=dict.fromkeys(client.hkeys(key), b"\xff{garbage"))

    return damage


def _ledger(at: str) -> str:
    return KEYS.ledger(at, "questions", 0)


def _string(name: str) -> Damage:
    return lambda client, at: (client.delete(KEYS.named(at, name)), client.set(KEYS.named(at, name), "garbage"))


def _members(name: str) -> dict[str, Damage]:
    return {
        f"{name} names a text": lambda client, at: client.zadd(KEYS.named(at, name), {"garbage": 1}),
        f"{name} is gone": lambda client, at: client.delete(KEYS.named(at, name)),
        f"{name} is a string": _string(name),
    }


DAMAGES: dict[str, Damage] = {
    **{text: damage for field in CLUSTER_FIELDS for text, damage in _spoilt("cluster:1", field).items()},
    **{text: damage for field in META_FIELDS for text, damage in _spoilt("meta", field).items()},
    **{text: damage for name in ("idle", "outbox", "singletons", "aliases") for text, damage in _members(name).items()},
    "cluster 1 has a binary sum": lambda client, at: client.hset(KEYS.cluster(at, 1), "sum", b"\xff\x00{"),
    "cluster 1 has a fraction of a size": lambda client, at: client.hset(KEYS.cluster(at, 1), "size", "1.5"),
    "the next number is a fraction": lambda client, at: client.hset(KEYS.of(at, "meta"), "next", "1.5"),
    "the dimension is a fraction": lambda client, at: client.hset(KEYS.of(at, "meta"), "dimension", "1.5"),
    "cluster 1 has no members": lambda client, at: client.hset(KEYS.cluster(at, 1), "members", 0),
    "cluster 1 joins are numbers": lambda client, at: client.hset(KEYS.cluster(at, 1), "joins", '{"questions/0":7}'),
    "cluster 3 has a size only": lambda client, at: client.hset(KEYS.cluster(at, 3), "size", "garbage"),
    "cluster 1 is merged into a text": lambda client, at: client.hset(KEYS.cluster(at, 1), "merged_into", "garbage"),
    "the log is of texts": lambda client, at: client.xadd(KEYS.of(at, "log"), {"moved": "garbage"}),
    "nothing of meta is text": _all_fields("meta"),
    "nothing of cluster 1 is text": _all_fields("cluster:1"),
    "meta is a string": _string("meta"),
    "the log is a string": _string("log"),
    "a ledger ends with a text": lambda client, at: client.rpush(_ledger(at), "garbage"),
    "a ledger has no JSON": lambda client, at: client.rpush(_ledger(at), "3 3 {garbage}"),
    "a ledger has other JSON": lambda client, at: client.rpush(_ledger(at), '3 3 {"rows":[[1]]}'),
    "a ledger is a string": lambda client, at: (client.delete(_ledger(at)), client.set(_ledger(at), "garbage")),
}


def _calls(store: RedisStore, at: str, seq: int) -> list[Callable[[], object]]:
    return [
        lambda: commit(store, at, proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=seq)),
        lambda: commit(
            store, at, proposal(creation(3, vector(0, 0, 1, 0)), rows=batch(row(4, 3, created=True)), seq=seq)
        ),
        lambda: merge(store, at, seq, [Merge(1, 2, 2, 1, vector(2, 1, 0, 0))]),
        lambda: tail(store, at, seq),
        lambda: store.load(at),
        lambda: store.states(at, [1, 2]),
        lambda: store.cluster(at, 1),
        lambda: list(store.clusters(at)),
        lambda: list(store.summaries(at)),
        lambda: store.revisions(at, [1, 2]),
        lambda: store.namespace_state(at),
        lambda: store.unpublished(at, 0.0, 100),
        lambda: verify_one(store, at, [(0, 1), (1, 1), (2, 7)]),
        lambda: confirm_one(store, at, [(0, 1), (1, 1), (2, 7)], {("questions", 0): 1}, store.outbox_position(at)),
        lambda: store.ledger(at, "questions", 0),
        lambda: store.cut_ledger(at, "questions", 0, 2),
        lambda: store.heads(at, [("questions", 0)]),
        lambda: store.label(at, 1, "cards", "desk"),
        lambda: store.retire(at, Retention(max_clusters=1), 10),
        lambda: store.open(at, IDENTITY),
    ]


# Those of these two are another model: refused by its name.
@pytest.mark.parametrize(
    "damage", [name for name in DAMAGES if name not in ("meta model is text", "meta revision is text")]
)
def test_what_cannot_be_read_is_a_lost_memory_and_nothing_else(
    store: RedisStore, client: Any, namespace: str, damage: str
) -> None:
    seq = create_two(store, namespace).seq
    told = list(store.clusters(namespace))
    kept = {key: client.dump(key) for key in client.keys(KEYS.named(namespace, "*"))}
    for call in range(len(_calls(store, namespace, seq))):
        client.delete(*client.keys(KEYS.named(namespace, "*")))
        for key, dump in kept.items():
            client.restore(key, 0, dump)
        DAMAGES[damage](client, namespace)
        with suppress(RecoveryNeeded):
            _calls(store, namespace, seq)[call]()
        _restore(store, namespace, told)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_namespace_is_recovered_that_nobody_has_opened_since(
    store: RedisStore, client: Any, namespace: str, damage: str
) -> None:
    seq = create_two(store, namespace).seq
    told, whole = list(store.clusters(namespace)), store.namespace_state(namespace)
    DAMAGES[damage](client, namespace)
    with suppress(RecoveryNeeded):
        store.store_epoch(namespace)
    store.require_recovery(namespace)
    _put_back(store, namespace, told, whole)
    store.prepared_by(namespace)
    store.topics(namespace)
    store.open(namespace, IDENTITY)
    assert store.store_epoch(namespace) is not None
    assert isinstance(_calls(store, namespace, seq)[0](), Committed | Stale)


def _restore(store: RedisStore, namespace: str, told: list[ClusterState]) -> None:
    """As recovery does: look at what stands, put back what is cut short, recover."""
    store.require_recovery(namespace)
    store.open(namespace, IDENTITY)
    _put_back(store, namespace, told, None)


def _put_back(store: RedisStore, namespace: str, told: list[ClusterState], whole: NamespaceState | None) -> None:
    token = store.begin_recovery(namespace)
    mended = store.mend(namespace, token, [1, 2], None)
    lost = [Restored(state, damaged=True) for state in told if state.cluster_id in mended.damaged]
    store.restore(namespace, token, lost)
    stored = store.namespace_state(namespace)
    store.recover(namespace, token, whole or stored, {("questions", 0): 2})
    mirror = store.load(namespace)
    assert set(mirror.row_of) <= {1, 2, 3}
    for number in mirror.row_of:
        assert mirror.member_count(number) > 0
    for state in store.clusters(namespace):
        assert state.size > 0
        assert state.revision > 0
    store.ledger(namespace, "questions", 0)
    store.unpublished(namespace, 0.0, 100)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        *((name, "garbage") for name in ("created", "seen", "joins", "size", "revision", "members")),
        ("joins", '{"questions/0":7}'),
        ("joins", '{"questions/0":["x"]}'),
        ("members", "0"),
    ],
)
def test_a_cluster_that_cannot_be_read_is_left_as_it_was(
    store: RedisStore, client: Any, namespace: str, field: str, text: str
) -> None:
    seq = create_two(store, namespace).seq
    client.hset(KEYS.cluster(namespace, 1), field, text)
    before = client.hgetall(KEYS.cluster(namespace, 1)), client.lrange(_ledger(namespace), 0, -1)
    for call in (0, 2):
        with pytest.raises(RecoveryNeeded, match="lost"):
            _calls(store, namespace, seq)[call]()
        assert (client.hgetall(KEYS.cluster(namespace, 1)), client.lrange(_ledger(namespace), 0, -1)) == before
        recover(store, namespace)


@pytest.mark.parametrize("key", [KEYS.namespaces, KEYS.streams])
def test_a_key_of_all_namespaces_that_is_of_another_type_begins_anew(
    store: RedisStore, client: Any, namespace: str, key: str
) -> None:
    client.delete(KEYS.streams, key)
    client.set(key, "garbage")
    assert (namespace in store.namespaces()) == (key != KEYS.namespaces)
    store.open(namespace, IDENTITY)
    assert namespace in store.namespaces()
    assert store.stream("questions", "one") == ("questions", True)
    client.delete(key)


@pytest.mark.parametrize("field", ["model", "revision", "input_topic", "cluster_topic", "incarnation"])
def test_a_field_that_is_no_text_is_put_back(store: RedisStore, client: Any, namespace: str, field: str) -> None:
    seq = create_two(store, namespace).seq
    client.hset(KEYS.of(namespace, "meta"), field, b"\xff\xfe")
    with suppress(RecoveryNeeded):
        store.store_epoch(namespace)
    store.open(namespace, IDENTITY)
    recover(store, namespace)
    assert b"\xff\xfe" not in client.hgetall(KEYS.of(namespace, "meta")).values()
    assert isinstance(_calls(store, namespace, seq)[0](), Committed)


def test_a_whole_namespace_is_decided_after_all_that(store: RedisStore, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    assert isinstance(_calls(store, namespace, seq)[0](), Committed)
