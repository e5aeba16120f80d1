"""What both stores promise about retirement: what goes, what stays, and that nobody trips over what went."""

from __future__ import annotations

import uuid
from dataclasses import replace

import numpy as np
import pytest

from questream.clustering.merging import Merge
from questream.clustering.mirror import ClusterRemoved
from questream.errors import RecoveryNeeded
from questream.store.protocol import ClusterUpdate, Committed, Replayed, Restored, Stale, Store
from questream.store.retention import Retention
from tests.contract.test_store import (
    IDENTITY,
    batch,
    commit,
    creation,
    join,
    merge,
    proposal,
    recover,
    row,
    tail,
    vector,
)
from tests.kit.store_calls import confirm_one

MINUTE = 60_000
IDLE_TWO_MINUTES = Retention(idle_seconds=120)


@pytest.fixture
def namespace(store: Store) -> str:
    name = f"retirement-{uuid.uuid4().hex[:8]}"
    store.open(name, IDENTITY)
    recover(store, name)
    return name


def create(store: Store, namespace: str, *seen_at: int, joins: int = 1) -> None:
    """One more cluster of `joins` questions for each time it was seen at."""
    for at in seen_at:
        mirror = store.load(namespace)
        offset, cluster_id = store.ledger(namespace, "questions", 0).head + 1, mirror.next_id
        rows = [row(offset + i, cluster_id, created=i == 0, rank=i + 1) for i in range(joins)]
        touch = creation(cluster_id, vector(joins, 0, 0, 0), joins, at)
        assert isinstance(commit(store, namespace, proposal(touch, rows=batch(*rows), seq=mirror.seq)), Committed)


def join_again(store: Store, namespace: str, cluster_id: int, seen_at: int) -> None:
    mirror = store.load(namespace)
    members = mirror.member_count(cluster_id)
    touch = join(cluster_id, members, vector(members + 1, 0, 0, 0), seen_at)
    offset = store.ledger(namespace, "questions", 0).head + 1
    rows = batch(row(offset, cluster_id))
    assert isinstance(commit(store, namespace, proposal(touch, rows=rows, seq=mirror.seq)), Committed)


def live(store: Store, namespace: str) -> list[int]:
    ids = [state.cluster_id for state in store.clusters(namespace)]
    assert sorted(store.load(namespace).row_of) == ids
    return ids


def test_what_is_idle_in_stream_time_leaves_the_index(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 4 * MINUTE, 5 * MINUTE)
    seq = store.load(namespace).seq
    assert store.retire(namespace, IDLE_TWO_MINUTES, 100).ids == {"idle": [1]}
    assert live(store, namespace) == [2, 3]
    assert tail(store, namespace, seq).changes == [ClusterRemoved(1)]
    assert store.retire(namespace, IDLE_TWO_MINUTES, 100).count == 0
    assert store.load(namespace).seq == seq + 1


def test_a_question_keeps_its_cluster_whatever_the_order_of_timestamps(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 3 * MINUTE)
    join_again(store, namespace, 1, 8 * MINUTE)
    join_again(store, namespace, 1, 2 * MINUTE)
    assert store.retire(namespace, IDLE_TWO_MINUTES, 100).ids == {"idle": [2]}


def test_nothing_goes_where_nothing_is_set_or_the_stream_stands_still(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 900 * MINUTE)
    assert store.retire(namespace, Retention(), 100).count == 0
    assert Retention().is_unlimited
    for _ in range(3):
        assert store.retire(namespace, Retention(idle_seconds=899 * 60 + 1), 100).count == 0


def test_a_namespace_without_clusters_has_nothing_to_retire(store: Store, namespace: str) -> None:
    assert store.retire(namespace, Retention(1, 1, 1, 2), 100).count == 0


def test_without_timestamps_nothing_has_an_age(store: Store, namespace: str) -> None:
    create(store, namespace, 0, 0, 0, 500 * MINUTE)
    assert store.retire(namespace, IDLE_TWO_MINUTES, 100).count == 0
    assert store.retire(namespace, Retention(max_clusters=2), 100).count == 2
    assert 4 in live(store, namespace)


def test_a_single_question_keeps_its_cluster_for_a_shorter_time(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 2 * MINUTE, 3 * MINUTE)
    create(store, namespace, MINUTE, joins=2)
    join_again(store, namespace, 2, 2 * MINUTE)
    create(store, namespace, 10 * MINUTE)
    assert store.retire(namespace, Retention(singleton_seconds=120), 100).ids == {"singleton": [1, 3]}
    assert live(store, namespace) == [2, 4, 5]
    assert store.retire(namespace, Retention(idle_seconds=8.5 * 60, singleton_seconds=120), 100).ids == {"idle": [4]}


def test_a_label_or_a_route_keeps_a_cluster_and_hides_nothing_behind_it(store: Store, namespace: str) -> None:
    create(store, namespace, *(MINUTE * n for n in (1, 2, 3, 4, 5, 90)))
    store.label(namespace, 1, "lost card", None)
    store.label(namespace, 2, None, "team-cards")
    store.label(namespace, 4, "fees", None)
    gone = [i for _ in range(8) for i in store.retire(namespace, IDLE_TWO_MINUTES, 1).ids.get("idle", [])]
    assert gone == [3, 5]
    assert store.retire(namespace, Retention(singleton_seconds=60, max_clusters=2), 100).count == 0
    store.label(namespace, 2, None, "")
    gone = [i for _ in range(8) for i in store.retire(namespace, IDLE_TWO_MINUTES, 1).ids.get("idle", [])]
    assert gone == [2]
    assert live(store, namespace) == [1, 4, 6]


def test_room_is_made_by_singletons_of_the_older_half_and_then_by_the_longest_idle(
    store: Store, namespace: str
) -> None:
    create(store, namespace, MINUTE, joins=3)  # 1
    create(store, namespace, 2 * MINUTE, 3 * MINUTE)  # 2, 3
    create(store, namespace, 4 * MINUTE, joins=2)  # 4
    create(store, namespace, 5 * MINUTE, 6 * MINUTE)  # 5, 6
    assert store.retire(namespace, Retention(max_clusters=6), 100).count == 0
    assert store.retire(namespace, Retention(max_clusters=5), 100).ids == {"full": [2]}
    assert store.retire(namespace, Retention(max_clusters=3), 100).ids == {"full": [3, 1]}
    assert live(store, namespace) == [4, 5, 6]


def test_a_limit_bounds_the_work_of_one_call(store: Store, namespace: str) -> None:
    create(store, namespace, *range(1000, 1600, 100), 900 * MINUTE)
    assert store.retire(namespace, Retention(max_clusters=2), 2).count == 2
    while store.retire(namespace, Retention(max_clusters=2), 2).count:
        pass
    assert live(store, namespace) == [6, 7]


def test_a_retired_cluster_takes_no_question_no_merge_and_no_label(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 9 * MINUTE)
    seq = store.load(namespace).seq
    store.retire(namespace, IDLE_TWO_MINUTES, 100)
    for touch in (join(1, 1, vector(2, 0, 0, 0)), ClusterUpdate(1, 1, 1, 1, None, 10 * MINUTE)):
        reply = commit(store, namespace, proposal(touch, rows=batch(row(2, 1)), seq=seq))
        assert isinstance(reply, Stale)
        assert reply.missed.changes == [ClusterRemoved(1)]
    assert merge(store, namespace, seq, [Merge(1, 2, 1, 1, vector(2, 0, 0, 0))]).applied == []
    with pytest.raises(KeyError):
        store.label(namespace, 1, "late", None)
    again = proposal(creation(1, vector(1, 0, 0, 0)), rows=batch(row(2, 1, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, again), Stale)
    assert store.load(namespace).next_id == 3


def test_a_recorded_decision_outlives_its_cluster(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 9 * MINUTE)
    store.retire(namespace, IDLE_TWO_MINUTES, 100)
    seq = store.load(namespace).seq
    replayed = commit(
        store, namespace, proposal(creation(3, vector(1, 0, 0, 0)), rows=batch(row(0, 3, created=True)), seq=seq)
    )
    assert isinstance(replayed, Replayed)
    decision = replayed.ledgers["questions", 0].decisions[0]
    assert (decision.cluster_id, decision.outcome, decision.cluster_size) == (1, "created", 1)


def confirm_all(store: Store, namespace: str) -> list[int]:
    """Publish what waits; returns the ids."""
    waiting = store.unpublished(namespace, 0, 100)
    published = dict.fromkeys(waiting, 0)
    whole = store.namespace_state(namespace)
    assert whole is not None
    published |= {state.cluster_id: state.revision for state in store.states(namespace, waiting)}
    confirm_one(
        store,
        namespace,
        [(i, whole.revision if i == 0 else revision) for i, revision in published.items()],
        {},
        store.outbox_position(namespace),
    )
    return sorted(waiting)


def test_a_tombstone_waits_in_the_outbox_until_earlier_states_are_out(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 9 * MINUTE)
    before = store.cluster(namespace, 1)
    assert before is not None
    store.retire(namespace, Retention(idle_seconds=120, tombstone_seconds=60), 100)
    # A worker that published the cluster's creation a moment after.
    confirm_one(store, namespace, [(1, before.revision)], {}, store.outbox_position(namespace))
    assert 1 not in store.unpublished(namespace, 0, 100)
    create(store, namespace, 20 * MINUTE)
    confirm_all(store, namespace)
    store.retire(namespace, IDLE_TWO_MINUTES, 100)
    assert confirm_all(store, namespace) == [2]
    assert confirm_all(store, namespace) == []


def test_an_earlier_state_that_is_published_late_brings_the_tombstone_back(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 9 * MINUTE)
    before = store.cluster(namespace, 1)
    assert before is not None
    store.retire(namespace, IDLE_TWO_MINUTES, 100)
    assert 1 in confirm_all(store, namespace)
    confirm_one(store, namespace, [(1, before.revision)], {}, store.outbox_position(namespace))
    (state,) = store.states(namespace, store.unpublished(namespace, 0, 100))
    assert (state.event, state.vector_sum, state.representative) == ("retired", None, None)
    assert confirm_all(store, namespace) == [1]


def merge_two_into_one(store: Store, namespace: str) -> None:
    seq = store.load(namespace).seq
    assert merge(store, namespace, seq, [Merge(1, 2, 1, 1, vector(2, 0, 0, 0))]).applied


def test_an_alias_goes_when_the_operator_says_and_never_before(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 2 * MINUTE)
    merge_two_into_one(store, namespace)
    create(store, namespace, 9 * MINUTE)
    assert store.retire(namespace, Retention(idle_seconds=120), 100).ids == {"idle": [1]}
    alias = store.cluster(namespace, 2)
    assert alias is not None
    assert (alias.event, alias.merged_into) == ("merged", 1)
    with pytest.raises(KeyError):
        store.label(namespace, 2, "late", None)
    assert store.retire(namespace, Retention(alias_seconds=8 * 60), 100).count == 0
    seq = store.load(namespace).seq
    assert store.retire(namespace, Retention(alias_seconds=7 * 60), 100).ids == {"alias": [2]}
    assert store.load(namespace).seq == seq
    alias = store.cluster(namespace, 2)
    assert alias is not None
    assert (alias.event, alias.merged_into) == ("retired", None)
    assert 2 in store.unpublished(namespace, 0, 100)


def test_a_merged_singleton_is_none_any_more(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 2 * MINUTE)
    merge_two_into_one(store, namespace)
    create(store, namespace, 90 * MINUTE)
    assert store.retire(namespace, Retention(singleton_seconds=60), 100).count == 0


def test_many_go_in_one_call_and_the_mirror_follows(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE)
    mirror = store.load(namespace)
    cluster_updates = [creation(i, np.eye(4, dtype=np.float32)[i % 4], seen_at=i) for i in range(2, 902)]
    rows = batch(*(row(i, i, created=True) for i in range(2, 902)))
    assert isinstance(commit(store, namespace, proposal(*cluster_updates, rows=rows, seq=mirror.seq)), Committed)
    missed = tail(store, namespace, mirror.seq)
    assert missed.changes is not None
    mirror.apply(missed.changes)
    assert store.retire(namespace, Retention(max_clusters=100), 4096).count == 801
    late = tail(store, namespace, missed.seq)
    assert late.changes is not None
    mirror.apply(late.changes)
    assert sorted(mirror.row_of) == live(store, namespace) == [1, *range(803, 902)]


def test_what_is_put_back_retires_as_if_it_had_never_been_lost(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 2 * MINUTE, 3 * MINUTE, 9 * MINUTE)
    merge_two_into_one(store, namespace)
    kept = [Restored(replace(state, revision=state.revision + 1)) for state in store.states(namespace, [1, 2, 3])]
    other = f"{namespace}-again"
    store.open(other, IDENTITY)
    token = store.begin_recovery(other)
    assert store.restore(other, token, kept) == 3
    store.recover(other, token, store.namespace_state(namespace), {})
    create(store, other, 9 * MINUTE)
    assert store.retire(other, Retention(singleton_seconds=60, alias_seconds=60), 100).ids == {
        "singleton": [3],
        "alias": [2],
    }
    assert live(store, other) == [1, 5]


def test_a_tombstone_takes_what_a_store_had_forgotten_to_retire(store: Store, namespace: str) -> None:
    create(store, namespace, MINUTE, 2 * MINUTE, 9 * MINUTE)
    merge_two_into_one(store, namespace)
    create(store, namespace, 9 * MINUTE)
    store.require_recovery(namespace)
    with pytest.raises(RecoveryNeeded):
        store.retire(namespace, IDLE_TWO_MINUTES, 100)
    (one, two, three) = store.states(namespace, [1, 2, 3])
    retired = [Restored(replace(state, event="retired")) for state in (one, two, three)]
    token = store.begin_recovery(namespace)
    assert store.restore(namespace, token, retired) == 3
    store.recover(namespace, token, None, {})
    assert live(store, namespace) == [4]
    assert store.retire(namespace, Retention(singleton_seconds=1, alias_seconds=1, max_clusters=2), 100).count == 0
