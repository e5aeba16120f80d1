from __future__ import annotations

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.domain import EXEMPLARS_KEPT, ClusterState, Ruling, Vector
from questream.errors import NamingsDiffer, OperationRefused
from questream.operations import By, Decisions, KnownQuestion, merge_clusters
from questream.store.reference.store import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    """Three clusters of 2, 1 and 1 questions."""
    store = MemoryStore()
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    assert clusterer.assign([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]).ids == [1, 2, 3, 1]
    return store


def test_an_operator_merges_what_no_score_would(store: MemoryStore) -> None:
    merged = merge_clusters(store, "default", 2, 1)
    assert (merged.survivor, list(merged.after)) == (1, [1, 2])
    survivor = store.cluster("default", 1)
    assert survivor is not None
    assert survivor.size == 3
    assert survivor.vector_sum is not None
    np.testing.assert_array_equal(survivor.vector_sum, [2, 1, 0])


def test_a_merged_id_stands_for_its_survivor(store: MemoryStore) -> None:
    merge_clusters(store, "default", 1, 2)
    assert merge_clusters(store, "default", 2, 3).survivor == 1


def test_an_operators_merge_keeps_the_named_one_else_the_larger(store: MemoryStore) -> None:
    store.label("default", 3, "card arrival", None)
    assert merge_clusters(store, "default", 2, 3).survivor == 3
    store.label("default", 3, "", None)
    assert merge_clusters(store, "default", 1, 3).survivor == 1


def test_what_cannot_be_merged_says_so(store: MemoryStore) -> None:
    with pytest.raises(KeyError):
        merge_clusters(store, "default", 1, 99)
    merge_clusters(store, "default", 1, 2)
    with pytest.raises(ValueError, match="one cluster already"):
        merge_clusters(store, "default", 1, 2)


def test_a_merge_drops_a_label_only_where_somebody_agrees(store: MemoryStore) -> None:
    store.label("default", 1, "card arrival", None)
    store.label("default", 2, "card delivery", "cards-team")
    with pytest.raises(NamingsDiffer):
        merge_clusters(store, "default", 1, 2)
    asked = []

    def agree(survivor: ClusterState, loser: ClusterState) -> bool:
        asked.append((survivor.label, loser.label))
        if len(asked) == 1:
            store.label("default", 2, "card delivered", None)
        return True

    merged = merge_clusters(store, "default", 1, 2, agree)
    assert merged.after[1] == Ruling("card arrival")
    assert asked == [("card arrival", "card delivery"), ("card arrival", "card delivered")]


def test_workers_leave_clusters_with_different_labels_apart_and_merge_the_rest() -> None:
    store = MemoryStore()
    worker = QuestionClusterer(dimension=2, similarity="cosine", threshold=0.9, merge_threshold=0.6, store=store)
    angles = np.deg2rad([0.0, 50.0, 100.0])
    assert worker.assign(np.column_stack([np.cos(angles), np.sin(angles)])).ids == [1, 2, 3]
    store.label("default", 1, "card arrival", None)
    store.label("default", 2, "card delivery", "cards-team")
    moved = np.deg2rad([50.0, 52.0])
    worker.assign(np.column_stack([np.cos(moved), np.sin(moved)]))
    survivors = {state.cluster_id: (state.label, state.route) for state in store.clusters("default")}
    assert survivors == {1: ("card arrival", None), 2: ("card delivery", "cards-team")}


def test_workers_follow_an_operators_merge(store: MemoryStore) -> None:
    worker = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    worker.nearest([1, 0, 0])
    merge_clusters(store, "default", 1, 2)
    assert {neighbour.cluster_id for neighbour in worker.nearest([0, 1, 0])} == {1, 3}


ANN = By("ann@example.com")


def along(*axes: float) -> Vector:
    vector: Vector = np.array(axes, np.float32)
    return vector / np.float32(np.linalg.norm(vector))


def clusterer_of(store: MemoryStore) -> QuestionClusterer:
    return QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)


def test_what_is_near_a_rejected_question_joins_the_cluster_no_more_until_that_is_undone(store: MemoryStore) -> None:
    decisions = Decisions(store, "default", ANN)
    near = along(1, 0.3, 0)
    operation = decisions.commit(decisions.reject([KnownQuestion(1, near)]))
    assert (operation.kind, list(operation.after)) == ("reject", [1])
    clusterer = clusterer_of(store)
    assert [one.cluster_id for one in clusterer.nearest(near)[:1]] != [1]
    decisions.commit(decisions.undo(operation.number))
    assert clusterer.assign([near]).ids == [1]
    decisions.commit(decisions.undo(operation.number + 1))
    assert clusterer_of(store).assign([near]).ids == [4]


def test_what_was_split_opens_a_cluster_that_never_merges_back(store: MemoryStore) -> None:
    decisions = Decisions(store, "default", ANN)
    part = along(1, 0.3, 0)
    split = decisions.commit(decisions.split(1, [KnownQuestion(1, part)]))
    assert [one.is_separate_from(other) for one, other in [split.after.values()]] == [True]
    with pytest.raises(OperationRefused, match="separated"):
        merge_clusters(store, "default", 1, 4)
    clusterer = clusterer_of(store)
    ids = clusterer.assign([part] * 20 + [along(1, 0, 0)] * 20).ids
    assert ids == [4] * 20 + [1] * 20
    assert clusterer.survivors([1, 4]) == [1, 4]
    with pytest.raises(OperationRefused, match="not all"):
        decisions.commit(decisions.split(1, [KnownQuestion(2, part)]))
    with pytest.raises(OperationRefused, match="no question"):
        decisions.commit(decisions.split(1, []))


def test_what_is_near_a_moved_question_goes_to_the_target(store: MemoryStore) -> None:
    decisions = Decisions(store, "default", ANN)
    moved = along(1, 0.3, 0)
    operation = decisions.commit(decisions.move([KnownQuestion(1, moved)], 2))
    assert [[one.kind for one in operation.after[i].exemplars] for i in (1, 2)] == [["cannot"], ["must"]]
    clusterer = clusterer_of(store)
    assert clusterer.assign([along(1, 0.31, 0), along(1, 0, 0)]).ids == [2, 1]
    # Moved back: what was said before of the same question is said no more.
    back = decisions.commit(decisions.move([KnownQuestion(2, moved)], 1))
    assert [[one.kind for one in back.after[i].exemplars] for i in (1, 2)] == [["must"], ["cannot"]]
    assert clusterer.assign([along(1, 0.31, 0)]).ids == [1]
    decisions.commit(decisions.undo(back.number))
    assert clusterer.assign([along(1, 0.31, 0)]).ids == [2]


def test_more_questions_than_a_cluster_keeps_are_refused(store: MemoryStore) -> None:
    decisions = Decisions(store, "default", ANN)
    with pytest.raises(OperationRefused, match="keeps 32"):
        decisions.commit(decisions.reject([KnownQuestion(1, along(1, 0, 0))] * (EXEMPLARS_KEPT + 1)))
