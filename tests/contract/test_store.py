"""What both stores promise: the in-memory one and Redis, on redis-server and on the embedded Valkey."""

from __future__ import annotations

import dataclasses
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import redis

from questream.clustering.merging import Merge
from questream.clustering.mirror import ClusterMoved, ClusterRemoved, MeanMoved
from questream.clustering.second_look.features import features
from questream.clustering.second_look.kept import pack
from questream.domain import ClusterState, InFlight, Ruling, RunnerUp, Vector
from questream.errors import (
    IdentityMismatch,
    NamespaceHeld,
    NamespaceOfAnotherStream,
    NamespaceRefused,
    RecoveryNeeded,
    StoreUnavailable,
)
from questream.store.ledger import decide, decide_unmatched
from questream.store.protocol import (
    LAYOUT,
    AskedTurn,
    ClusterUpdate,
    Committed,
    Identity,
    LedgerRow,
    MeanUpdate,
    Merged,
    NamespaceSizes,
    PartitionBatch,
    Proposal,
    Replayed,
    Restored,
    Stale,
    Store,
    StreamTopics,
    Tail,
    Turn,
    Waiting,
)
from questream.store.redis.store import RedisStore
from questream.store.reference.store import MemoryStore
from tests.kit.store_calls import commit_one, confirm_one, verify_one
from tests.kit.stream import wait_until

DIMENSION = 4
# Recovery counts as a change.
FIRST_SEQ = 1
IDENTITY = Identity("model", "r1", DIMENSION, "centred", "average", 0.55)


def recover(store: Store, namespace: str) -> None:
    store.recover(namespace, store.begin_recovery(namespace), None, {})


@pytest.fixture
def namespace(store: Store) -> str:
    name = f"contract-{uuid.uuid4().hex[:8]}"
    store.open(name, IDENTITY)
    recover(store, name)
    return name


def vector(*parts: float) -> Vector:
    return np.array(parts, np.float32)


def row(offset: int, cluster_id: int, *, created: bool = False, rank: int = 1) -> LedgerRow:
    return LedgerRow(offset, cluster_id, 1.0 if created else 0.75, created, rank, RunnerUp(9, 0.25), False)


def unmatched(offset: int, nearest: RunnerUp | None = RunnerUp(1, 0.25)) -> LedgerRow:  # noqa: B008 - frozen
    similarity = None if nearest is None else nearest.similarity
    return LedgerRow(offset, None, similarity, False, 0, nearest, True, 0.5, f"{offset:016x}")


def batch(*rows: LedgerRow, prune_below: int = 0, partition: int = 0) -> PartitionBatch:
    return PartitionBatch("questions", partition, list(rows), prune_below)


def creation(cluster_id: int, total: Vector, joins: int = 1, seen_at: int = 1000) -> ClusterUpdate:
    return ClusterUpdate(cluster_id, joins, 0, joins, total, seen_at, f"question {cluster_id}?")


def proposal(
    *cluster_updates: ClusterUpdate, rows: PartitionBatch, seq: int = 0, mean: MeanUpdate | None = None
) -> Proposal:
    return Proposal("", seq, [rows], list(cluster_updates), mean, "model", 0.55, 123_456)


def commit(store: Store, namespace: str, proposed: Proposal) -> Committed | Stale | Replayed:
    """Commit under the store epoch that stands; a seq of 0 means that of the recovered, still empty namespace."""
    seq = proposed.seq or FIRST_SEQ
    return commit_one(store, namespace, replace(proposed, store_epoch=store.store_epoch(namespace) or "", seq=seq))


def merge(store: Store, namespace: str, seq: int, merges: list[Merge]) -> Merged:
    return store.merge(namespace, store.store_epoch(namespace) or "", seq, merges)


def tail(store: Store, namespace: str, seq: int) -> Tail:
    return store.tail(namespace, store.store_epoch(namespace) or "", seq)


def create_two(store: Store, namespace: str) -> Committed:
    """Clusters 1 (two questions) and 2 (one), offsets 0 to 2."""
    reply = commit(
        store,
        namespace,
        proposal(
            creation(1, vector(2, 0, 0, 0), joins=2),
            creation(2, vector(0, 1, 0, 0)),
            rows=batch(row(0, 1, created=True), row(1, 2, created=True), row(2, 1, rank=2)),
            mean=MeanUpdate(0, 3, vector(2, 1, 0, 0)),
        ),
    )
    assert isinstance(reply, Committed)
    return reply


def join(cluster_id: int, expected: int, total: Vector, seen_at: int = 2000) -> ClusterUpdate:
    return ClusterUpdate(cluster_id, 1, expected, expected + 1, total, seen_at)


def test_a_commit_is_what_a_fresh_mirror_shows(store: Store, namespace: str) -> None:
    reply = create_two(store, namespace)
    assert reply.missed.changes == []
    assert {i: (s.size, s.created_at, s.last_seen_at) for i, s in reply.cluster_rows.items()} == {
        1: (2, 1000, 1000),
        2: (1, 1000, 1000),
    }
    mirror = store.load(namespace)
    assert (mirror.seq, mirror.next_id, mirror.count, mirror.mean_questions) == (reply.seq, 3, 2, 3)
    np.testing.assert_array_equal(mirror.vector_sum(1), vector(2, 0, 0, 0))
    np.testing.assert_array_equal(mirror.mean_sum, vector(2, 1, 0, 0))
    assert mirror.member_count(1) == 2


def test_committing_twice_answers_the_recorded_decisions_and_counts_once(store: Store, namespace: str) -> None:
    first = proposal(creation(1, vector(1, 0, 0, 0)), rows=batch(row(5, 1, created=True)))
    reply = commit(store, namespace, first)
    assert isinstance(reply, Committed)
    again = commit(store, namespace, first)
    assert isinstance(again, Replayed)
    ledger = again.ledgers["questions", 0]
    assert ledger.head == 5
    assert ledger.decisions[5] == decide(first.partitions[0].rows[0], reply.cluster_rows[1], 1, first)
    state = store.cluster(namespace, 1)
    assert state is not None
    assert state.size == 1


def test_a_batch_that_overlaps_the_ledger_changes_nothing(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    overlapping = proposal(
        join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(2, 1), row(3, 1, rank=2)), seq=store.load(namespace).seq
    )
    reply = commit(store, namespace, overlapping)
    assert isinstance(reply, Replayed)
    assert set(reply.ledgers["questions", 0].decisions) == {0, 1, 2}
    assert store.load(namespace).member_count(1) == 2


def test_the_ledger_of_each_partition_is_its_own(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    seq = store.load(namespace).seq
    elsewhere = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(0, 1), partition=7), seq=seq)
    reply = commit(store, namespace, elsewhere)
    assert isinstance(reply, Committed)
    assert set(store.ledger(namespace, "questions", 7).decisions) == {0}
    assert store.ledger(namespace, "questions", 8).head == -1


def test_a_share_of_unknown_words_is_recorded_with_its_decision(store: Store, namespace: str) -> None:
    half = replace(row(0, 1, created=True), unknown_share=0.5)
    proposed = proposal(creation(1, vector(1, 0, 0, 0), joins=2), rows=batch(half, row(1, 1, rank=2)))
    reply = commit(store, namespace, proposed)
    assert isinstance(reply, Committed)
    recorded = store.ledger(namespace, "questions", 0).decisions
    assert {offset: decision.unknown_share for offset, decision in recorded.items()} == {0: 0.5, 1: 0.0}


def test_what_a_second_look_found_is_recorded_with_its_decision(store: Store, namespace: str) -> None:
    passed_over = replace(row(0, 1, created=True), checked_by="features", reason="number")
    looked_at = replace(row(1, 1, rank=2), checked_by="features")
    proposed = proposal(creation(1, vector(1, 0, 0, 0), joins=3), rows=batch(passed_over, looked_at, row(2, 1, rank=3)))
    reply = commit(store, namespace, proposed)
    assert isinstance(reply, Committed)
    recorded = store.ledger(namespace, "questions", 0).decisions
    assert [(recorded[at].checked_by, recorded[at].reason) for at in range(3)] == [
        ("features", "number"),
        ("features", None),
        (None, None),
    ]
    assert recorded[0] == decide(passed_over, reply.cluster_rows[1], 3, proposed)


def test_a_path_is_recorded_with_its_decision(store: Store, namespace: str) -> None:
    one, again = (replace(row(at, 1, created=not at, rank=at + 1), path=("t2", "i5", "c1")) for at in range(2))
    proposed = proposal(
        creation(1, vector(1, 0, 0, 0), joins=2),
        creation(2, vector(0, 1, 0, 0)),
        rows=batch(one, again, row(2, 2, created=True)),
    )
    reply = commit(store, namespace, proposed)
    assert isinstance(reply, Committed)
    recorded = store.ledger(namespace, "questions", 0).decisions
    assert [recorded[at].path for at in range(3)] == [("t2", "i5", "c1"), ("t2", "i5", "c1"), None]
    assert recorded[1] == decide(again, reply.cluster_rows[1], 2, proposed)


ONE_KEPT, OTHER_KEPT = (pack((features(text),)) for text in ("Is 7 enough?", "Why is 7 not enough?"))


def test_what_a_cluster_keeps_for_a_second_look_is_what_mirrors_show(store: Store, namespace: str) -> None:
    first = replace(creation(1, vector(1, 0, 0, 0)), features=ONE_KEPT)
    opened = commit(store, namespace, proposal(first, rows=batch(row(0, 1, created=True))))
    assert isinstance(opened, Committed)
    follower = store.load(namespace)
    assert follower.kept(1) == ONE_KEPT
    joined = commit(store, namespace, proposal(join(1, 1, vector(2, 0, 0, 0)), rows=batch(row(1, 1)), seq=opened.seq))
    assert isinstance(joined, Committed)
    grown = replace(join(1, 2, vector(3, 0, 0, 0)), features=OTHER_KEPT)
    assert isinstance(commit(store, namespace, proposal(grown, rows=batch(row(2, 1)), seq=joined.seq)), Committed)
    (unchanged, changed) = tail(store, namespace, opened.seq).changes or []
    follower.apply([unchanged])
    assert follower.kept(1) == ONE_KEPT
    follower.apply([changed])
    assert follower.kept(1) == store.load(namespace).kept(1) == OTHER_KEPT
    state = store.cluster(namespace, 1)
    assert state is not None
    assert state.features == OTHER_KEPT


def test_a_merge_says_what_the_survivor_keeps_for_a_second_look(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    follower = store.load(namespace)
    proposed = replace(merge_one_and_two(store, namespace), kept=ONE_KEPT)
    assert merge(store, namespace, follower.seq, [proposed]).applied
    follower.apply(tail(store, namespace, follower.seq).changes or [])
    assert follower.kept(1) == store.load(namespace).kept(1) == ONE_KEPT
    survivor, loser = store.cluster(namespace, 1), store.cluster(namespace, 2)
    assert survivor is not None
    assert loser is not None
    assert (survivor.features, loser.features) == (ONE_KEPT, b"")


def test_the_first_stream_of_a_topic_has_its_name_and_any_other_one_of_its_own(store: Store) -> None:
    topic = f"topic-{uuid.uuid4().hex[:8]}"
    assert store.stream(topic, "kafka-1/topic-1/group") == (topic, True)
    assert store.stream(topic, "kafka-1/topic-1/group") == (topic, False)
    others = ["kafka-2/topic-1/group", "kafka-1/topic-2/group", "kafka-1/topic-1/another group"]
    names = [store.stream(topic, other) for other in others]
    assert all(is_new for _, is_new in names)
    assert len({topic, *(name for name, _ in names)}) == 4
    assert [store.stream(topic, other) for other in others] == [(name, False) for name, _ in names]


def test_fingerprints_are_recorded_with_their_decisions(store: Store, namespace: str) -> None:
    rows = [replace(row(at, 1, created=at == 0, rank=at + 1), fingerprint=f"f{at}") for at in range(2)]
    commit(store, namespace, proposal(creation(1, vector(2, 0, 0, 0), joins=2), rows=batch(*rows)))
    ledger = store.ledger(namespace, "questions", 0)
    assert ledger.fingerprints == {0: "f0", 1: "f1"}
    assert ledger.is_of(1, "f1")
    assert not ledger.is_of(1, "f0")


def test_what_was_recorded_without_fingerprints_may_be_of_any_record(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    assert store.ledger(namespace, "questions", 0).is_of(1, "any")


@pytest.mark.parametrize(("offset", "left"), [(0, []), (1, [0]), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (9, [0, 1, 2, 3])])
def test_a_ledger_that_is_cut_keeps_what_lies_before(
    store: Store, namespace: str, offset: int, left: list[int]
) -> None:
    create_two(store, namespace)
    commit(store, namespace, proposal(join(2, 1, vector(0, 2, 0, 0)), rows=batch(row(3, 2, rank=1)), seq=FIRST_SEQ + 1))
    before = store.ledger(namespace, "questions", 0)
    cut = store.cut_ledger(namespace, "questions", 0, offset)
    assert cut == store.ledger(namespace, "questions", 0)
    assert cut.head == min(before.head, offset - 1)
    assert cut.decisions == {at: before.decisions[at] for at in left}
    # What is left counts, and is missed where it goes.
    assert store.sizes(namespace).ledgers.keys() == ({("questions", 0)} if left else set())


def test_after_a_cut_its_offsets_are_decided_anew(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    store.cut_ledger(namespace, "questions", 0, 1)
    again = proposal(join(2, 1, vector(0, 2, 0, 0)), rows=batch(row(1, 2, rank=1)), seq=FIRST_SEQ + 1)
    assert isinstance(commit(store, namespace, again), Committed)
    assert sorted(store.ledger(namespace, "questions", 0).decisions) == [0, 1]


def test_sizes_of_replayed_decisions_are_those_of_the_moment(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    sizes = {offset: d.cluster_size for offset, d in store.ledger(namespace, "questions", 0).decisions.items()}
    assert sizes == {0: 1, 1: 1, 2: 2}


def test_creating_after_others_committed_is_stale_and_tells_what_was_missed(store: Store, namespace: str) -> None:
    committed = create_two(store, namespace)
    late = proposal(creation(1, vector(0, 0, 1, 0)), rows=batch(row(0, 1, created=True), partition=1))
    reply = commit(store, namespace, late)
    assert isinstance(reply, Stale)
    assert reply.missed.seq == committed.seq
    assert reply.missed.changes is not None
    moved = {c.cluster_id: c.members for c in reply.missed.changes if isinstance(c, ClusterMoved)}
    means = [c.questions for c in reply.missed.changes if isinstance(c, MeanMoved)]
    assert (moved, means) == ({1: 2, 2: 1}, [3])
    assert store.ledger(namespace, "questions", 1).head == -1


def test_joining_a_cluster_that_moved_is_stale(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    seq = store.load(namespace).seq
    assert isinstance(
        commit(store, namespace, proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=seq)), Committed
    )
    late = proposal(join(1, 2, vector(2, 0, 1, 0)), rows=batch(row(0, 1), partition=1), seq=seq)
    assert isinstance(commit(store, namespace, late), Stale)


def test_joining_another_cluster_than_the_one_that_moved_is_not_stale(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    seq = store.load(namespace).seq
    commit(store, namespace, proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=seq))
    late = proposal(join(2, 1, vector(0, 2, 0, 0)), rows=batch(row(0, 2), partition=1), seq=seq)
    reply = commit(store, namespace, late)
    assert isinstance(reply, Committed)
    assert reply.missed.changes is not None
    assert [c.cluster_id for c in reply.missed.changes if isinstance(c, ClusterMoved)] == [1]


def stale_turn(store: Store, namespace: str, proposed: Proposal, turn: str = "") -> str:
    reply = commit(store, namespace, replace(proposed, turn=turn))
    assert isinstance(reply, Stale)
    return reply.turn


def test_a_worker_that_lost_too_often_gets_a_turn_in_which_nobody_else_moves_the_log(
    store: Store, namespace: str
) -> None:
    seq = create_two(store, namespace).seq
    late = proposal(creation(1, vector(0, 0, 1, 0)), rows=batch(row(0, 1, created=True), partition=1))
    assert stale_turn(store, namespace, late) == ""
    assert stale_turn(store, namespace, late, "far") == "own"
    current = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=seq)
    opening = proposal(creation(3, vector(0, 0, 0, 1)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert [stale_turn(store, namespace, one) for one in (current, opening)] == ["other", "other"]
    again = proposal(creation(3, vector(0, 0, 1, 0)), rows=batch(row(0, 3, created=True), partition=1), seq=seq)
    assert isinstance(commit(store, namespace, replace(again, turn="far")), Committed)
    assert isinstance(commit(store, namespace, current), Committed)


def test_what_moves_nothing_does_not_wait_for_a_turn(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    late = proposal(creation(1, vector(0, 0, 1, 0)), rows=batch(row(0, 1, created=True), partition=1))
    assert stale_turn(store, namespace, late, "far") == "own"
    counted = proposal(ClusterUpdate(1, 1, 2, 2, None, 5000), rows=batch(row(3, 1)), seq=seq)
    assert isinstance(commit(store, namespace, counted), Committed)


def test_turns_come_in_the_order_they_were_asked_for(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    late = proposal(creation(1, vector(0, 0, 1, 0)), rows=batch(row(0, 1, created=True), partition=1))
    turns = [stale_turn(store, namespace, late, worker) for worker in ("far", "farther", "far", "farther")]
    assert turns == ["own", "other", "own", "other"]
    again = proposal(creation(3, vector(0, 0, 1, 0)), rows=batch(row(0, 3, created=True), partition=1), seq=seq)
    assert isinstance(commit(store, namespace, replace(again, turn="far")), Committed)
    assert stale_turn(store, namespace, late_in(2), "farther") == "own"
    assert stale_turn(store, namespace, late_in(3)) == "other"


def asked_turn(store: Store, namespace: str, seq: int, worker: str) -> Turn:
    asked = AskedTurn(store.store_epoch(namespace) or "", seq, worker)
    reply = store.ask_turns({namespace: asked})[namespace]
    assert isinstance(reply, Turn)
    return reply


def test_a_turn_that_is_asked_for_comes_with_what_was_missed_and_refuses_others(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    mine = asked_turn(store, namespace, FIRST_SEQ, "ada")
    assert (mine.whose, mine.missed.seq) == ("own", seq)
    assert [c.cluster_id for c in mine.missed.changes or () if isinstance(c, ClusterMoved)] == [1, 2]
    assert asked_turn(store, namespace, seq, "bob") == Turn(Tail(seq, []), "other")
    opening = proposal(creation(3, vector(0, 0, 0, 1)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert stale_turn(store, namespace, opening) == "other"
    assert isinstance(commit(store, namespace, replace(opening, turn="ada")), Committed)
    assert asked_turn(store, namespace, seq + 1, "bob").whose == "own"


def test_a_turn_that_is_asked_for_again_and_again_ends_with_its_time(
    store: Store, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = create_two(store, namespace).seq
    for module in ("redis.commits", "reference.commits"):
        monkeypatch.setattr(f"questream.store.{module}.TURN_SECONDS", 0.5)

    def turns() -> list[str]:
        return [asked_turn(store, namespace, seq, worker).whose for worker in ("ada", "bob")]

    assert turns()[0] == "own"
    wait_until(lambda: turns() == ["other", "own"], "the turn of a worker that never commits is over")


@pytest.mark.parametrize("by_commit", [False, True])
def test_a_turn_lasts_as_long_as_it_is_asked_for(
    store: Store, namespace: str, monkeypatch: pytest.MonkeyPatch, by_commit: bool
) -> None:
    seq = create_two(store, namespace).seq
    for module in ("redis.commits", "reference.commits"):
        monkeypatch.setattr(f"questream.store.{module}.TURN_SECONDS", 0.1)
    if by_commit:
        assert stale_turn(store, namespace, replace(late_in(1), turn_stretch=600), "slow") == "own"
    else:
        asked = AskedTurn(store.store_epoch(namespace) or "", seq, "slow", 600)
        assert store.ask_turns({namespace: asked})[namespace] == Turn(Tail(seq, []), "own")
    time.sleep(0.3)
    assert asked_turn(store, namespace, seq, "bob").whose == "other"


def test_a_batch_that_was_decided_before_ends_the_turn_of_its_worker(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    assert asked_turn(store, namespace, seq, "ada").whose == "own"
    assert asked_turn(store, namespace, seq, "bob").whose == "other"
    again = proposal(creation(3, vector(0, 0, 0, 1)), rows=batch(row(0, 3, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, replace(again, turn="ada")), Replayed)
    assert asked_turn(store, namespace, seq, "bob").whose == "own"


def test_a_turn_in_another_store_epoch_is_refused_and_stops_no_other(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    epoch = store.store_epoch(namespace) or ""
    assert isinstance(store.ask_turns({namespace: AskedTurn("another", seq, "ada")})[namespace], RecoveryNeeded)
    assert isinstance(store.ask_turns({namespace: AskedTurn(epoch, seq + 1, "ada")})[namespace], RecoveryNeeded)


def late_in(partition: int) -> Proposal:
    return proposal(creation(1, vector(0, 0, 1, 0)), rows=batch(row(0, 1, created=True), partition=partition))


def test_a_turn_of_a_worker_that_keeps_failing_ends_with_its_time(
    store: Store, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seq = create_two(store, namespace).seq
    for module in ("redis.commits", "reference.commits"):
        monkeypatch.setattr(f"questream.store.{module}.TURN_SECONDS", 0.5)

    def turns() -> list[str]:
        return [stale_turn(store, namespace, late_in(1), "far"), asked_turn(store, namespace, seq, "bob").whose]

    assert turns()[0] == "own"
    wait_until(lambda: turns() == ["other", "own"], "the turn of a worker that always fails is over")


def test_a_frozen_cluster_is_only_counted(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    seq = store.load(namespace).seq
    frozen = ClusterUpdate(1, 3, 2, 2, None, 5000)
    rows = batch(row(3, 1), row(4, 1, rank=2), row(5, 1, rank=3))
    reply = commit(store, namespace, proposal(frozen, rows=rows, seq=seq))
    assert isinstance(reply, Committed)
    assert reply.seq == seq
    assert (reply.cluster_rows[1].size, reply.cluster_rows[1].last_seen_at) == (5, 5000)
    assert store.load(namespace).member_count(1) == 2


def test_a_mean_that_moved_is_stale(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    before = store.load(namespace).seq - 1
    late = replace(
        proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=before),
        mean=MeanUpdate(0, 1, vector(1, 0, 0, 0)),
    )
    assert isinstance(commit(store, namespace, late), Stale)


def test_last_seen_is_the_newest_timestamp_whatever_the_order(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    seq = store.load(namespace).seq
    older = join(1, 2, vector(3, 0, 0, 0), seen_at=10)
    reply = commit(store, namespace, proposal(older, rows=batch(row(3, 1)), seq=seq))
    assert isinstance(reply, Committed)
    assert reply.cluster_rows[1].last_seen_at == 1000


def test_the_ledger_is_pruned_by_offset_and_never_below_its_head(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    total = 2
    for offset in (3, 4, 5):
        total += 1
        seq = store.load(namespace).seq
        touch = join(1, total - 1, vector(total, 0, 0, 0))
        commit(store, namespace, proposal(touch, rows=batch(row(offset, 1), prune_below=offset), seq=seq))
    ledger = store.ledger(namespace, "questions", 0)
    assert (ledger.head, set(ledger.decisions)) == (5, {5})


def merge_one_and_two(store: Store, namespace: str, survivor_members: int = 2) -> Merge:
    return Merge(1, 2, survivor_members, 1, vector(2, 1, 0, 0))


def test_a_merge_keeps_the_survivor_and_points_the_loser_to_it(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    merged = merge(store, namespace, seq, [merge_one_and_two(store, namespace)])
    (applied,) = merged.applied
    assert (applied.survivor.size, applied.loser.size) == (3, 1)
    loser, survivor = store.cluster(namespace, 2), store.cluster(namespace, 1)
    assert loser is not None
    assert survivor is not None
    assert (loser.event, loser.merged_into, loser.vector_sum) == ("merged", 1, None)
    assert (survivor.size, survivor.members, survivor.merged_into) == (3, 3, None)
    assert [state.cluster_id for state in store.clusters(namespace)] == [1]
    assert list(store.summaries(namespace)) == [replace(survivor, vector_sum=None)]
    changes = tail(store, namespace, seq).changes
    assert changes is not None
    assert ClusterRemoved(2) in changes


def test_a_merge_of_clusters_that_moved_is_refused(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    merged = merge(store, namespace, seq, [merge_one_and_two(store, namespace, survivor_members=5)])
    assert (merged.applied, merged.seq) == ([], seq)


def test_merges_in_one_call_build_on_each_other(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    third = proposal(creation(3, vector(1, 0, 0, 0)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, third), Committed)
    chain = [merge_one_and_two(store, namespace), Merge(1, 3, 3, 1, vector(3, 1, 0, 0))]
    assert len(merge(store, namespace, seq + 1, chain).applied) == 2
    survivor = store.cluster(namespace, 1)
    assert survivor is not None
    assert (survivor.size, survivor.members) == (4, 4)


def test_a_merge_that_builds_on_a_refused_one_is_refused(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    third = proposal(creation(3, vector(1, 0, 0, 0)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, third), Committed)
    # Cluster 1 has 3 members by now, as if 2 had been merged into it: the second merge's count fits by accident.
    joined = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(4, 1)), seq=seq + 1)
    assert isinstance(commit(store, namespace, joined), Committed)
    chain = [merge_one_and_two(store, namespace), Merge(1, 3, 3, 1, vector(3, 1, 0, 0))]
    assert merge(store, namespace, seq, chain).applied == []
    np.testing.assert_array_equal(store.load(namespace).vector_sum(1), vector(3, 0, 0, 0))


CARDS = ("card arrival", "cards-team")
KEPT_APART: list[tuple[tuple[str, str], tuple[str, str]]] = [
    (CARDS, ("card delivery", "cards-team")),
    (CARDS, ("card arrival", "delivery-team")),
    (CARDS, ("card arrival", "")),
    (("card arrival", ""), ("", "cards-team")),
    (("", "cards-team"), CARDS),
]


def named(store: Store, namespace: str, one: tuple[str, str], two: tuple[str, str]) -> int:
    """Clusters 1 and 2 with a label and a route each, '' for none; returns the seq."""
    seq = create_two(store, namespace).seq
    for cluster_id, (label, route) in ((1, one), (2, two)):
        if label or route:
            store.label(namespace, cluster_id, label, route)
    return seq


def naming_of(store: Store, namespace: str, cluster_id: int) -> tuple[str, str]:
    (state,) = store.states(namespace, [cluster_id])
    return state.label or "", state.route or ""


@pytest.mark.parametrize(("one", "two"), KEPT_APART)
def test_clusters_whose_labels_or_routes_differ_are_not_merged(
    store: Store, namespace: str, one: tuple[str, str], two: tuple[str, str]
) -> None:
    seq = named(store, namespace, one, two)
    proposed = merge_one_and_two(store, namespace)
    merged = merge(store, namespace, seq, [proposed])
    assert (merged.applied, merged.apart, merged.seq) == ([], [proposed], seq)
    assert (naming_of(store, namespace, 1), naming_of(store, namespace, 2)) == (one, two)


@pytest.mark.parametrize(
    ("one", "two", "survives"),
    [
        (CARDS, ("", ""), CARDS),
        (("", ""), CARDS, CARDS),
        (("", ""), ("card arrival", ""), ("card arrival", "")),
        (("", ""), ("", "cards-team"), ("", "cards-team")),
        (CARDS, CARDS, CARDS),
        (("", ""), ("", ""), ("", "")),
    ],
)
def test_a_label_and_its_route_survive_a_merge_together(
    store: Store, namespace: str, one: tuple[str, str], two: tuple[str, str], survives: tuple[str, str]
) -> None:
    seq = named(store, namespace, one, two)
    merged = merge(store, namespace, seq, [merge_one_and_two(store, namespace)])
    (applied,) = merged.applied
    assert (applied.survivor.label or "", applied.survivor.route or "") == survives
    assert naming_of(store, namespace, applied.merge.survivor) == survives
    assert merged.apart == []


def create_third(store: Store, namespace: str, seq: int, joins: int = 1) -> int:
    """Cluster 3 with `joins` questions; returns the seq."""
    rows = batch(*(row(3 + at, 3, created=at == 0, rank=at + 1) for at in range(joins)))
    third = proposal(creation(3, vector(joins, 0, 0, 0), joins=joins), rows=rows, seq=seq)
    assert isinstance(commit(store, namespace, third), Committed)
    return seq + 1


def test_the_larger_of_two_unnamed_clusters_survives(store: Store, namespace: str) -> None:
    seq = create_third(store, namespace, create_two(store, namespace).seq, joins=3)
    merged = merge(store, namespace, seq, [Merge(1, 3, 2, 3, vector(5, 0, 0, 0))])
    (applied,) = merged.applied
    assert (applied.merge.survivor, applied.merge.loser) == (3, 1)
    assert (applied.survivor.size, applied.loser.size) == (5, 2)
    loser, survivor = store.cluster(namespace, 1), store.cluster(namespace, 3)
    assert loser is not None
    assert survivor is not None
    assert (loser.merged_into, survivor.merged_into, survivor.members) == (3, None, 5)
    changes = tail(store, namespace, seq).changes
    assert changes is not None
    assert ClusterRemoved(1) in changes
    mirror = store.load(namespace)
    assert mirror.member_count(3) == 5
    np.testing.assert_array_equal(mirror.vector_sum(3), vector(5, 0, 0, 0))


def test_the_older_of_two_clusters_of_one_size_survives(store: Store, namespace: str) -> None:
    seq = create_third(store, namespace, create_two(store, namespace).seq, joins=2)
    (applied,) = merge(store, namespace, seq, [Merge(1, 3, 2, 2, vector(4, 0, 0, 0))]).applied
    assert (applied.merge.survivor, applied.merge.loser) == (1, 3)


def test_a_named_cluster_survives_a_larger_one(store: Store, namespace: str) -> None:
    seq = named(store, namespace, ("", ""), ("", "cards-team"))
    (applied,) = merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    assert (applied.merge.survivor, applied.survivor.size, applied.survivor.route) == (2, 3, "cards-team")


def test_of_two_clusters_named_alike_the_larger_survives(store: Store, namespace: str) -> None:
    seq = create_third(store, namespace, named(store, namespace, CARDS, ("", "")), joins=3)
    store.label(namespace, 3, *CARDS)
    (applied,) = merge(store, namespace, seq, [Merge(1, 3, 2, 3, vector(5, 0, 0, 0))]).applied
    assert (applied.merge.survivor, applied.survivor.label, applied.survivor.route) == (3, *CARDS)


def test_merges_in_one_call_follow_what_survived(store: Store, namespace: str) -> None:
    seq = create_third(store, namespace, named(store, namespace, ("", ""), CARDS), joins=4)
    chain = [merge_one_and_two(store, namespace), Merge(1, 3, 3, 4, vector(6, 1, 0, 0))]
    merged = merge(store, namespace, seq, chain)
    assert [(applied.merge.survivor, applied.merge.loser) for applied in merged.applied] == [(2, 1), (2, 3)]
    assert [applied.survivor.size for applied in merged.applied] == [3, 7]
    assert [state.cluster_id for state in store.clusters(namespace)] == [2]


def test_what_an_operator_was_shown_as_the_survivor_survives(store: Store, namespace: str) -> None:
    seq = create_third(store, namespace, named(store, namespace, CARDS, ("", "")), joins=3)
    store.label(namespace, 3, "card delivery", None)
    shown = Merge(1, 3, 2, 3, vector(5, 0, 0, 0), ("card delivery", None))
    (applied,) = merge(store, namespace, seq, [shown]).applied
    assert (applied.merge.survivor, applied.survivor.label) == (1, "card arrival")


def test_a_merge_that_builds_on_one_kept_apart_is_refused(store: Store, namespace: str) -> None:
    seq = named(store, namespace, CARDS, ("card delivery", ""))
    third = proposal(creation(3, vector(1, 0, 0, 0)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, third), Committed)
    chain = [merge_one_and_two(store, namespace), Merge(1, 3, 3, 1, vector(3, 1, 0, 0))]
    merged = merge(store, namespace, seq + 1, chain)
    assert (merged.applied, merged.apart) == ([], chain[:1])


def test_a_merge_in_the_same_call_decides_what_the_next_must_not_mix(store: Store, namespace: str) -> None:
    seq = named(store, namespace, ("", ""), CARDS)
    third = proposal(creation(3, vector(1, 0, 0, 0)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, third), Committed)
    store.label(namespace, 3, "card delivery", None)
    chain = [merge_one_and_two(store, namespace), Merge(1, 3, 3, 1, vector(3, 1, 0, 0))]
    merged = merge(store, namespace, seq + 1, chain)
    # The named one has survived, and stands for the other in what follows.
    assert ([applied.merge for applied in merged.applied], merged.apart) == ([chain[0].of(2, 1)], [chain[1].of(2, 3)])
    assert naming_of(store, namespace, 2) == CARDS


def test_an_operator_drops_just_the_label_and_route_that_were_shown(store: Store, namespace: str) -> None:
    seq = named(store, namespace, CARDS, ("card delivery", "cards-team"))
    shown = replace(merge_one_and_two(store, namespace), dropped=("card delivery", "cards-team"))
    store.label(namespace, 2, None, "")
    assert merge(store, namespace, seq, [shown]).apart == [shown]
    (applied,) = merge(store, namespace, seq, [replace(shown, dropped=("card delivery", None))]).applied
    assert (applied.survivor.label, applied.survivor.route) == CARDS


def test_opening_a_cluster_changes_the_namespace_as_a_whole(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    whole = store.namespace_state(namespace)
    assert whole is not None
    confirm_one(store, namespace, [(0, whole.revision)], {}, store.outbox_position(namespace))
    assert 0 not in store.unpublished(namespace, 0, 10)
    commit(store, namespace, proposal(creation(3, vector(1, 0, 0, 0)), rows=batch(row(3, 3, created=True)), seq=seq))
    assert 0 in store.unpublished(namespace, 0, 10)
    confirm_one(store, namespace, [(0, whole.revision)], {}, store.outbox_position(namespace))
    assert 0 in store.unpublished(namespace, 0, 10)


def test_a_question_for_a_cluster_merged_away_is_stale(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    merge(store, namespace, seq, [merge_one_and_two(store, namespace)])
    frozen_join = ClusterUpdate(2, 1, 1, 1, None, 5000)
    assert isinstance(commit(store, namespace, proposal(frozen_join, rows=batch(row(3, 2)), seq=seq)), Stale)


def test_a_label_binds_later_decisions_and_survives_a_merge(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    state = store.label(namespace, 2, "lost card", "team-cards")
    assert (state.event, state.label, state.route) == ("labelled", "lost card", "team-cards")
    (applied,) = merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    survivor, alias = applied.merge.survivor, applied.merge.loser
    store.label(namespace, alias, None, "team-fraud")
    seq = store.load(namespace).seq
    touch = join(survivor, 3, vector(3, 1, 0, 0))
    reply = commit(store, namespace, proposal(touch, rows=batch(row(3, survivor)), seq=seq))
    assert isinstance(reply, Committed)
    assert (reply.cluster_rows[survivor].label, reply.cluster_rows[survivor].route) == ("lost card", "team-fraud")
    decision = store.ledger(namespace, "questions", 0).decisions[3]
    assert (decision.label, decision.route) == ("lost card", "team-fraud")
    assert store.label(namespace, alias, "", "").label is None


def test_labelling_a_cluster_that_never_was_is_a_key_error(store: Store, namespace: str) -> None:
    with pytest.raises(KeyError):
        store.label(namespace, 77, "x", None)


def test_what_is_not_confirmed_stays_to_be_published(store: Store, namespace: str) -> None:
    reply = create_two(store, namespace)
    assert sorted(store.unpublished(namespace, 0, 10)) == [0, 1, 2]
    confirm_one(
        store,
        namespace,
        [(0, 6), (1, reply.cluster_rows[1].revision), (2, reply.cluster_rows[2].revision)],
        {},
        store.outbox_position(namespace),
    )
    assert store.unpublished(namespace, 0, 10) == []
    assert store.unpublished(namespace, 60, 10) == []


def test_a_cluster_that_moved_on_since_it_was_published_is_published_again(store: Store, namespace: str) -> None:
    reply = create_two(store, namespace)
    published = [(0, 6), (1, reply.cluster_rows[1].revision), (2, reply.cluster_rows[2].revision)]
    seq = reply.seq
    later = commit(store, namespace, proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=seq))
    assert isinstance(later, Committed)
    confirm_one(store, namespace, [(1, later.cluster_rows[1].revision)], {}, store.outbox_position(namespace))
    confirm_one(store, namespace, published, {}, store.outbox_position(namespace))
    assert store.unpublished(namespace, 0, 10) == [1]


def test_an_older_state_that_came_late_is_not_taken_for_published_by_the_newer_one(
    store: Store, namespace: str
) -> None:
    """Two workers publish a cluster; the one with the older state ends before it hears that it is published."""
    told = create_two(store, namespace).cluster_rows[1].revision
    moved = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=store.load(namespace).seq)
    later = commit(store, namespace, moved)
    assert isinstance(later, Committed)
    published = [(0, 6), (1, later.cluster_rows[1].revision), (2, 1)]
    sent = store.outbox_position(namespace)
    verify_one(store, namespace, [(1, told)])
    # The store's clock is set back, or a replica with another clock has taken over.
    shift_outbox(store, namespace, -3600)
    confirm_one(store, namespace, published, {}, sent)
    assert store.unpublished(namespace, 0, 10) == [1]
    confirm_one(store, namespace, published, {}, store.outbox_position(namespace))
    assert store.unpublished(namespace, 0, 10) == []


def test_a_clock_that_was_set_back_keeps_nothing_in_the_outbox(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    shift_outbox(store, namespace, 3600)
    confirm_one(store, namespace, [(0, 6), (1, 1), (2, 1)], {}, store.outbox_position(namespace))
    shift_outbox(store, namespace, -7200)
    assert store.unpublished(namespace, 0, 10) == []


def test_what_was_sent_in_another_incarnation_confirms_nothing(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    sent = store.outbox_position(namespace)
    store.require_recovery(namespace)
    store.recover(namespace, store.begin_recovery(namespace), None, {})
    confirm_one(store, namespace, [(0, 6), (1, 1), (2, 1)], {}, sent)
    assert sorted(store.unpublished(namespace, 0, 10)) == [0, 1, 2]
    confirm_one(store, namespace, [(0, 6), (1, 1), (2, 1)], {}, store.outbox_position(namespace))
    assert store.unpublished(namespace, 0, 10) == []


def test_outboxes_and_store_epochs_of_many_namespaces_are_asked_for_at_once(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    other = f"{namespace}-other"
    store.open(other, IDENTITY)
    asked = [namespace, other, f"{namespace}-unknown"]
    found = store.waiting(asked, 0, 2)
    assert list(found) == asked
    assert found[namespace] == Waiting(store.store_epoch(namespace), store.unpublished(namespace, 0, 2))
    assert found[other] == Waiting(None, [])
    assert store.waiting([namespace], 3600, 2) == {namespace: Waiting(store.store_epoch(namespace), [])}
    assert store.waiting([], 0, 2) == {}


def shift_outbox(store: Store, namespace: str, seconds: float) -> None:
    """Have what waits in the outbox wait since so many seconds later."""
    if isinstance(store, MemoryStore):
        outbox = store._namespaces[namespace].outbox
        outbox.update({cluster_id: since + seconds for cluster_id, since in outbox.items()})
    else:
        assert isinstance(store, RedisStore)
        outbox_key = f"questream:{{{namespace}}}:outbox"
        for member, score in store._client.zrange(outbox_key, 0, -1, withscores=True):
            store._client.zadd(outbox_key, {member: score + seconds * 1000})


def test_another_model_is_refused(store: Store, namespace: str) -> None:
    for wrong in (
        replace(IDENTITY, model="other"),
        replace(IDENTITY, revision="r2"),
        replace(IDENTITY, dimension=8),
    ):
        with pytest.raises(IdentityMismatch, match="was built with model 'model' revision 'r1'"):
            store.open(namespace, wrong)
    store.open(namespace, replace(IDENTITY, threshold=0.7, linkage="centroid"))
    state = store.namespace_state(namespace)
    assert state is not None
    assert (state.threshold, state.linkage) == (0.7, "centroid")


def test_what_prepared_the_first_texts_of_a_namespace_is_kept(store: Store, namespace: str) -> None:
    store.open(namespace, replace(IDENTITY, prepared_by="mail-6"))
    store.open(namespace, replace(IDENTITY, prepared_by="mail-6+own:hook"))
    assert store.prepared_by(namespace) == IDENTITY.prepared_by
    begun = f"{namespace}-begun"
    store.open(begun, replace(IDENTITY, prepared_by="mail-6"))
    store.open(begun, IDENTITY)
    assert store.prepared_by(begun) == "mail-6"


def test_a_namespace_tells_how_much_of_it_the_store_holds(store: Store, namespace: str) -> None:
    assert store.sizes("never opened") == NamespaceSizes(0, 0, 0, 0, 0, {})
    seq = create_two(store, namespace).seq
    # The namespace waits to be published, too, with what its mean learned.
    place = ("questions", 0)
    assert store.sizes(namespace) == NamespaceSizes(2, 1, 0, 3, 1, {place: 1})
    merge(store, namespace, seq, [merge_one_and_two(store, namespace)])
    assert store.sizes(namespace) == NamespaceSizes(1, 0, 1, 3, 2, {place: 1})


def test_namespaces_are_listed_and_kept_apart(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    other = f"{namespace}-other"
    store.open(other, IDENTITY)
    assert {namespace, other} <= set(store.namespaces())
    assert store.load(other).count == 0


def test_new_namespaces_begin_as_long_as_there_are_fewer_than_the_limit(store: Store, namespace: str) -> None:
    first, second, third = (f"{namespace}-{number}" for number in range(3))
    limit = len(store.namespaces()) + 2
    assert store.admit([first, namespace, second, third], limit) == {third}
    assert {first, second} <= set(store.namespaces())
    # One that is there already is let in, whatever the limit is.
    assert store.admit([second, third], limit) == {third}
    assert store.admit([], limit) == set()
    store.open(first, IDENTITY)
    assert len(store.namespaces()) == limit


def test_a_namespace_that_is_not_there_takes_no_commit(store: Store) -> None:
    with pytest.raises(RecoveryNeeded):
        commit_one(store, "nowhere", proposal(creation(1, vector(1, 0, 0, 0)), rows=batch(row(0, 1, created=True))))


def test_a_log_that_no_longer_reaches_back_says_so(
    request: pytest.FixtureRequest, store: Store, namespace: str
) -> None:
    makers: dict[type, Callable[[], Store]] = {
        MemoryStore: lambda: MemoryStore(log_commits=2),
        RedisStore: lambda: RedisStore(store._client, log_entries=2),  # type: ignore[attr-defined]  # same server
    }
    trimmed = makers[type(store)]()
    trimmed.open(namespace, IDENTITY)
    recover(trimmed, namespace)
    create_two(trimmed, namespace)
    for i in range(300):
        seq = trimmed.load(namespace).seq
        rows = batch(row(3 + i, 1))
        commit(trimmed, namespace, proposal(join(1, 2 + i, vector(3 + i, 0, 0, 0)), rows=rows, seq=seq))
    assert tail(trimmed, namespace, 1).changes is None
    latest = trimmed.load(namespace)
    assert (latest.seq, latest.member_count(1)) == (302, 302)
    late = proposal(creation(3, vector(1, 0, 0, 0)), rows=batch(row(999, 3, created=True)), seq=1)
    stale = commit(trimmed, namespace, late)
    assert isinstance(stale, Stale)
    assert stale.missed.changes is None


def test_logs_are_as_long_as_they_are_let_be(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    for i in range(5):
        rows = batch(row(3 + i, 1))
        joined = proposal(join(1, 2 + i, vector(3 + i, 0, 0, 0)), rows=rows, seq=store.load(namespace).seq)
        assert isinstance(commit(store, namespace, joined), Committed)
    before = store.log_lengths([namespace, "nowhere"])
    assert before.keys() == {namespace}
    # Two clusters and a mean, then a cluster each; the numbers of an entry's vector alone take four bytes each.
    assert (before[namespace].entries, before[namespace].seq) == (8, store.load(namespace).seq)
    assert before[namespace].entry_bytes >= 4 * IDENTITY.dimension
    store.trim_logs({namespace: 2, "nowhere": 2})
    assert store.log_lengths([namespace])[namespace] == replace(before[namespace], entries=2)
    seq = before[namespace].seq
    assert len(tail(store, namespace, seq - 2).changes or []) == 2
    assert tail(store, namespace, seq - 3).changes is None
    store.trim_logs({namespace: 0})
    assert store.log_lengths([namespace])[namespace].entries == 0
    assert tail(store, namespace, seq).changes == []
    assert store.load(namespace).member_count(1) == 7
    joined = proposal(join(1, 7, vector(8, 0, 0, 0)), rows=batch(row(8, 1)), seq=seq)
    assert isinstance(commit(store, namespace, joined), Committed)
    assert len(tail(store, namespace, seq).changes or []) == 1


@pytest.mark.parametrize("store", ["redis"], indirect=True)
def test_a_mirror_is_loaded_while_the_log_turns_over(
    monkeypatch: pytest.MonkeyPatch, store: Store, namespace: str
) -> None:
    assert isinstance(store, RedisStore)
    busy = RedisStore(store._client, log_entries=400)
    clusters, seq = 12_000, FIRST_SEQ
    for first in range(1, clusters, 500):
        ids = range(first, first + 500)
        rows = batch(*(row(i, i, created=True) for i in ids), prune_below=first)
        reply = commit(busy, namespace, proposal(*(creation(i, vector(i, 0, 0, 1)) for i in ids), rows=rows, seq=seq))
        assert isinstance(reply, Committed)
        seq = reply.seq
    moved, pipeline = range(270, clusters, 270), busy._client.pipeline
    batches = 0

    def busy_pipeline(**options: bool) -> Any:
        """Another worker's batch before each part that is read: eleven of them replace the log."""
        nonlocal batches
        batches += 1
        # A commit is a pipeline too.
        monkeypatch.setattr(busy._client, "pipeline", pipeline)
        first = clusters + 1 + batches * len(moved)
        rows = batch(*(row(first + at, i) for at, i in enumerate(moved)), prune_below=first)
        cluster_updates = [join(i, batches, vector(i, batches, 0, 1)) for i in moved]
        assert isinstance(
            commit(busy, namespace, proposal(*cluster_updates, rows=rows, seq=seq + batches - 1)), Committed
        )
        monkeypatch.setattr(busy._client, "pipeline", busy_pipeline)
        return pipeline(**options)

    monkeypatch.setattr(busy._client, "pipeline", busy_pipeline)
    mirror = busy.load(namespace)
    monkeypatch.undo()
    assert (mirror.count, mirror.seq) == (clusters, seq + batches)
    assert batches > 11
    for cluster_id in mirror.ids:
        assert mirror.member_count(int(cluster_id)) == 1 + (batches if cluster_id in moved else 0)


def test_a_namespace_belongs_to_the_stream_that_opened_it_first(store: Store) -> None:
    namespace = f"contract-{uuid.uuid4().hex[:8]}"
    mine = StreamTopics("questions", "clusters")
    # A worker of before there were topics, and an embedded clusterer, say none.
    store.open(namespace, IDENTITY)
    assert store.topics(namespace) == StreamTopics()
    store.open(namespace, IDENTITY, mine)
    for others in (StreamTopics("mails", "clusters"), StreamTopics("questions", "mail-clusters")):
        with pytest.raises(NamespaceOfAnotherStream, match=r"redis\.prefix"):
            store.open(namespace, replace(IDENTITY, threshold=0.9), others)
    # One that shares it compares the cluster topic alone.
    store.open(namespace, IDENTITY, StreamTopics("", "clusters"))
    recover(store, namespace)
    store.open(namespace, IDENTITY, mine)
    assert store.topics(namespace) == mine


@pytest.mark.parametrize("store", ["redis", "cluster", "valkey"], indirect=True)
def test_a_namespace_of_a_later_layout_is_refused_and_left_as_it_is(store: Store, namespace: str) -> None:
    assert isinstance(store, RedisStore)
    meta = store._keys.of(namespace, "meta")
    assert store._client.hget(meta, "layout") == str(LAYOUT).encode()
    store._client.hset(meta, mapping={"layout": LAYOUT + 1, "model": "another"})
    before = store._client.hgetall(meta)
    with pytest.raises(NamespaceRefused, match="upgrade questream"):
        store.open(namespace, IDENTITY)
    assert store._client.hgetall(meta) == before


def test_a_store_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(StoreUnavailable):
        RedisStore(redis.Redis(port=1, socket_connect_timeout=0.2)).ping()


def test_nothing_is_decided_in_a_namespace_that_is_not_settled(store: Store) -> None:
    namespace = f"contract-{uuid.uuid4().hex[:8]}"
    store.open(namespace, IDENTITY)
    assert store.store_epoch(namespace) is None
    assert store.load(namespace).store_epoch == ""
    first = proposal(creation(1, vector(1, 0, 0, 0)), rows=batch(row(0, 1, created=True)))
    for call in (
        lambda: commit_one(store, namespace, first),
        lambda: store.merge(namespace, "", 0, []),
        lambda: store.tail(namespace, "", 0),
        lambda: store.ledger(namespace, "questions", 0),
        lambda: store.label(namespace, 1, "a label", None),
    ):
        with pytest.raises((RecoveryNeeded, KeyError)):
            call()
    recover(store, namespace)
    assert isinstance(commit(store, namespace, first), Committed)


def test_a_proposal_of_an_earlier_incarnation_changes_nothing(store: Store, namespace: str) -> None:
    before = store.store_epoch(namespace)
    assert before is not None
    recover(store, namespace)
    assert store.store_epoch(namespace) == before, "a recovered namespace is not recovered again"
    store.require_recovery(namespace)
    recover(store, namespace)
    first = proposal(creation(1, vector(1, 0, 0, 0)), rows=batch(row(0, 1, created=True)))
    with pytest.raises(RecoveryNeeded):
        commit_one(store, namespace, replace(first, store_epoch=before, seq=store.load(namespace).seq))
    assert store.load(namespace).count == 0


def test_a_cluster_tells_which_of_its_questions_may_not_be_published(store: Store, namespace: str) -> None:
    reply = create_two(store, namespace)
    assert reply.cluster_rows[1].in_flight.joins == {("questions", 0): (0, 2)}
    elsewhere = proposal(
        join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(40, 1), partition=7), seq=store.load(namespace).seq
    )
    later = commit(store, namespace, elsewhere)
    assert isinstance(later, Committed)
    assert later.cluster_rows[1].in_flight.joins == {("questions", 0): (0, 2), ("questions", 7): (40,)}
    confirm_one(
        store,
        namespace,
        [(1, later.cluster_rows[1].revision)],
        {("questions", 0): 2, ("questions", 7): 41},
        store.outbox_position(namespace),
    )
    state = store.cluster(namespace, 1)
    assert state is not None
    assert state.in_flight.joins == {("questions", 0): (2,)}
    assert store.in_flight(namespace, [1, 2, 99])[1] == state.in_flight


def test_offsets_keep_all_their_digits(store: Store, namespace: str) -> None:
    far = 99_999_999_999_990
    rows = batch(row(far, 1, created=True), row(far + 3, 1, rank=2))
    first = commit(store, namespace, proposal(creation(1, vector(1, 0, 0, 0), joins=2), rows=rows))
    assert isinstance(first, Committed)
    second = commit(
        store,
        namespace,
        proposal(join(1, 2, vector(2, 0, 0, 0)), rows=batch(row(far + 7, 1)), seq=first.seq),
    )
    assert isinstance(second, Committed)
    assert second.cluster_rows[1].in_flight.joins == {("questions", 0): (far, far + 3, far + 7)}
    confirm_one(
        store,
        namespace,
        [(1, second.cluster_rows[1].revision)],
        {("questions", 0): far + 4},
        store.outbox_position(namespace),
    )
    state = store.cluster(namespace, 1)
    assert state is not None
    assert state.in_flight.joins == {("questions", 0): (far + 7,)}


def test_what_is_in_flight_stays_so_below_no_offset_that_is_published(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    unpublished = proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=seq)
    reply = commit(store, namespace, unpublished)
    assert isinstance(reply, Committed)
    assert reply.cluster_rows[1].in_flight.joins == {("questions", 0): (0, 2, 3)}
    published = proposal(join(1, 3, vector(4, 0, 0, 0)), rows=batch(row(4, 1), prune_below=3), seq=reply.seq)
    later = commit(store, namespace, published)
    assert isinstance(later, Committed)
    assert later.cluster_rows[1].in_flight.joins == {("questions", 0): (3, 4)}


def test_a_cluster_whose_texts_are_not_kept_has_no_representative(store: Store, namespace: str) -> None:
    silent = replace(creation(1, vector(1, 0, 0, 0)), representative=None)
    reply = commit(store, namespace, proposal(silent, rows=batch(row(0, 1, created=True))))
    assert isinstance(reply, Committed)
    assert reply.cluster_rows[1].representative is None
    state = store.cluster(namespace, 1)
    assert state is not None
    assert state.representative is None


def test_a_merge_is_in_flight_until_it_is_published(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    (applied,) = merge(store, namespace, seq, [merge_one_and_two(store, namespace)]).applied
    assert applied.survivor.in_flight.absorbed == (2,)
    assert sorted(applied.survivor.in_flight.joins["questions", 0]) == [0, 1, 2]
    confirm_one(
        store,
        namespace,
        [(1, applied.survivor.revision), (2, applied.loser.revision)],
        {("questions", 0): 3},
        store.outbox_position(namespace),
    )
    state = store.cluster(namespace, 1)
    assert state is not None
    assert state.in_flight == InFlight()


def test_a_merge_stays_in_flight_while_another_is_published(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    third = proposal(creation(3, vector(1, 0, 0, 0)), rows=batch(row(3, 3, created=True)), seq=seq)
    assert isinstance(commit(store, namespace, third), Committed)
    chain = [merge_one_and_two(store, namespace), Merge(1, 3, 3, 1, vector(3, 1, 0, 0))]
    first, second = merge(store, namespace, seq + 1, chain).applied
    told = [(1, second.survivor.revision), (2, first.loser.revision)]
    confirm_one(store, namespace, told, {}, store.outbox_position(namespace))
    state = store.cluster(namespace, 1)
    assert state is not None
    assert state.in_flight.absorbed == (3,)


def test_a_cluster_is_joined_again_once_all_of_it_is_published(store: Store, namespace: str) -> None:
    reply = create_two(store, namespace)
    told = [(1, reply.cluster_rows[1].revision)]
    confirm_one(store, namespace, told, {("questions", 0): 3}, store.outbox_position(namespace))
    two_partitions = replace(
        proposal(join(1, 2, vector(4, 0, 0, 0)), rows=batch(row(3, 1)), seq=reply.seq),
        partitions=[batch(row(3, 1), prune_below=3), batch(row(9, 1, rank=2), partition=1)],
        cluster_updates=[ClusterUpdate(1, 2, 2, 4, vector(4, 0, 0, 0), 2000)],
    )
    again = commit(store, namespace, two_partitions)
    assert isinstance(again, Committed)
    assert again.cluster_rows[1].in_flight.joins == {("questions", 0): (3,), ("questions", 1): (9,)}


def test_what_is_put_back_is_what_was_told(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    whole, one, two = (store.namespace_state(namespace), store.cluster(namespace, 1), store.cluster(namespace, 2))
    assert whole is not None
    assert one is not None
    assert two is not None
    emptied = f"{namespace}-emptied"
    store.open(emptied, IDENTITY)
    newer = replace(one, size=7, revision=9, event="labelled", ruling=Ruling("a label"), features=ONE_KEPT)
    alias = replace(two, event="merged", members=0, vector_sum=None, merged_into=1)
    token = store.begin_recovery(emptied)
    assert store.begin_recovery(emptied) == token
    assert store.restore(emptied, token, [Restored(one), Restored(newer, publish=True), Restored(alias)]) == 3
    assert store.restore(emptied, token, [Restored(one)]) == 0, "an earlier revision replaces nothing"
    store.recover(emptied, token, replace(whole, next_cluster=11), {("questions", 0): 5})
    assert store.restore(emptied, token, [Restored(replace(one, revision=99))]) <= 0, "it is recovered"
    mirror = store.load(emptied)
    assert (mirror.count, mirror.next_id, mirror.mean_questions, mirror.member_count(1)) == (1, 11, 3, 2)
    np.testing.assert_array_equal(mirror.vector_sum(1), vector(2, 0, 0, 0))
    assert mirror.kept(1) == ONE_KEPT
    for put_back in (newer, alias):
        found = store.cluster(emptied, put_back.cluster_id)
        assert found is not None
        assert told(found) == told(put_back)
    assert sorted(store.unpublished(emptied, 0, 10)) == [0, 1]
    assert store.ledger(emptied, "questions", 0).head == 5
    late = proposal(creation(11, vector(0, 0, 1, 0)), rows=batch(row(5, 11, created=True)), seq=mirror.seq)
    assert isinstance(commit(store, emptied, late), Replayed)


def test_a_cluster_that_was_retired_is_gone_after_it_is_put_back(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    state = store.cluster(namespace, 2)
    assert state is not None
    assert store.revisions(namespace, [1, 2, 3]) == {1: 1, 2: 1}
    assert store.heads(namespace, [("questions", 0), ("questions", 1)]) == {("questions", 0): 2, ("questions", 1): -1}
    store.require_recovery(namespace)
    retired = Restored(replace(state, event="retired"))
    assert store.restore(namespace, store.begin_recovery(namespace), [retired]) == 1
    recover(store, namespace)
    assert store.cluster(namespace, 2) is None
    assert list(store.load(namespace).ids) == [1]
    assert sorted(store.unpublished(namespace, 0, 10)) == [0, 1]


def told(state: ClusterState) -> dict[str, object]:
    """All that a state tells; vectors compare by their numbers."""
    fields = {field.name: getattr(state, field.name) for field in dataclasses.fields(state)}
    vector_sum = fields.pop("vector_sum")
    return {**fields, "namespace": None, "vector_sum": None if vector_sum is None else vector_sum.tolist()}


def test_what_was_read_for_another_memory_settles_nothing(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    state = store.cluster(namespace, 1)
    assert state is not None
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    recover(store, namespace)
    store.require_recovery(namespace)
    assert store.begin_recovery(namespace) != token
    assert store.restore(namespace, token, [Restored(replace(state, revision=99))]) <= 0
    store.recover(namespace, token, None, {})
    assert store.store_epoch(namespace) is None
    assert store.revisions(namespace, [1]) == {1: 1}


def test_a_cluster_that_moved_before_it_was_published_waits_to_be_published_again(store: Store, namespace: str) -> None:
    told = create_two(store, namespace).cluster_rows[1].revision
    later = commit(
        store,
        namespace,
        proposal(join(1, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 1)), seq=store.load(namespace).seq),
    )
    assert isinstance(later, Committed)
    confirm_one(
        store, namespace, [(1, later.cluster_rows[1].revision), (2, 1), (0, 6)], {}, store.outbox_position(namespace)
    )
    assert store.unpublished(namespace, 0, 10) == []
    assert verify_one(store, namespace, [(2, 1), (0, 6)]) == store.store_epoch(namespace)
    assert store.unpublished(namespace, 0, 10) == []
    assert verify_one(store, namespace, [(1, told)]) == store.store_epoch(namespace)
    assert store.unpublished(namespace, 0, 10) == [1]


def held(store: Store, namespace: str, seconds: float = 60.0) -> str:
    token = store.hold(namespace, store.store_epoch(namespace) or "", seconds)
    assert token is not None
    return token


def test_while_a_namespace_is_held_nothing_is_decided_and_nobody_settles_it(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    standing = store.store_epoch(namespace) or ""
    token = held(store, namespace)
    assert store.store_epoch(namespace) is None
    with pytest.raises(RecoveryNeeded):
        commit_one(
            store,
            namespace,
            replace(proposal(join(2, 1, vector(0, 2, 0, 0)), rows=batch(row(9, 2))), store_epoch=standing),
        )
    with pytest.raises(NamespaceHeld):
        store.begin_recovery(namespace)
    assert store.hold(namespace, standing, 60) is None
    assert store.still_holds(namespace, token, 60)
    store.recover(namespace, token, None, {})
    assert store.store_epoch(namespace) not in (None, standing)
    assert not store.still_holds(namespace, token, 60)


def test_a_hold_whose_time_is_over_is_good_for_nothing_once_somebody_else_settles(store: Store, namespace: str) -> None:
    token = held(store, namespace, seconds=0)
    own = store.begin_recovery(namespace)
    assert own != token
    assert not store.still_holds(namespace, token, 60)
    store.recover(namespace, token, None, {})
    assert store.store_epoch(namespace) is None
    store.recover(namespace, own, None, {})
    assert store.store_epoch(namespace) is not None


def test_one_at_a_time_has_the_lease_to_settle(store: Store, namespace: str) -> None:
    recovered = store.begin_recovery(namespace)
    assert not store.lease_recovery(namespace, recovered, "ada", 60)
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    assert store.lease_recovery(namespace, token, "ada", 60)
    assert not store.lease_recovery(namespace, token, "bob", 60)
    assert not store.lease_recovery(namespace, "of another memory", "ada", 60)
    assert store.lease_recovery(namespace, token, "ada", 0)
    assert store.lease_recovery(namespace, token, "bob", 60)
    store.recover(namespace, token, None, {})
    assert not store.lease_recovery(namespace, token, "bob", 60)
    store.require_recovery(namespace)
    assert store.lease_recovery(namespace, store.begin_recovery(namespace), "ada", 60)


def test_a_lease_to_settle_ends_with_its_time(store: Store, namespace: str) -> None:
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    assert store.lease_recovery(namespace, token, "ada", 0.001)
    wait_until(lambda: store.lease_recovery(namespace, token, "bob", 60), "the lease is free")
    assert not store.lease_recovery(namespace, token, "ada", 60)


def test_a_later_generation_brings_a_model_and_a_mean_of_its_own(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    whole = store.namespace_state(namespace)
    assert whole is not None
    assert whole.generation == 0
    token = held(store, namespace)
    moved = replace(
        whole, model="wide", model_revision="r2", mean_sum=np.ones(6, np.float32), mean_questions=2, generation=1
    )
    states = [
        replace(state, vector_sum=np.full(6, float(state.cluster_id), np.float32), revision=state.revision + 1)
        for state in store.clusters(namespace)
    ]
    assert store.restore(namespace, token, [Restored(state) for state in states]) == 2
    store.recover(namespace, token, moved, {})
    mirror = store.load(namespace)
    assert (mirror.dimension, mirror.generation, mirror.mean_questions) == (6, 1, 2)
    assert mirror.vector_sum(2).tolist() == [2.0] * 6
    assert {state.model for state in store.clusters(namespace)} == {"wide"}
    with pytest.raises(IdentityMismatch):
        store.open(namespace, IDENTITY)
    store.open(namespace, replace(IDENTITY, model="wide", revision="r2", dimension=6))
    # What was decided with the former model keeps its name.
    assert store.ledger(namespace, "questions", 0).decisions[1].model == "model"


def test_an_older_state_never_replaces_a_newer_one(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    state = store.cluster(namespace, 1)
    assert state is not None
    store.require_recovery(namespace)
    token = store.begin_recovery(namespace)
    newer = replace(state, revision=state.revision + 2, size=9)
    assert store.restore(namespace, token, [Restored(newer)]) == 1
    assert store.restore(namespace, token, [Restored(replace(state, revision=state.revision + 1))]) == 0
    stands = store.cluster(namespace, 1)
    assert stands is not None
    assert (stands.revision, stands.size) == (newer.revision, 9)


def test_a_log_behind_its_reader_is_a_lost_memory(store: Store, namespace: str) -> None:
    seq = store.load(namespace).seq
    with pytest.raises(RecoveryNeeded):
        store.tail(namespace, store.store_epoch(namespace) or "", seq + 1)
    assert store.store_epoch(namespace) is None


def test_a_ledger_that_ends_before_it_was_seen_to_is_a_lost_memory(store: Store, namespace: str) -> None:
    rows = replace(batch(row(7, 1, created=True)), head=5)
    with pytest.raises(RecoveryNeeded):
        commit(store, namespace, proposal(creation(1, vector(1, 0, 0, 0)), rows=rows))
    assert store.store_epoch(namespace) is None
    recover(store, namespace)
    assert list(store.clusters(namespace)) == []


def test_what_is_stale_and_missed_nothing_is_a_lost_memory(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    seq = store.load(namespace).seq
    with pytest.raises(RecoveryNeeded):
        commit(store, namespace, proposal(join(3, 2, vector(3, 0, 0, 0)), rows=batch(row(3, 3)), seq=seq))


def test_a_number_that_a_cluster_has_is_never_given_again(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    store.require_recovery(namespace)
    recover(store, namespace)
    assert store.load(namespace).next_id == 3


def test_a_question_without_a_cluster_is_recorded_and_touches_none(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    near, alone = replace(unmatched(3), checked_by="features", reason="number"), unmatched(5, None)
    proposed = proposal(join(2, 1, vector(0, 2, 0, 0)), rows=batch(near, row(4, 2), alone), seq=seq)
    before = store.states(namespace, [1, 2])
    reply = commit(store, namespace, proposed)
    assert isinstance(reply, Committed)
    assert [one.size for one in (*before, *store.states(namespace, [1, 2]))] == [2, 1, 2, 2]
    ledger = store.ledger(namespace, "questions", 0)
    assert ledger.head == 5
    assert ledger.decisions[4].cluster_size == 2
    for one in (near, alone):
        assert ledger.decisions[one.offset] == decide_unmatched(one, proposed)
        assert ledger.decisions[one.offset].outcome == "unmatched"
        assert ledger.is_of(one.offset, one.fingerprint)
        assert not ledger.is_of(one.offset, "0123456789abcdef")
    assert (ledger.decisions[3].reason, ledger.decisions[3].runner_up) == ("number", RunnerUp(1, 0.25))
    assert (ledger.decisions[5].similarity, ledger.decisions[5].runner_up) == (None, None)


def test_a_batch_that_finds_no_cluster_moves_nothing_and_is_recorded(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    proposed = proposal(rows=batch(unmatched(3), unmatched(4)), seq=seq)
    reply = commit(store, namespace, proposed)
    assert isinstance(reply, Committed)
    assert (reply.seq, reply.cluster_rows) == (seq, {})
    assert store.load(namespace).next_id == 3
    again = commit(store, namespace, proposed)
    assert isinstance(again, Replayed)
    recorded = again.ledgers["questions", 0].decisions
    assert [recorded[at] for at in (3, 4)] == [decide_unmatched(one, proposed) for one in proposed.partitions[0].rows]
    assert list(store.cut_ledger(namespace, "questions", 0, 4).decisions) == [0, 1, 2, 3]


def test_a_question_that_found_no_cluster_is_stale_once_anything_moved(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    commit(store, namespace, proposal(creation(3, vector(0, 0, 1, 0)), rows=batch(row(3, 3, created=True)), seq=seq))
    proposed = proposal(rows=batch(unmatched(4)), seq=seq)
    reply = commit(store, namespace, proposed)
    assert isinstance(reply, Stale)
    assert isinstance(commit(store, namespace, replace(proposed, seq=reply.missed.seq)), Committed)


def test_a_question_that_found_no_cluster_waits_for_its_turn(store: Store, namespace: str) -> None:
    seq = create_two(store, namespace).seq
    epoch = store.store_epoch(namespace) or ""
    store.ask_turns({namespace: AskedTurn(epoch, seq, "other")})
    reply = commit(store, namespace, replace(proposal(rows=batch(unmatched(3)), seq=seq), turn="mine"))
    assert isinstance(reply, Stale)
    assert reply.turn == "other"


@pytest.mark.parametrize(
    ("precision", "routes"),
    [(None, ["cards", "cards", "cards"]), (0.9, ["cards", None, None])],
)
def test_a_confidence_and_what_comes_of_it_are_recorded(
    store: Store, namespace: str, precision: float | None, routes: list[str | None]
) -> None:
    create_two(store, namespace)
    assert store.label(namespace, 1, "card", "cards") is not None
    rows = [replace(row(at, 1, rank=at - 2), confidence=sure) for at, sure in ((3, 0.9), (4, 0.89), (5, None))]
    total = vector(5, 0, 0, 0)
    proposed = proposal(ClusterUpdate(1, 3, 2, 5, total, 2000), rows=batch(*rows), seq=store.load(namespace).seq)
    proposed = replace(proposed, routing_precision=precision)
    reply = commit(store, namespace, proposed)
    assert isinstance(reply, Committed)
    recorded = store.ledger(namespace, "questions", 0).decisions
    decided = [recorded[one.offset] for one in rows]
    assert decided == [decide(one, reply.cluster_rows[1], 3, proposed) for one in rows]
    assert [one.confidence for one in decided] == [0.9, 0.89, None]
    assert [one.route for one in decided] == routes
    assert [one.suggested_route for one in decided] == [None if one else "cards" for one in routes]
    assert {one.label for one in decided} == {"card"}
