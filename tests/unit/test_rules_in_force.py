"""Rules that people set for a namespace are in force at once, for workers that have not seen them too."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import NamespaceRules, Source, Vector
from questream.metrics import Metrics
from questream.operations import By, Decisions
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore
from questream.store.retention import Retention
from questream.stream.retirement import Retirement
from questream.stream.retry import Retry

NAMESPACE = "shop"
RULES = Rules(threshold=0.9, merge_threshold=0.9, similarity="cosine", judge_features=False)


class Worker:
    """A worker of a partition of its own."""

    def __init__(self, store: MemoryStore, partition: int) -> None:
        identity = Identity("model", "1", 2, RULES.similarity, RULES.linkage, RULES.threshold)
        self.namespaces = Namespaces(store, NamespaceConfig(identity, RULES))
        self.clusterer = Clusterer(store, self.namespaces)
        self._partition = partition
        self._offset = 0
        self._epoch = self.namespaces.recovered(NAMESPACE)

    def ask(self, degrees: float) -> tuple[str, float]:
        """Outcome and threshold of a question in this direction."""
        vector: Vector = np.array([[np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]], np.float32)
        arrival = Arrival(Source("questions", self._partition, self._offset, 1000), "?")
        batch = NamespaceBatch(NAMESPACE, self._epoch, [arrival], vector)
        self.clusterer.decide([batch], {})
        self._offset += 1
        decision = batch.decisions[0]
        assert decision is not None
        return decision.outcome, decision.threshold


def test_a_worker_that_has_not_seen_the_rules_decides_by_them_all_the_same() -> None:
    store = MemoryStore()
    one, other = Worker(store, 0), Worker(store, 1)
    assert one.ask(0) == ("created", 0.9)
    assert other.ask(40) == ("created", 0.9)
    decisions = Decisions(store, NAMESPACE, By("ann"))
    decisions.commit(decisions.rules({"threshold": 0.7, "merge_threshold": 0.99}))
    # Of 35 degrees the cosine is .82, of 40 .77: below the threshold of the settings.
    assert one.ask(75) == ("joined", 0.7)
    assert other.ask(-40) == ("joined", 0.7)
    decisions.commit(decisions.undo(1))
    assert one.ask(-80) == ("created", 0.9)


@pytest.mark.parametrize(
    ("rules", "namespace", "expected"),
    [
        (Rules(0.9, 0.9), NamespaceRules(threshold=0.7), Rules(0.7, 0.7)),
        (Rules(0.9, 0.95), NamespaceRules(threshold=0.7), Rules(0.7, 0.95)),
        (Rules(0.9, 0.9), NamespaceRules(merge_threshold=0.7), Rules(0.9, 0.7)),
        (Rules(0.9, 0.9), NamespaceRules(linkage="first", max_clusters=3), Rules(0.9, 0.9, linkage="first")),
        (Rules(0.9, 0.8), NamespaceRules(retention_seconds=0), Rules(0.9, 0.8)),
    ],
)
def test_what_is_not_set_is_as_the_settings_say(rules: Rules, namespace: NamespaceRules, expected: Rules) -> None:
    assert rules.in_force(namespace) == expected


def test_retirement_goes_by_the_rules_in_place_of_the_settings() -> None:
    settings = Retention(idle_seconds=60, max_clusters=10, tombstone_seconds=5)
    rules = NamespaceRules(retention_seconds=0, singleton_retention_seconds=30, max_clusters=3)
    assert settings.in_force(rules) == Retention(singleton_seconds=30, max_clusters=3, tombstone_seconds=5)
    assert settings.in_force(NamespaceRules()) == settings

    store = MemoryStore()
    worker = Worker(store, 0)
    for degrees in (0, 40, 80):
        worker.ask(degrees)
    retirement = Retirement(store, Retention(), Metrics(), Retry(threading.Event()))
    retirement.sweep(NAMESPACE, NamespaceRules())
    assert len(list(store.clusters(NAMESPACE))) == 3
    retirement.sweep(NAMESPACE, NamespaceRules(max_clusters=2))
    assert len(list(store.clusters(NAMESPACE))) == 2
