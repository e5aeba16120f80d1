"""Rules that people set for a namespace are in force at once, for workers that have not seen them too."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from questream.clustering.confidence import Confidence
from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import Decision, NamespaceRules, Source, Vector
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
        decision = self.decide(degrees)
        return decision.outcome, decision.threshold

    def decide(self, degrees: float) -> Decision:
        """The decision on a question in this direction."""
        vector: Vector = np.array([[np.cos(np.radians(degrees)), np.sin(np.radians(degrees))]], np.float32)
        arrival = Arrival(Source("questions", self._partition, self._offset, 1000), "?")
        batch = NamespaceBatch(NAMESPACE, self._epoch, [arrival], vector)
        self.clusterer.decide([batch], {})
        self._offset += 1
        decision = batch.decisions[0]
        assert decision is not None
        return decision


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


def test_a_confidence_is_of_one_model_and_of_clusters_that_were_there() -> None:
    store = MemoryStore()
    worker = Worker(store, 0)
    worker.ask(0)
    decisions = Decisions(store, NAMESPACE, By("ann"))
    decisions.commit(decisions.label(1, "cards", "desk"))
    fitted = Confidence(10.0, -9.0, "model@1")
    assert Confidence.parse(str(fitted)) == fitted
    decisions.commit(decisions.rules({"confidence": str(fitted), "routing_precision": 0.7}))
    near, less, opens = worker.decide(0), worker.decide(25), worker.decide(90)
    assert near.confidence == pytest.approx(1 / (1 + np.exp(-1)), abs=1e-6)
    assert (near.route, near.suggested_route) == ("desk", None)
    assert less.similarity is not None
    assert less.confidence == fitted.of(less.similarity) < 0.7
    assert (less.outcome, less.route, less.suggested_route) == ("joined", None, "desk")
    assert (opens.outcome, opens.confidence) == ("created", None)
    decisions.commit(decisions.rules({"confidence": str(Confidence(10.0, -9.0, "model@2"))}))
    other = worker.decide(0)
    assert (other.confidence, other.route, other.suggested_route) == (None, None, "desk")
    decisions.commit(decisions.rules({"routing_precision": None}))
    assert worker.decide(0).route == "desk"


@pytest.mark.parametrize("text", ["", "1 2", "0 1 m", "-1 1 m", "nan 1 m", "1 inf m", "a b c", "1 2 "])
def test_a_confidence_that_cannot_be_read_says_nothing(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - of float and of parse alike
        Confidence.parse(text)
    assert RULES.in_force(NamespaceRules(confidence=text, operation=1)).confidence is None
