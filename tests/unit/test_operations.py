from __future__ import annotations

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.domain import ClusterState
from questream.errors import NamingsDiffer
from questream.operations import merge_clusters
from questream.store.reference.store import MemoryStore


@pytest.fixture
def store() -> MemoryStore:
    """Three clusters of 2, 1 and 1 questions."""
    store = MemoryStore()
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    assert clusterer.assign([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]).ids == [1, 2, 3, 1]
    return store


def test_an_operator_merges_what_no_score_would(store: MemoryStore) -> None:
    applied = merge_clusters(store, "default", 2, 1)
    assert (applied.merge.survivor, applied.merge.loser, applied.survivor.size) == (1, 2, 3)
    survivor = store.cluster("default", 1)
    assert survivor is not None
    assert survivor.vector_sum is not None
    np.testing.assert_array_equal(survivor.vector_sum, [2, 1, 0])


def test_a_merged_id_stands_for_its_survivor(store: MemoryStore) -> None:
    merge_clusters(store, "default", 1, 2)
    assert merge_clusters(store, "default", 2, 3).merge.survivor == 1


def test_an_operators_merge_keeps_the_named_one_else_the_larger(store: MemoryStore) -> None:
    store.label("default", 3, "card arrival", None)
    assert merge_clusters(store, "default", 2, 3).merge.survivor == 3
    store.label("default", 3, "", None)
    assert merge_clusters(store, "default", 1, 3).merge.survivor == 1


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

    applied = merge_clusters(store, "default", 1, 2, agree)
    assert (applied.survivor.label, applied.survivor.route) == ("card arrival", None)
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
