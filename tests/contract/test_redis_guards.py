"""The guards of the scripts that only Redis has: keys changed by another hand, two callers at once, another process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import redis.exceptions

from questream.clustering.kept_members import KeptMember, KeptMembers
from questream.clustering.merging import Merge
from questream.domain import retired_cluster
from questream.errors import AnotherStore, NamespaceRefused, RecoveryNeeded
from questream.store.protocol import LAYOUT, Committed, MadeName, Restored, Waiting
from questream.store.redis.store import RedisStore
from questream.store.retention import Retention
from tests.contract.on_redis import KEYS, client, namespace, store
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
    vector,
)

__all__ = ["client", "namespace", "store"]

JOIN = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)))


def settling(store: RedisStore, namespace: str) -> str:
    store.require_recovery(namespace)
    return store.begin_recovery(namespace)


def test_a_namespace_that_moved_away_is_settled_by_nobody(store: RedisStore, namespace: str) -> None:
    store.move_away(namespace)
    with pytest.raises(AnotherStore):
        store.begin_recovery(namespace)


def test_an_incarnation_is_that_of_one_process_and_one_time_as_master(
    store: RedisStore, client: Any, namespace: str
) -> None:
    meta = KEYS.of(namespace, "meta")
    process, nonce = client.hget(meta, "incarnation").decode().split(":")
    run_id, replication_id = process.split(".")
    for other in (f"{'0' * 40}.{replication_id}", f"{run_id}.{'0' * 40}"):
        client.hset(meta, "incarnation", f"{other}:{nonce}")
        assert store.store_epoch(namespace) is None
    client.hset(meta, "incarnation", f"{process}:{nonce}")
    assert store.store_epoch(namespace) == f"{process}:{nonce}"


def test_a_log_that_lost_changes_is_noticed_by_its_number_alone(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    pair = [Merge(1, 2, 2, 1, vector(2, 1, 0, 0))]
    calls: list[Callable[[int], object]] = [
        lambda seq: commit(store, namespace, replace(JOIN, seq=seq)),
        lambda seq: merge(store, namespace, seq, pair),
    ]
    for call in calls:
        seq = store.load(namespace).seq
        client.delete(KEYS.of(namespace, "log"))
        client.hincrby(KEYS.of(namespace, "meta"), "seq", -1)
        with pytest.raises(RecoveryNeeded, match="fewer changes"):
            call(seq)
        recover(store, namespace)


def test_an_index_that_lost_a_cluster_is_noticed_whichever_is_decided(
    store: RedisStore, client: Any, namespace: str
) -> None:
    seq = create_two(store, namespace).seq
    client.zrem(KEYS.of(namespace, "idle"), 2)
    with pytest.raises(RecoveryNeeded, match="the index"):
        commit(store, namespace, replace(JOIN, seq=seq))
    recover(store, namespace)
    client.zadd(KEYS.of(namespace, "idle"), {"2": 1000})
    with pytest.raises(RecoveryNeeded, match="the index"):
        store.retire(namespace, Retention(max_clusters=1), 10)


def test_a_number_below_the_next_opens_no_cluster_a_second_time(store: RedisStore, client: Any, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    client.delete(KEYS.cluster(namespace, 1))
    again = proposal(creation(1, vector(0, 0, 1, 0)), rows=batch(row(3, 1, created=True)), seq=seq)
    with pytest.raises(RecoveryNeeded, match="lost"):
        commit(store, namespace, again)
    assert not client.exists(KEYS.cluster(namespace, 1))


def test_a_cluster_keeps_the_text_that_opened_it(store: RedisStore, namespace: str) -> None:
    create_two(store, namespace)
    assert [state.representative for state in store.clusters(namespace)] == ["question 1?", "question 2?"]


def test_a_ledger_that_moved_on_is_not_cut_by_what_was_read_before(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    ledger = KEYS.ledger(namespace, "questions", 0)
    entries = client.lrange(ledger, 0, -1)
    assert store._scripts["cut_ledger"](keys=[ledger], args=[b"0 0 {}"]) == 0
    assert client.lrange(ledger, 0, -1) == entries


def test_a_cluster_without_its_members_gets_no_label(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    keys = [KEYS.cluster(namespace, 1), KEYS.of(namespace, "outbox"), KEYS.of(namespace, "meta")]
    for field in ("revision", "members"):
        client.hdel(keys[0], field)
        with pytest.raises(redis.exceptions.ResponseError, match="LOST"):
            store._scripts["label"](keys=keys, args=[1, "label", "cards"])
    assert not client.hexists(keys[0], "label")


def test_a_look_at_what_stands_changes_nothing(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    client.zrem(KEYS.of(namespace, "idle"), 1)
    assert store.revisions(namespace, [1, 2, 9]).keys() == {2}
    assert client.zrange(KEYS.of(namespace, "idle"), 0, -1) == [b"2"]


def test_indexes_are_made_to_agree_with_the_clusters(store: RedisStore, client: Any, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    third = proposal(creation(3, vector(0, 0, 1, 0)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, third), Committed)
    merge(store, namespace, seq + 1, [Merge(1, 2, 2, 1, vector(2, 1, 0, 0))])
    for name in ("idle", "singletons", "aliases"):
        client.delete(KEYS.of(namespace, name))
    client.set(KEYS.of(namespace, "idle"), "garbage")
    mended = store.mend(namespace, settling(store, namespace), [1, 2, 3], None)
    assert set(mended.revisions) == {1, 2, 3}
    assert not mended.damaged
    at = {name: client.zrange(KEYS.of(namespace, name), 0, -1) for name in ("idle", "singletons", "aliases")}
    assert at == {"idle": [b"1", b"3"], "singletons": [b"3"], "aliases": [b"2"]}
    client.zadd(KEYS.of(namespace, "singletons"), {"1": 1000})
    store.mend(namespace, settling(store, namespace), [1], None)
    assert client.zscore(KEYS.of(namespace, "singletons"), "1") is None


def test_what_is_left_of_a_retired_cluster_stands_by_its_revision(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    (retired,) = [i for ids in store.retire(namespace, Retention(max_clusters=1), 10).ids.values() for i in ids]
    client.hdel(KEYS.cluster(namespace, retired), "size", "created", "seen")
    assert retired in store.mend(namespace, settling(store, namespace), [1, 2], None).revisions


def test_only_what_an_index_names_is_missing(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    client.delete(KEYS.cluster(namespace, 1))
    assert store.mend(namespace, settling(store, namespace), [1, 2, 9], None).damaged == {1: 0}


def test_nobody_mends_or_restores_what_is_settled_or_of_another_token(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    gone = [Restored(retired_cluster(namespace, 1))]
    token = client.hget(KEYS.of(namespace, "meta"), "incarnation").decode()
    # As after a recovery that was overtaken: its token is still there.
    client.hset(KEYS.of(namespace, "meta"), "settling", token)
    assert store.mend(namespace, token, [1, 2], None).revisions == {}
    assert store.restore(namespace, token, gone) == 0
    settling(store, namespace)
    assert store.mend(namespace, f"{token}x", [1, 2], None).revisions == {}
    assert store.restore(namespace, f"{token}x", gone) == 0
    assert client.exists(KEYS.cluster(namespace, 1))


def test_what_is_restored_takes_the_place_of_keys_of_other_types(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    told = list(store.clusters(namespace))
    for name in ("idle", "outbox", "singletons", "aliases", "cluster:1"):
        client.delete(KEYS.named(namespace, name))
        client.set(KEYS.named(namespace, name), "garbage")
    token = settling(store, namespace)
    assert store.restore(namespace, token, [Restored(state, publish=True, damaged=True) for state in told]) == 2
    store.recover(namespace, token, store.namespace_state(namespace), {("questions", 0): 2})
    back = [(state.cluster_id, state.size, state.members) for state in store.clusters(namespace)]
    assert back == [(state.cluster_id, state.size, state.members) for state in told]
    assert set(store.unpublished(namespace, 0.0, 10)) >= {1, 2}


def test_a_merge_tells_what_was_missed_or_that_the_log_is_trimmed(
    store: RedisStore, client: Any, namespace: str
) -> None:
    seq = create_two(store, namespace).seq
    assert isinstance(commit(store, namespace, replace(JOIN, seq=seq)), Committed)
    wrong = [Merge(1, 2, 9, 1, vector(2, 1, 0, 0)), Merge(1, 2, 3, 9, vector(2, 1, 0, 0))]
    for one in wrong:
        reply = merge(store, namespace, seq, [one])
        assert (reply.applied, len(reply.missed.changes or ())) == ([], 1)
    assert merge(store, namespace, seq + 1, wrong[:1]).missed.changes == []
    client.xtrim(KEYS.of(namespace, "log"), maxlen=0)
    assert merge(store, namespace, seq, wrong[:1]).missed.changes is None


def test_a_merge_keeps_what_either_had_in_flight_and_absorbed(store: RedisStore, client: Any, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    third = proposal(creation(3, vector(0, 0, 1, 0)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, third), Committed)
    client.hdel(KEYS.cluster(namespace, 2), "joins")
    merge(store, namespace, seq + 1, [Merge(2, 3, 1, 1, vector(0, 1, 1, 0))])
    merge(store, namespace, seq + 2, [Merge(1, 2, 2, 2, vector(2, 1, 1, 0))])
    state = store.cluster(namespace, 1)
    assert state is not None
    assert sorted(state.in_flight.absorbed) == [2, 3]
    assert sorted(state.in_flight.joins["questions", 0]) == [0, 2, 3]


def test_what_nobody_ruled_is_not_ruled_by_a_merge(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    merge(store, namespace, store.load(namespace).seq, [Merge(1, 2, 2, 1, vector(2, 1, 0, 0))])
    assert client.hget(KEYS.cluster(namespace, 2), "merged_into") is not None
    assert client.hget(KEYS.cluster(namespace, 1), "ruled") is None


def test_clusters_that_keep_no_references_keep_none_once_they_are_merged(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    merge(store, namespace, store.load(namespace).seq, [Merge(1, 2, 2, 1, vector(2, 1, 0, 0))])
    assert client.hget(KEYS.cluster(namespace, 2), "merged_into") is not None
    assert not client.hexists(KEYS.cluster(namespace, 1), "kept")


def test_meta_of_another_type_begins_anew_and_a_later_layout_is_left(
    store: RedisStore, client: Any, namespace: str
) -> None:
    meta = KEYS.of(namespace, "meta")
    client.hset(meta, "layout", LAYOUT + 1)
    before = client.hgetall(meta)
    with pytest.raises(NamespaceRefused):
        store.open(namespace, replace(IDENTITY, threshold=0.9))
    assert client.hgetall(meta) == before
    client.delete(meta)
    client.set(meta, "garbage")
    store.open(namespace, IDENTITY)
    assert store.store_epoch(namespace) is None


def test_a_recovery_begins_where_meta_is_of_another_type_or_its_home_is_none(
    store: RedisStore, client: Any, namespace: str
) -> None:
    meta = KEYS.of(namespace, "meta")
    store.take_home(namespace, b"1 one here")
    settling(store, namespace)
    assert store.home(namespace) == b"1 one here"
    client.hset(meta, "home", "1")
    settling(store, namespace)
    assert client.hget(meta, "home") is None
    client.delete(meta)
    client.set(meta, "garbage")
    assert store.begin_recovery(namespace)
    assert client.type(meta) == b"hash"


def test_recovery_lease_takes_the_place_of_keys_of_other_types_and_forgets_a_mean_without_its_sum(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    client.hdel(KEYS.of(namespace, "meta"), "mean_sum")
    for key in (KEYS.of(namespace, "outbox"), KEYS.ledger(namespace, "questions", 0)):
        client.delete(key)
        client.set(key, "garbage")
    token = settling(store, namespace)
    store.recover(namespace, token, None, {("questions", 0): 1})
    assert store.ledger(namespace, "questions", 0).head == 1
    assert store.load(namespace).mean_questions == 0
    assert store.unpublished(namespace, 0.0, 10) == []


def test_a_home_that_is_taken_is_kept(store: RedisStore, namespace: str) -> None:
    store.take_home(namespace, b"1 one here")
    store.take_home(namespace, b"2 two there")
    assert store.home(namespace) == b"1 one here"


def test_a_cluster_that_was_seen_again_is_not_retired(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    client.zadd(KEYS.of(namespace, "idle"), {"1": 500_000})
    header = b'{"most":9,"log_entries":100,"index":4,"until":400000,"tombstone_ms":0,"ids":[1,2]}'
    names = ("meta", "log", "outbox", "idle", "singletons", "aliases")
    keys = [*(KEYS.named(namespace, name) for name in names), KEYS.cluster(namespace, 1), KEYS.cluster(namespace, 2)]
    assert store._scripts["retire"](keys=keys, args=[header]) == [2]


def test_what_stands_as_it_was_told_is_published_again_where_that_is_asked(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    told = list(store.clusters(namespace))
    client.delete(KEYS.of(namespace, "outbox"))
    token = settling(store, namespace)
    assert store.restore(namespace, token, [Restored(told[0], publish=True), Restored(told[1])]) == 0
    assert client.zrange(KEYS.of(namespace, "outbox"), 0, -1) == [b"1"]


def test_a_cluster_without_its_revision_is_not_retired(store: RedisStore, client: Any, namespace: str) -> None:
    create_two(store, namespace)
    for number in (1, 2):
        client.hdel(KEYS.cluster(namespace, number), "revision")
    with pytest.raises(RecoveryNeeded, match="lost"):
        store.retire(namespace, Retention(max_clusters=1), 10)
    assert client.zcard(KEYS.of(namespace, "idle")) == 2


def test_levels_of_another_type_keep_nothing_else_from_being_published(
    store: RedisStore, client: Any, namespace: str
) -> None:
    create_two(store, namespace)
    client.set(KEYS.of(namespace, "levels"), "garbage")
    found = store.waiting([namespace], 0.0, 10)[namespace]
    assert isinstance(found, Waiting)
    assert (sorted(found.cluster_ids), found.levels) == ([0, 1, 2], False)


def test_nothing_is_left_of_a_name_that_is_taken_away(store: RedisStore, client: Any, namespace: str) -> None:
    for made in (MadeName("Cards", "model", 1, 3, "00"), None):
        store.write_names(namespace, store.store_epoch(namespace) or "", {1: made})
    assert client.hkeys(KEYS.of(namespace, "names")) == [b"changes"]


def test_where_no_merge_can_be_undone_nothing_is_kept_for_that(client: Any, namespace: str) -> None:
    store = RedisStore(client, undo_seconds=0.0)
    create_two(store, namespace)
    merge(store, namespace, store.load(namespace).seq, [Merge(1, 2, 2, 1, vector(2, 1, 0, 0))])
    assert not client.exists(KEYS.of(namespace, "remains"))
    assert not client.hexists(KEYS.cluster(namespace, 2), "remains")


def test_references_that_cannot_be_read_make_way_for_those_that_join(
    store: RedisStore, client: Any, namespace: str
) -> None:
    seq = create_two(store, namespace).seq
    client.hset(KEYS.cluster(namespace, 1), "kept", "garbage")
    joined = str(KeptMembers.of([KeptMember(("questions", 0, 3), 0.9, "0f")]))
    update = replace(join(1, 2, vector(3, 0, 0, 0)), kept_members=joined)
    assert isinstance(commit(store, namespace, proposal(update, rows=batch(row(3, 1)), seq=seq)), Committed)
    assert client.hget(KEYS.cluster(namespace, 1), "kept").decode() == joined
