"""Clusters keep references to a few of their questions: what each store makes of those that join."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from questream.clustering.kept_members import KeptMember, KeptMembers
from questream.domain import ClusterState
from questream.store.protocol import Committed, Store
from questream.store.retention import Retention
from tests.contract.test_store import (
    batch,
    commit,
    create_two,
    creation,
    join,
    merge,
    merge_one_and_two,
    namespace,
    proposal,
    row,
    tail,
    vector,
)

__all__ = ["namespace"]


def member(offset: int, similarity: float | None) -> KeptMember:
    return KeptMember(("questions", 0, offset), similarity, f"{offset:08x}")


def cluster(store: Store, namespace: str, cluster_id: int) -> ClusterState:
    state = store.cluster(namespace, cluster_id)
    assert state is not None
    return state


def add(store: Store, namespace: str, found: list[KeptMember], members: int, seq: int) -> Committed:
    """These join cluster 1, which has so many centroid members."""
    rows = [row(one.place[2], 1, rank=rank) for rank, one in enumerate(found, 1)]
    update = replace(
        join(1, members, vector(members + len(found), 0, 0, 0)),
        joins=len(found),
        members=members + len(found),
        kept_members=str(KeptMembers.of(found)),
    )
    reply = commit(store, namespace, proposal(update, rows=batch(*rows), seq=seq))
    assert isinstance(reply, Committed)
    return reply


@pytest.mark.parametrize("seed", range(4))
def test_a_store_keeps_of_all_that_joined_what_one_batch_of_them_would(store: Store, namespace: str, seed: int) -> None:
    some = random.Random(seed)
    found = [member(0, None)]
    opening = replace(creation(1, vector(1, 0, 0, 0)), kept_members=str(KeptMembers.of(found)))
    reply = commit(store, namespace, proposal(opening, rows=batch(row(0, 1, created=True))))
    assert isinstance(reply, Committed)
    for _ in range(8):
        more = [member(len(found) + at, some.randint(-100, 100) / 100) for at in range(some.randint(1, 5))]
        reply = add(store, namespace, more, len(found), reply.seq)
        found += more
        assert reply.cluster_rows[1].kept_members == str(KeptMembers.of(found))
    assert cluster(store, namespace, 1).kept_members == str(KeptMembers.of(found))


def test_a_cluster_that_gets_a_question_without_reference_keeps_what_it_has(store: Store, namespace: str) -> None:
    kept = str(KeptMembers.of([member(0, None)]))
    opening = replace(creation(1, vector(1, 0, 0, 0)), kept_members=kept)
    opened = commit(store, namespace, proposal(opening, rows=batch(row(0, 1, created=True))))
    assert isinstance(opened, Committed)
    joined = commit(store, namespace, proposal(join(1, 1, vector(2, 0, 0, 0)), rows=batch(row(1, 1)), seq=opened.seq))
    assert isinstance(joined, Committed)
    assert joined.cluster_rows[1].kept_members == cluster(store, namespace, 1).kept_members == kept


def test_a_merge_unites_what_both_keep_and_its_loser_keeps_nothing(store: Store, namespace: str) -> None:
    create_two(store, namespace)
    first, second = [member(at, at / 100) for at in (40, 50)], [member(at, at / 100) for at in (30, 45, 60)]
    at = tail(store, namespace, 1).seq
    for cluster_id, members, found in ((1, 2, first), (2, 1, second)):
        update = replace(
            join(cluster_id, members, vector(1, 0, 0, 0)),
            vector_sum=None,
            members=members,
            kept_members=str(KeptMembers.of(found)),
        )
        reply = commit(store, namespace, proposal(update, rows=batch(row(100 + cluster_id, cluster_id)), seq=at))
        assert isinstance(reply, Committed)
    applied = merge(store, namespace, at, [merge_one_and_two(store, namespace)]).applied
    survivor, loser = cluster(store, namespace, 1), cluster(store, namespace, 2)
    assert applied[0].survivor.kept_members == survivor.kept_members
    assert (applied[0].loser.kept_members, loser.kept_members) == ("", "")
    kept = KeptMembers.parse(survivor.kept_members)
    assert [[one.place[2] for one in kind] for kind in (kept.newest, kept.typical, kept.doubtful)] == [
        [50, 40, 60],
        [60, 50, 45],
        [30, 40, 45],
    ]


def test_a_retired_cluster_keeps_no_reference(store: Store, namespace: str) -> None:
    kept = str(KeptMembers.of([member(0, None)]))
    openings = [
        replace(creation(1, vector(1, 0, 0, 0), seen_at=1000), kept_members=kept),
        creation(2, vector(0, 1, 0, 0), seen_at=900_000),
    ]
    rows = batch(row(0, 1, created=True), row(1, 2, created=True))
    assert isinstance(commit(store, namespace, proposal(*openings, rows=rows)), Committed)
    assert store.retire(namespace, Retention(idle_seconds=60), 10).ids == {"idle": [1]}
    assert cluster(store, namespace, 1).kept_members == ""
