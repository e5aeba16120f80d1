"""What bounds a worker's memory and its sweeps, and what keeps stream time in step with the clock."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from questream.broker.port import Offsets, Outgoing
from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch, NamespaceDecisions
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import Source
from questream.metrics import Metrics
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore
from questream.store.retention import FUTURE_ALLOWANCE_SECONDS, Retention
from questream.stream import housekeeping
from questream.stream.housekeeping import Housekeeping
from questream.stream.publishing import Publishing, Topics
from questream.stream.retirement import Retirement
from questream.stream.retry import Retry

NOW_SECONDS = 1_000_000.0


class CountingStore(MemoryStore):
    """Notes which mirrors were loaded."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.loaded: list[str] = []

    def load(self, namespace: str) -> Mirror:
        self.loaded.append(namespace)
        return super().load(namespace)


def clusterer(store: MemoryStore, **options: Any) -> Clusterer:
    identity = Identity("model", "r1", 4, "cosine", "average", 0.9)
    namespaces = Namespaces(store, NamespaceConfig(identity, Rules(0.9, 0.9, "cosine")))
    return Clusterer(store, namespaces, clock=lambda: NOW_SECONDS, **options)


def ask(worker: Clusterer, namespace: str, offset: int, axis: int = 0, timestamp: int = 1000) -> NamespaceDecisions:
    arrival = Arrival(Source("questions", 0, offset, timestamp), "Why?")
    store_epoch = worker.namespaces.recorded(namespace, "questions", 0).store_epoch
    batch = NamespaceBatch(namespace, store_epoch, [arrival], np.eye(4, dtype=np.float32)[[axis]])
    worker.decide([batch], {})
    return batch.decided()


def test_the_mirror_that_was_not_used_for_longest_goes_and_comes_again() -> None:
    store = CountingStore()
    worker = clusterer(store, max_namespaces=2)
    for offset, namespace in enumerate(["a", "b", "a", "c"]):
        ask(worker, namespace, offset)
    assert list(worker.mirrors) == ["a", "c"]
    assert store.loaded == ["a", "b", "c"]
    (decision,) = ask(worker, "b", 4).decisions
    assert (decision.cluster_id, decision.outcome, decision.cluster_size) == (1, "joined", 2)
    assert list(worker.mirrors) == ["c", "b"]


def test_looking_what_others_did_is_no_use() -> None:
    worker = clusterer(MemoryStore(), max_namespaces=2)
    for offset, namespace in enumerate(["a", "b"]):
        ask(worker, namespace, offset)
    worker.mirrors.catch_up("a")
    ask(worker, "c", 2)
    assert list(worker.mirrors) == ["b", "c"]


def test_a_record_from_the_future_does_not_retire_everybody() -> None:
    store = MemoryStore()
    worker = clusterer(store)
    now = int(NOW_SECONDS * 1000)
    ask(worker, "a", 0, axis=0, timestamp=now)
    ask(worker, "a", 1, axis=1, timestamp=now + 10**12)
    ask(worker, "a", 2, axis=2, timestamp=-1)
    seen = [state.last_seen_at for state in store.clusters("a")]
    assert seen == [now, now + FUTURE_ALLOWANCE_SECONDS * 1000, 0]
    assert store.retire("a", Retention(idle_seconds=FUTURE_ALLOWANCE_SECONDS + 1), 10).count == 0


class Records:
    """A publisher that takes everything."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    def start(self) -> None: ...

    def publish(
        self,
        records: Sequence[Outgoing],
        offsets: Offsets,
        membership: Any,  # noqa: ARG002 - the protocol's signature
        verify_before_commit: Any,  # noqa: ARG002 - as above
    ) -> Offsets:
        self.records += records
        return offsets

    held_seconds = 0.0

    def close(self) -> None: ...


def sweeper(
    store: MemoryStore, worker: Clusterer, retention: Retention, monkeypatch: pytest.MonkeyPatch
) -> Housekeeping:
    monkeypatch.setattr(housekeeping, "_SWEEP_SECONDS", 0.0)
    metrics, retry, records = Metrics(), Retry(threading.Event()), Records()
    retirement = Retirement(store, retention, metrics, retry)
    topics = Topics("decisions", "clusters", "dead")
    publishing = Publishing(
        store,
        records,
        topics,
        metrics,
        retry,
        current_assignment=int,
        on_superseded=lambda _: None,
        own_namespace="default",
    )
    return Housekeeping(worker.namespaces, store, publishing, retirement, retry, own_namespace="default")


def test_every_namespace_has_its_turn_to_be_swept(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    worker = clusterer(store, max_namespaces=3)
    names = [f"tenant-{i}" for i in range(150)]
    for name in names:
        ask(worker, name, 0)
    now[0] = 60.0
    keeper = sweeper(store, worker, Retention(), monkeypatch)
    for _ in range(3):
        keeper.sweep()
    assert [name for name in names if store.unpublished(name, 0, 1)] == []


def test_a_sweep_empties_a_full_outbox(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    store = MemoryStore(clock=lambda: now[0])
    vectors = np.eye(1200, dtype=np.float32)
    identity = Identity("model", "r1", 1200, "cosine", "average", 0.9)
    wide = Clusterer(store, Namespaces(store, NamespaceConfig(identity, Rules(0.9, 0.9, "cosine"))))
    arrivals = [Arrival(Source("questions", 0, i, i + 1), "Why?") for i in range(1200)]
    batch = NamespaceBatch("a", wide.namespaces.recorded("a", "questions", 0).store_epoch, arrivals, vectors)
    wide.decide([batch], {})
    now[0] = 60.0
    keeper = sweeper(store, wide, Retention(max_clusters=300), monkeypatch)
    for _ in range(3):
        keeper.sweep()
        now[0] += 60.0
    assert store.unpublished("a", 0, 1) == []
    assert sum(1 for _ in store.clusters("a")) == 300
