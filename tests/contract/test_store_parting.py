"""Where a merge is undone, questions that joined since go to the nearer part, in every store."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from questream.clustering.kept_members import KeptMember, KeptMembers
from questream.domain import ClusterState
from questream.errors import OperationRefused
from questream.operations import By, Decisions, KnownQuestion
from questream.operations.unmerging import joined_since
from questream.store.protocol import Committed, Store
from tests.contract.test_store import batch as rows_of
from tests.contract.test_store import (
    commit,
    create_third,
    create_two,
    creation,
    join,
    merge,
    merge_one_and_two,
    namespace,
    proposal,
    row,
    vector,
)
from tests.kit.store_calls import confirm_one

__all__ = ["namespace"]


def member(offset: int, similarity: float | None = None) -> KeptMember:
    return KeptMember(("questions", 0, offset), similarity, f"{offset:08x}")


def kept(*members: KeptMember) -> str:
    return str(KeptMembers.of(members))


def asked(offset: int, *axes: float) -> KnownQuestion:
    vector = np.array(axes, np.float32)
    return KnownQuestion(1, vector / np.linalg.norm(vector), ("questions", 0, offset), None, f"q{offset}", b"key")


def cluster(store: Store, namespace: str, cluster_id: int) -> ClusterState:
    state = store.cluster(namespace, cluster_id)
    assert state is not None
    return state


@pytest.fixture
def merged(store: Store, namespace: str) -> Store:
    """Cluster 1 (offsets 0 and 2) has absorbed 2 (offset 1); 3, 4 and 5 joined since, of which 5 is not published."""
    one = replace(creation(1, vector(2, 0, 0, 0), joins=2), kept_members=kept(member(0), member(2, 0.9)))
    two = replace(creation(2, vector(0, 1, 0, 0)), kept_members=kept(member(1)))
    rows = rows_of(row(0, 1, created=True), row(1, 2, created=True), row(2, 1, rank=2))
    reply = commit(store, namespace, proposal(one, two, rows=rows))
    assert isinstance(reply, Committed)
    assert merge(store, namespace, reply.seq, [merge_one_and_two(store, namespace)]).applied
    add(store, namespace, 3, member(3, 0.5), member(4, 0.6))
    position = store.outbox_position(namespace)
    revisions = {i: cluster(store, namespace, i).revision for i in (1, 2)}
    confirm_one(store, namespace, revisions.items(), {("questions", 0): 5}, position)
    add(store, namespace, 5, member(5, 0.7))
    return store


def add(store: Store, namespace: str, members: int, *found: KeptMember) -> None:
    rows = rows_of(
        *(row(one.place[2], 1, rank=rank) for rank, one in enumerate(found, 1)), prune_below=found[0].place[2]
    )
    update = replace(
        join(1, members, vector(2, 1 + members - 3 + len(found), 0, 0)),
        joins=len(found),
        members=members + len(found),
        kept_members=kept(*found),
    )
    reply = commit(store, namespace, proposal(update, rows=rows, seq=store.load(namespace).seq))
    assert isinstance(reply, Committed)


def test_what_joined_since_is_known_by_references_of_what_is_published(merged: Store, namespace: str) -> None:
    assert sorted(one.place[2] for one in joined_since(merged, namespace, 2)) == [3, 4]
    assert joined_since(merged, namespace, 1) == []


def test_a_part_gets_no_references_back_once_its_texts_are_erased(merged: Store, namespace: str) -> None:
    decisions = Decisions(merged, namespace, By("ann"))
    late, committed = decisions.unmerge(2, [asked(3, 0, 1, 0, 0)])(), decisions.commit(decisions.forget(1))
    assert committed.kind == "forget"
    # What was looked at before has them.
    assert late.part is not None
    assert late.part.own_kept
    assert merged.operate(namespace, late) is None
    add(merged, namespace, 6, member(6, 0.8))
    decisions.commit(decisions.unmerge(2))
    assert cluster(merged, namespace, 2).kept_members == ""
    assert [one.place[2] for one in KeptMembers.parse(cluster(merged, namespace, 1).kept_members).newest] == [6]


class Interrupted:
    """The store, in which the texts of cluster 1 are erased before the first call of a method."""

    def __init__(self, store: Store, namespace: str, method: str) -> None:
        self._store = store
        self._namespace = namespace
        self._method: str | None = method

    def __getattr__(self, name: str) -> Any:
        if name == self._method:
            self._method = None
            decisions = Decisions(self._store, self._namespace, By("bob"))
            decisions.commit(decisions.forget(1))
        return getattr(self._store, name)

    @property
    def was_called(self) -> bool:
        return self._method is None


@pytest.mark.parametrize("erased_before", [False, True], ids=["once", "twice"])
@pytest.mark.parametrize("method", ["operations", "states", "remains", "cluster", "levels", "operate"])
def test_no_references_come_back_where_texts_are_erased_while_a_part_is_looked_at(
    merged: Store, namespace: str, method: str, erased_before: bool
) -> None:
    if erased_before:
        decisions = Decisions(merged, namespace, By("ann"))
        decisions.commit(decisions.forget(1))
        add(merged, namespace, 6, member(6, 0.8))
    interrupted = Interrupted(merged, namespace, method)
    decisions = Decisions(cast(Store, interrupted), namespace, By("ann"))
    decisions.commit(decisions.unmerge(2))
    assert interrupted.was_called
    assert [cluster(merged, namespace, number).kept_members for number in (1, 2)] == ["", ""]


def test_each_goes_to_the_nearer_part(merged: Store, namespace: str) -> None:
    decisions = Decisions(merged, namespace, By("ann"))
    questions = [asked(3, 0.2, 1, 0, 0), asked(4, 1, 0.2, 0, 0), asked(5, 0, 1, 0, 0), asked(0, 0, 1, 0, 0)]
    done = decisions.commit(decisions.unmerge(2, questions))
    assert [(one.place, one.before, one.after, one.question_id) for one in done.corrections] == [
        (("questions", 0, 3), 1, 2, "q3")
    ]
    left, back = cluster(merged, namespace, 1), cluster(merged, namespace, 2)
    assert (left.size, back.size) == (4, 2)
    references = [sorted(one.place[2] for one in KeptMembers.parse(state.kept_members).all()) for state in (left, back)]
    assert references == [[2, 4, 5], [1, 3]]
    # The merge that takes it back has all of them again.
    decisions.commit(decisions.undo(done.number))
    assert [state.size for state in merged.clusters(namespace)] == [6]


def test_without_vectors_nothing_moves(merged: Store, namespace: str) -> None:
    decisions = Decisions(merged, namespace, By("ann"))
    done = decisions.commit(decisions.unmerge(2))
    assert done.corrections == ()
    assert (cluster(merged, namespace, 1).size, cluster(merged, namespace, 2).size) == (5, 1)


def test_what_has_parted_is_not_taken_out_again_with_what_it_came_through(store: Store, namespace: str) -> None:
    """Cluster 3 goes into 2, 2 into 1, and 3 parts from 1: what 2 was when it was absorbed had 3 in it."""
    create_third(store, namespace, create_two(store, namespace).seq)
    decisions = Decisions(store, namespace, By("ann"))
    decisions.commit(decisions.merge(2, 3))
    decisions.commit(decisions.merge(1, 2))
    decisions.commit(decisions.unmerge(3))
    sizes = {state.cluster_id: (state.size, state.members) for state in store.clusters(namespace)}
    assert store.remains(namespace, 2) is None
    with pytest.raises(OperationRefused, match="a part of it is a cluster again"):
        decisions.commit(decisions.unmerge(2))
    assert {state.cluster_id: (state.size, state.members) for state in store.clusters(namespace)} == sizes
    # Merged again it is kept again, whole.
    decisions.commit(decisions.undo(store.operations(namespace, 1)[0].number))
    assert store.remains(namespace, 3) is not None
