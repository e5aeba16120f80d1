"""What `store/redis/keys.py` tells of every key, held against the scripts and the keys of a namespace in use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from questream.settings.tree import DEFAULT_PREFIX
from questream.store.protocol import MadeName, StoredLevels
from questream.store.redis.keys import KINDS, Kind
from questream.store.redis.store import RedisStore
from questream.store.retention import Retention
from tests.contract.on_redis import client, namespace, store
from tests.contract.test_store import create_third, create_two, merge, merge_one_and_two
from tests.kit.store_calls import verify_one

__all__ = ["client", "namespace", "store"]
LUA = Path(__file__).parents[2] / "src" / "questream" / "store" / "redis" / "lua"
NOT_SCRIPTS = {"prelude", "writing"}
WRITES = "HSET|HDEL|HINCRBY|ZADD|ZREM|SADD|XADD|RPUSH|LPOP"
# Fields of hashes are given by name where a kind has a known set of them.
OWN_FIELDS = {"meta", "cluster:ID", "levels"}


def kind_of(key: str, namespace: str) -> list[Kind]:
    def pattern(kind: Kind) -> str:
        text = re.escape(kind.pattern)
        for part, means in (("PREFIX", DEFAULT_PREFIX), (re.escape("{NAMESPACE}"), re.escape("{" + namespace + "}"))):
            text = text.replace(part, means)
        return re.sub(r"ID|TOPIC|PARTITION", "[^:]+", text)

    return [kind for kind in KINDS if re.fullmatch(pattern(kind), key)]


def use_everything(store: RedisStore, namespace: str) -> None:
    create_two(store, namespace)
    seq = create_third(store, namespace, 2)
    store.label(namespace, 3, "cards", "team-cards")
    merge(store, namespace, seq, [merge_one_and_two(store, namespace)])
    verify_one(store, namespace, [(1, 99)])
    store.note_settings(namespace, "worker", b"{}", 60.0)
    store.take_home(namespace, b"home")
    store.retire(namespace, Retention(alias_seconds=0), 10)
    store.stream("questions", "identity")
    store.lease_levels(namespace, "worker", 60.0)
    store.write_levels(namespace, store.store_epoch(namespace) or "", StoredLevels())
    store.confirm_levels(namespace, store.levels(namespace).version)
    store.write_names(namespace, store.store_epoch(namespace) or "", {1: MadeName("Cards", "model", 1, 3, "00")})
    store.count_sentences(namespace, 1, {"0f" * 8: 1})


def test_every_key_and_field_is_told(store: RedisStore, namespace: str, client: Any) -> None:
    use_everything(store, namespace)
    keys = [key.decode() for key in client.scan_iter(f"{DEFAULT_PREFIX}:{{{namespace}}}:*")]
    assert {"meta", "log", "idle", "singletons", "outbox"} <= {key.rpartition(":")[2] for key in keys}
    for key in [*keys, f"{DEFAULT_PREFIX}:namespaces", f"{DEFAULT_PREFIX}:streams"]:
        (kind,) = kind_of(key, namespace)
        assert client.type(key).decode() == kind.type
        if kind.pattern.partition("}:")[2] in OWN_FIELDS:
            told = set(re.findall(r"\w+", kind.holds))
            # Of a field for each partition the table tells the first word.
            assert {field.decode().partition(":")[0] for field in client.hgetall(key)} <= told


def test_a_name_that_is_taken_back_leaves_no_field(store: RedisStore, namespace: str, client: Any) -> None:
    epoch = store.store_epoch(namespace) or ""
    store.write_names(namespace, epoch, {1: MadeName("Cards", "model", 1, 3, "00")})
    store.write_names(namespace, epoch, {1: None})
    assert client.hkeys(f"{DEFAULT_PREFIX}:{{{namespace}}}:names") == [b"changes"]


def test_of_a_deleted_namespace_three_fields_are_left(store: RedisStore, namespace: str, client: Any) -> None:
    use_everything(store, namespace)
    token = store.hold(namespace, store.store_epoch(namespace) or "", 60)
    assert token is not None
    assert store.delete(namespace, token)
    meta = f"{DEFAULT_PREFIX}:{{{namespace}}}:meta"
    assert list(client.scan_iter(f"{DEFAULT_PREFIX}:{{{namespace}}}:*")) == [meta.encode()]
    assert client.hgetall(meta).keys() <= {b"next", b"operation_count", b"home"}
    assert not client.sismember(f"{DEFAULT_PREFIX}:namespaces", namespace)


@pytest.mark.parametrize("kind", KINDS, ids=[kind.pattern for kind in KINDS])
def test_the_scripts_that_write_a_key_are_told(kind: Kind) -> None:
    scripts = {path.stem: path.read_text() for path in LUA.glob("*.lua") if path.stem not in NOT_SCRIPTS}
    told = set(kind.written_by.partition(";")[0].split())
    assert told <= scripts.keys()
    # Clusters and the ledgers are several keys of one script, which calls them by other names too.
    local = re.sub(r".*:(?=\w)", "", kind.pattern) + "_key"
    writes = re.compile(rf"'(?:{WRITES})', {local}\b|open_log\([^)]*\b{local}\b")
    assert {name for name, text in scripts.items() if writes.search(text)} <= told
