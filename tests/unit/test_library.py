from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from questream import QuestionClusterer, QuestreamError
from questream.clustering.merging import Merge
from questream.errors import StoreUnavailable
from questream.store.memory import MemoryStore
from questream.store.protocol import Merged
from tests.unit.stepping import unit_rows
from tests.unit.test_assignment import stream


def test_vectors_get_ids_scores_and_events() -> None:
    clusterer = QuestionClusterer(dimension=4, similarity="cosine", threshold=0.8)
    one, other = [1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]
    assigned = clusterer.assign([one, other, [1.0, 0.1, 0.0, 0.0]])
    assert assigned.ids == [1, 2, 1]
    assert [decision.outcome for decision in assigned.decisions] == ["created", "created", "joined"]
    assert assigned.scores == pytest.approx([1, 1, 0.995037], abs=1e-5)
    assert {event.cluster_id: (event.event, event.size) for event in assigned.events} == {
        1: ("created", 2),
        2: ("created", 1),
    }


def test_nearest_learns_nothing() -> None:
    clusterer = QuestionClusterer(dimension=4, similarity="cosine", threshold=0.8)
    clusterer.assign([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
    before = [(state.cluster_id, state.size) for state in clusterer.clusters()]
    neighbours = clusterer.nearest([0.9, 0.1, 0.0, 0.0])
    assert [neighbour.cluster_id for neighbour in neighbours] == [1, 2]
    assert [(state.cluster_id, state.size) for state in clusterer.clusters()] == before


def test_two_clusterers_on_one_store_share_clusters() -> None:
    store = MemoryStore()
    questions = stream(3, 200, 8, 16, 0.2, 0.5)
    one, other = (QuestionClusterer(dimension=16, store=store) for _ in range(2))
    one.assign(questions[:100])
    other.assign(questions[100:])
    one.assign(questions[:10])
    assert sum(state.size for state in one.clusters()) == 210
    assert [s.cluster_id for s in one.clusters()] == [s.cluster_id for s in other.clusters()]


def test_vectors_are_normalised_first() -> None:
    rows = unit_rows(np.random.default_rng(1).normal(size=(20, 8)).astype(np.float32))
    short, long = QuestionClusterer(dimension=8), QuestionClusterer(dimension=8)
    assert short.assign(rows).ids == long.assign(rows * 17).ids


def test_nothing_in_nothing_out() -> None:
    assert QuestionClusterer(dimension=8).assign([]).ids == []


def test_what_cannot_be_assigned_is_refused() -> None:
    clusterer = QuestionClusterer(dimension=4)
    with pytest.raises(ValueError, match=r"vectors are \(n, 4\)"):
        clusterer.assign(np.ones((2, 3)))
    with pytest.raises(ValueError, match="finite and not zero"):
        clusterer.assign([[np.nan, 0, 0, 1]])
    with pytest.raises(ValueError, match="finite and not zero"):
        clusterer.assign(np.zeros((1, 4)))
    with pytest.raises(QuestreamError, match="takes an encoder"):
        clusterer.assign(["Where is my card?"])
    with pytest.raises(ValueError, match="granularity is one of intent, question, duplicate"):
        QuestionClusterer(dimension=4, granularity="topic")  # type: ignore[arg-type]  # what a notebook may pass
    with pytest.raises(ValueError, match="give an encoder"):
        QuestionClusterer()


def test_the_ledger_of_a_notebook_does_not_grow() -> None:
    store = MemoryStore()
    clusterer = QuestionClusterer(dimension=16, store=store)
    for seed in range(20):
        clusterer.assign(stream(seed, 10, 3, 16, 0.2, 0.5))
    (entries,) = (entries for state in store._namespaces.values() for entries in state.ledgers.values())
    assert len(entries) == 1


class _MergesOnlyLater(MemoryStore):
    """A store that does not answer the first merge."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    def merge(self, namespace: str, incarnation: str, seq: int, merges: Sequence[Merge]) -> Merged:
        self.asked += 1
        if self.asked == 1:
            raise StoreUnavailable("not now")
        return super().merge(namespace, incarnation, seq, merges)


def test_a_merge_whose_call_failed_is_proposed_again() -> None:
    store = _MergesOnlyLater()
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, merge_threshold=0.8, store=store)
    # Two that are two, until each has learned one that lies between them.
    clusterer.assign([[1.0, 0.4, 0.0], [1.0, -0.4, 0.0]])
    with pytest.raises(StoreUnavailable):
        clusterer.assign([[1.0, 0.2, 0.0], [1.0, -0.2, 0.0]])
    assert len(clusterer.clusters()) == 2
    clusterer.assign([[0.0, 0.0, 1.0], [0.0, 0.05, 1.0]])
    assert sorted(state.cluster_id for state in clusterer.clusters()) == [1, 3]
