"""A clusterer that is not alone: the store is recovered, a namespace fails, other workers come first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import Source
from questream.errors import RecoveryNeeded, StoreUnavailable
from questream.store.protocol import (
    AskedTurn,
    Identity,
    StoreError,
    Turn,
)
from questream.store.reference.store import MemoryStore

DIMENSION = 8
RULES = Rules(threshold=0.9, merge_threshold=0.99, similarity="cosine", judge_features=False)


class Store(MemoryStore):
    """The store in memory, which does not answer those who ask for a turn in the namespaces `failing`."""

    def __init__(self) -> None:
        super().__init__()
        self.failing: set[str] = set()

    def ask_turns(self, asked: Mapping[str, AskedTurn]) -> dict[str, Turn | StoreError]:
        replies = super().ask_turns(asked)
        return replies | {name: StoreUnavailable("not now") for name in asked if name in self.failing}


class Worker:
    """A worker of a partition of its own; a number is the axis of a question's vector."""

    def __init__(self, store: Store, partition: int, max_namespaces: int | None = None) -> None:
        identity = Identity("model", "1", DIMENSION, RULES.similarity, RULES.linkage, RULES.threshold)
        self.namespaces = Namespaces(store, NamespaceConfig(identity, RULES))
        self.slept: list[float] = []
        self.clusterer = Clusterer(store, self.namespaces, max_namespaces=max_namespaces, sleep=self.slept.append)
        self._partition, self._offset = partition, 0

    def batch(self, axes: Sequence[int], namespace: str = "shop", store_epoch: str | None = None) -> NamespaceBatch:
        """The next questions of the worker's partition."""
        arrivals = []
        for _ in axes:
            arrivals.append(Arrival(Source("questions", self._partition, self._offset, 1000), "?"))
            self._offset += 1
        epoch = store_epoch or self.namespaces.recovered(namespace)
        return NamespaceBatch(namespace, epoch, arrivals, np.eye(DIMENSION, dtype=np.float32)[list(axes)])

    def decide(self, *batches: NamespaceBatch) -> None:
        self.clusterer.decide(batches, {})

    def ask(self, *axes: int) -> NamespaceBatch:
        """Decide these questions; returns what came of them."""
        batch = self.batch(axes)
        self.decide(batch)
        return batch


def ids(batch: NamespaceBatch) -> list[int | None]:
    return [decision.cluster_id if decision else None for decision in batch.decisions]


def test_what_was_read_in_an_earlier_store_epoch_is_not_decided_in_a_later_one() -> None:
    """What stood in the ledgers then may be forgotten, and these records published."""
    store = Store()
    worker = Worker(store, 0)
    worker.ask(0)
    read_before = worker.batch([1])
    store.require_recovery("shop")
    assert worker.namespaces.recovered("shop") != read_before.store_epoch
    with pytest.raises(RecoveryNeeded):
        worker.decide(read_before)
    assert ids(read_before) == [None]
    assert [state.cluster_id for state in store.clusters("shop")] == [1]
    assert ids(worker.ask(1)) == [2]


def test_a_mirror_of_an_earlier_store_epoch_is_loaded_anew_for_what_was_read_in_this_one() -> None:
    store = Store()
    worker, other = Worker(store, 0), Worker(store, 1)
    worker.ask(0)
    store.require_recovery("shop")
    other.ask(1)
    assert ids(worker.ask(1, 2)) == [2, 3]


def test_a_namespace_whose_turns_cannot_be_asked_for_keeps_no_other_from_being_decided() -> None:
    store = Store()
    worker, other = Worker(store, 0), Worker(store, 1)
    worker.ask(0)
    # It was refused twice: it asks for a turn before it proposes again.
    for axis in (1, 3):
        other.ask(axis)
        worker.ask(axis + 1)
    store.failing = {"shop"}
    failing, well = worker.batch([5]), worker.batch([0], "bank")
    with pytest.raises(StoreUnavailable):
        worker.decide(failing, well)
    assert ids(failing) == [None]
    store.failing = set()
    worker.decide(failing, well)
    assert ids(failing) == [6]
    assert ids(well) == [1]


def test_the_next_clusters_number_is_published_with_the_batch_that_took_those_before() -> None:
    """A store that is put back from the topic must not give a number again."""
    worker = Worker(Store(), 0)
    state = worker.ask(0, 1).decided().namespace_state
    assert state is not None
    assert state.next_cluster == 3
    assert worker.ask(0).decided().namespace_state is None
