from __future__ import annotations

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.clustering.levels import LevelRules
from questream.errors import QuestreamError
from questream.store.reference.store import MemoryStore
from questream.tools.intents import find_intents
from tests.kit.stepping import subjects_in_parts

DIMENSION = 4


def filled(clusters: int) -> MemoryStore:
    """A store whose namespace `default` has so many clusters, none near to another."""
    store = MemoryStore()
    clusterer = QuestionClusterer(dimension=DIMENSION, threshold=0.9, similarity="cosine", store=store)
    clusterer.assign(np.eye(DIMENSION, dtype=np.float32)[:clusters])
    return store


def test_more_clusters_than_can_be_compared_are_refused() -> None:
    store = filled(3)
    assert [intent.clusters[0].cluster_id for intent in find_intents(store, "default", most=3)] == [1, 2, 3]
    with pytest.raises(QuestreamError, match="3 clusters are more than the 2 that can be grouped at once"):
        find_intents(store, "default", most=2)


def test_the_rules_say_how_many_intents_are_found_of_clusters_that_no_worker_grouped() -> None:
    store = MemoryStore()
    QuestionClusterer(dimension=64, threshold=0.9, similarity="cosine", store=store).assign(subjects_in_parts())
    few, many = (
        find_intents(store, "default", rules=LevelRules(resolutions=(resolution, 1.0))) for resolution in (0.5, 5.0)
    )
    assert (len(few), len(many)) == (4, 12)


def test_a_namespace_without_clusters_has_no_intents() -> None:
    assert find_intents(filled(0), "default") == []
