"""How often a worker waits for Redis: twice for a micro-batch, however many namespaces its questions have."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import redis.connection

from questream.broker.port import Offsets, Outgoing
from questream.clustering.rules import Rules
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.domain import Question, Record, Source
from questream.encoder import Tokens
from questream.metrics import Metrics
from questream.store.redis.store import RedisStore
from questream.store.retention import Retention
from questream.stream.backlog import Batch
from questream.stream.decider import Decider
from questream.stream.housekeeping import Housekeeping
from questream.stream.publishing import Publishing, Topics
from questream.stream.question import Embedded, Pending, Ready
from questream.stream.retirement import Retirement
from questream.stream.retry import Retry
from tests.contract.test_store import IDENTITY

RULES = Rules(0.9, 0.95, "cosine")
TOKENS = Tokens(np.zeros(1, np.int32), truncated=False)
NO_ENCODER: Any = None  # the vectors are the test's


class _Topics:
    """A publisher whose records are nowhere."""

    held_seconds = 0.0

    def start(self) -> None:
        """It is ready."""

    def publish(
        self,
        records: Sequence[Outgoing],  # noqa: ARG002 - the protocol's signature
        offsets: Offsets,
        membership: Any,  # noqa: ARG002 - as above
        verify_before_commit: Callable[[], None],
    ) -> Offsets:
        verify_before_commit()
        return offsets

    def close(self) -> None:
        """It has nothing to let go."""


@contextmanager
def round_trips() -> Iterator[list[int]]:
    """What is sent to Redis at once, each as how many bytes."""
    sent: list[int] = []
    send = redis.connection.AbstractConnection.send_packed_command

    def counting(connection: Any, command: Any, **named: Any) -> Any:
        sent.append(sum(map(len, command)))
        return send(connection, command, **named)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped

    with patch.object(redis.connection.AbstractConnection, "send_packed_command", counting):
        yield sent


@pytest.mark.parametrize("count", [1, 8])
def test_a_steady_micro_batch_takes_two_round_trips_however_many_namespaces_it_has(
    redis_clients: dict[str, Any], count: int
) -> None:
    store = RedisStore(redis_clients["redis"])
    worker = _Worker(store, [f"trips-{uuid.uuid4().hex[:8]}" for _ in range(count)])
    for _ in range(3):
        worker.take_a_batch()
    with round_trips() as sent:
        worker.take_a_batch()
    assert len(sent) == 2
    # Nothing is near that takes along what was published last.
    with round_trips() as sent:
        worker.publishing.confirm()
        worker.publishing.confirm()
    assert len(sent) == 1
    for namespace in worker.namespaces:
        assert store.unpublished(namespace, 0, 10) == []


@pytest.mark.parametrize(("retention", "each"), [(Retention(), 0), (Retention(idle_seconds=3600), 2)])
def test_a_sweep_that_finds_nothing_takes_one_round_trip_and_two_for_each_namespace_that_retires(
    redis_clients: dict[str, Any], retention: Retention, each: int
) -> None:
    # Of its own: namespaces of other tests have rules and operations that take round trips too.
    store = RedisStore(redis_clients["redis"], prefix=f"trips-{uuid.uuid4().hex[:8]}")
    worker = _Worker(store, [f"trips-{uuid.uuid4().hex[:8]}" for _ in range(8)])
    worker.take_a_batch()
    housekeeping = worker.housekeeping(retention)
    with patch.multiple("questream.stream.housekeeping", _SWEEP_SECONDS=0.0, _SWEEP_NAMESPACES=10_000):
        # The first one loads scripts.
        housekeeping.sweep()
        with round_trips() as sent:
            housekeeping.sweep()
    recovered = sum(store.store_epoch(name) is not None for name in worker.served.opened)
    assert len(sent) == 1 + each * recovered


def test_namespaces_of_a_cluster_are_committed_together(redis_clients: dict[str, Any]) -> None:
    store = RedisStore(redis_clients["cluster"])
    worker = _Worker(store, [f"trips-{uuid.uuid4().hex[:8]}" for _ in range(8)])
    for _ in range(3):
        worker.take_a_batch()
    with round_trips() as sent:
        worker.take_a_batch()
    # Of its nodes each is sent what is its own.
    assert len(sent) <= 2 * 3
    worker.publishing.confirm()
    for namespace in worker.namespaces:
        assert store.unpublished(namespace, 0, 10) == []
        assert [(state.size, state.members) for state in store.clusters(namespace)] == [(4, 4)]


def test_scripts_that_redis_has_forgotten_are_loaded_and_sent_again(redis_clients: dict[str, Any]) -> None:
    store = RedisStore(redis_clients["redis"])
    worker = _Worker(store, [f"trips-{uuid.uuid4().hex[:8]}" for _ in range(2)])
    worker.take_a_batch()
    redis_clients["redis"].script_flush()
    worker.take_a_batch()
    redis_clients["redis"].script_flush()
    worker.publishing.confirm()
    for namespace in worker.namespaces:
        assert store.unpublished(namespace, 0, 10) == []


class _Worker:
    """Decides and publishes one question of each namespace at a time, all of them the same."""

    def __init__(self, store: RedisStore, namespaces: Sequence[str]) -> None:
        self.namespaces = namespaces
        metrics, self._retry = Metrics(), Retry(threading.Event())
        self._store, self.served = store, Namespaces(store, NamespaceConfig(IDENTITY, RULES))
        recorded = self.served.recorded
        self._store_epochs = {name: recorded(name, "questions", 0).store_epoch for name in namespaces}
        own: dict[str, Any] = {
            "current_assignment": int,
            "on_superseded": lambda _: None,
            "own_namespace": namespaces[0],
        }
        self._decider = Decider(Clusterer(store, self.served), metrics, self._retry, **own)
        topics = Topics("decisions", "clusters", "dead")
        self.publishing = Publishing(store, _Topics(), topics, metrics, self._retry, **own)
        self._offset = 0

    def housekeeping(self, retention: Retention) -> Housekeeping:
        """What sweeps these namespaces."""
        retirement = Retirement(self._store, retention, Metrics(), self._retry)
        return Housekeeping(
            self.served, self._store, self.publishing, retirement, self._retry, own_namespace=self.namespaces[0]
        )

    def take_a_batch(self) -> None:
        items: list[Ready] = []
        for name in self.namespaces:
            record = Record(Source("questions", 0, self._offset, 1000), None, b"Why?")
            question = Question(f"q{self._offset}", "Why?", name, record)
            pending = Pending(question, TOKENS, NO_ENCODER, self._store_epochs[name], fresh=True)
            items.append(Embedded(pending, np.eye(4, dtype=np.float32)[0]))
            self._offset += 1
        decided = self._decider.decide(Batch(items, 0, None, 0.0))
        assert decided is not None
        self.publishing.publish(decided)
