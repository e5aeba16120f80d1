"""A clusterer that is not alone: the store is recovered, a namespace fails, other workers come first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from questream.clustering.merging import Merge
from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import Matrix, Source
from questream.errors import RecoveryNeeded, StoreUnavailable, Superseded
from questream.operations import By, Decisions
from questream.store.protocol import AskedTurn, Identity, Merged, StoreError, Turn
from questream.store.reference.store import MemoryStore
from tests.kit.stepping import unit_rows

DIMENSION = 8
PLACE = ("questions", 0)
RULES = Rules(threshold=0.9, merge_threshold=0.99, similarity="cosine", mean_questions=0, judge_features=False)
MERGING = replace(RULES, merge_threshold=0.8, linkage="average")


class Store(MemoryStore):
    """The store in memory, which does not answer those who ask for a turn in the namespaces `failing`.

    `before_loading` is called when a mirror is loaded; `merges` counts what was asked for.
    """

    def __init__(self, log_commits: int = 1000) -> None:
        super().__init__(log_commits=log_commits)
        self.failing: set[str] = set()
        self.before_loading: Callable[[], object] = lambda: None
        self.merges = 0
        self.answers_merges = True

    def load(self, namespace: str) -> Mirror:
        self.before_loading()
        return super().load(namespace)

    def ask_turns(self, asked: Mapping[str, AskedTurn]) -> dict[str, Turn | StoreError]:
        replies = super().ask_turns(asked)
        return replies | {name: StoreUnavailable("not now") for name in asked if name in self.failing}

    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        self.merges += 1
        if not self.answers_merges:
            raise StoreUnavailable("not now")
        return super().merge(namespace, store_epoch, seq, merges)


class Worker:
    """A worker of a partition of its own; a number is the axis of a question's vector."""

    def __init__(self, store: Store, partition: int = 0, rules: Rules = RULES) -> None:
        identity = Identity("model", "1", DIMENSION, rules.similarity, rules.linkage, rules.threshold)
        self.namespaces = Namespaces(store, NamespaceConfig(identity, rules))
        self.now, self.published_below = 100.0, 0
        self.clusterer = Clusterer(store, self.namespaces, clock=lambda: self.now, sleep=lambda _: None)
        self._partition, self._offset = partition, 0

    def batch(self, vectors: Sequence[int] | Matrix, namespace: str = "shop") -> NamespaceBatch:
        """The next questions of the worker's partition."""
        sources = [Source("questions", self._partition, self._offset + i, 1000) for i in range(len(vectors))]
        self._offset += len(vectors)
        rows = vectors if isinstance(vectors, np.ndarray) else np.eye(DIMENSION, dtype=np.float32)[list(vectors)]
        arrivals = [Arrival(source, "?") for source in sources]
        return NamespaceBatch(namespace, self.namespaces.recovered(namespace), arrivals, rows)

    def decide(self, *batches: NamespaceBatch) -> None:
        self.clusterer.decide(batches, {PLACE: self.published_below})

    def ask(self, *axes: int) -> NamespaceBatch:
        """Decide these questions; returns what came of them."""
        batch = self.batch(axes)
        self.decide(batch)
        return batch

    def ask_near(self, *slopes: float) -> NamespaceBatch:
        """Decide questions whose vectors lie between the first two axes."""
        rows = np.zeros((len(slopes), DIMENSION), np.float32)
        rows[:, 0], rows[:, 1] = 1.0, slopes
        batch = self.batch(unit_rows(rows))
        self.decide(batch)
        return batch


def outcomes(batch: NamespaceBatch) -> list[str | None]:
    return [decision.outcome if decision else None for decision in batch.decisions]


def as_read(batch: NamespaceBatch, **told: Any) -> NamespaceBatch:
    """The batch, with what else is known of its records."""
    batch.arrivals = [replace(arrival, **told) for arrival in batch.arrivals]
    return batch


def ids(batch: NamespaceBatch) -> list[int | None]:
    return [decision.cluster_id if decision else None for decision in batch.decisions]


def test_what_was_read_in_an_earlier_store_epoch_is_not_decided_in_a_later_one() -> None:
    """What stood in the ledgers then may be forgotten, and these records published."""
    store = Store()
    worker = Worker(store)
    worker.ask(0)
    read_before = worker.batch([1])
    store.require_recovery("shop")
    assert worker.namespaces.recovered("shop") != read_before.store_epoch
    worker.clusterer.mirrors.catch_up("shop")
    with pytest.raises(RecoveryNeeded):
        worker.decide(read_before)
    assert ids(read_before) == [None]
    assert [state.cluster_id for state in store.clusters("shop")] == [1]
    assert ids(worker.ask(1)) == [2]


def test_a_mirror_of_an_earlier_store_epoch_is_loaded_anew_for_what_was_read_in_this_one() -> None:
    store = Store()
    worker, other = Worker(store), Worker(store, 1)
    worker.ask(0)
    store.require_recovery("shop")
    other.ask(1)
    assert ids(worker.ask(1, 2)) == [2, 3]


def test_a_namespace_whose_turns_cannot_be_asked_for_keeps_no_other_from_being_decided() -> None:
    store = Store()
    worker, other = Worker(store), Worker(store, 1)
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
    worker = Worker(Store())
    state = worker.ask(0, 1).decided().namespace_state
    assert state is not None
    assert state.next_cluster == 3
    assert worker.ask(0).decided().namespace_state is None


def test_who_fell_behind_the_log_decides_by_all_that_is_there() -> None:
    store = Store(log_commits=1)
    worker, other = Worker(store), Worker(store, 1)
    worker.ask(0)
    other.ask(1)
    other.ask(2)
    assert ids(worker.ask(2, 3)) == [3, 4]


def test_a_store_that_is_recovered_while_a_mirror_is_loaded_is_noticed() -> None:
    """The ledgers were read before, and may have lost what they told."""
    store = Store(log_commits=1)
    worker, other = Worker(store), Worker(store, 1)
    worker.ask(0)
    for axis in (1, 2):
        other.ask(axis)
    batch = worker.batch([3])

    def recover() -> None:
        store.before_loading = lambda: None
        store.require_recovery("shop")
        other.namespaces.recovered("shop")

    store.before_loading = recover
    with pytest.raises(RecoveryNeeded):
        worker.decide(batch)
    assert ids(batch) == [None]


def test_a_question_that_joins_nothing_where_none_is_opened_is_in_no_cluster() -> None:
    store = Store()
    Worker(store, 1).ask(0)
    batch = Worker(store, rules=replace(RULES, mode="known-only")).ask(1, 0)
    assert ids(batch) == [None, 1]
    assert outcomes(batch) == ["unmatched", "joined"]


def test_a_merge_is_published_with_the_batch_that_brought_it_about() -> None:
    worker = Worker(Store(), rules=MERGING)
    worker.ask_near(0.4, -0.4)
    states = {state.cluster_id: state for state in worker.ask_near(0.2, -0.2).decided().states}
    assert (states[2].event, states[2].merged_into) == ("merged", 1)
    assert (states[1].event, states[1].size) == ("updated", 4)


def test_clusters_that_labels_keep_apart_are_not_proposed_with_each_batch() -> None:
    """Labels may change: after a minute they are proposed again."""
    store = Store()
    worker = Worker(store, rules=MERGING)
    worker.ask_near(0.4, -0.4)
    decisions = Decisions(store, "shop", By("ann"))
    for cluster_id, label in ((1, "cards"), (2, "parcels")):
        decisions.commit(decisions.label(cluster_id, label, None))
    proposed = []
    for seconds in (0, 1, 1, 60):
        worker.now += seconds
        worker.ask_near(0.2, -0.2)
        proposed.append(store.merges)
    assert proposed == [1, 1, 1, 2]


def test_of_a_batch_that_was_decided_in_part_the_rest_is_decided() -> None:
    store = Store()
    Worker(store).ask(0, 1)
    batch = Worker(store).ask(0, 1, 2, 0)
    assert ids(batch) == [1, 2, 3, 1]
    assert outcomes(batch) == ["created", "created", "created", "joined"]
    assert {state.cluster_id: state.size for state in store.clusters("shop")} == {1: 2, 2: 1, 3: 1}


def test_what_is_recorded_of_another_record_is_no_decision_of_this_one() -> None:
    store = Store()
    before = Worker(store)
    before.decide(as_read(before.batch([0]), fingerprint="one"))
    worker = Worker(store)
    batch = as_read(worker.batch([0]), fingerprint="another")
    with pytest.raises(RecoveryNeeded):
        worker.decide(batch)
    assert ids(batch) == [None]


def test_what_others_have_decided_and_published_since_it_was_read_is_theirs() -> None:
    store = Store()
    worker = Worker(store)
    worker.ask(0)
    # All is published below 2, and forgotten.
    worker.published_below = 1
    worker.ask(1)
    behind = Worker(store)
    batch = as_read(behind.batch([0]), fresh=True)
    with pytest.raises(Superseded):
        behind.decide(batch)
    assert ids(batch) == [None]
    # It was in the ledger when this one was read: what has been forgotten since is looked up.
    looked_up = Worker(store).ask(0)
    assert (outcomes(looked_up), ids(looked_up)) == (["replayed"], [1])


def test_what_a_dead_worker_has_moved_and_not_merged_is_merged_by_the_next() -> None:
    store = Store()
    worker = Worker(store, rules=MERGING)
    worker.ask_near(0.4, -0.4)
    store.answers_merges = False
    with pytest.raises(StoreUnavailable):
        worker.ask_near(0.2, -0.2)
    store.answers_merges = True
    after = Worker(store, rules=MERGING)
    after.ask_near(0.4, -0.4, 0.2, -0.2)
    after.ask(3)
    assert [state.cluster_id for state in store.clusters("shop")] == [1, 3]
