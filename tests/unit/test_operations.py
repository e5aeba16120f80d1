from __future__ import annotations

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.operations import merge_clusters
from questream.store.memory import MemoryStore


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


def test_what_cannot_be_merged_says_so(store: MemoryStore) -> None:
    with pytest.raises(KeyError):
        merge_clusters(store, "default", 1, 99)
    merge_clusters(store, "default", 1, 2)
    with pytest.raises(ValueError, match="one cluster already"):
        merge_clusters(store, "default", 1, 2)


def test_workers_follow_an_operators_merge(store: MemoryStore) -> None:
    worker = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    worker.nearest([1, 0, 0])
    merge_clusters(store, "default", 1, 2)
    assert {neighbour.cluster_id for neighbour in worker.nearest([0, 1, 0])} == {1, 3}
