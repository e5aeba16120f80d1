"""A worker that is refused again and again asks for a turn first, until nobody comes before it any more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import pytest

from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import Matrix, Source
from questream.errors import Contended
from questream.store.protocol import (
    TURN_SECONDS,
    AskedTurn,
    Committed,
    Identity,
    Proposal,
    Replayed,
    Stale,
    StoreError,
    Turn,
)
from questream.store.reference.store import MemoryStore
from tests.contract.test_store import batch, creation, proposal, row

NAMESPACE, DIMENSION = "shop", 64
RULES = Rules(threshold=0.9, merge_threshold=0.99, similarity="cosine", judge_features=False)
# As many as bring a worker to ask for a turn.
REFUSALS = 2


class Clock:
    """It goes on by what is slept, unless it stands."""

    seconds, stands = 100.0, False

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += 0.0 if self.stands else seconds


class Store(MemoryStore):
    """The store in memory, which counts how often turns are asked for."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock=clock)
        self.asked = 0

    def ask_turns(self, asked: Mapping[str, AskedTurn]) -> dict[str, Turn | StoreError]:
        self.asked += 1
        return super().ask_turns(asked)


class Worker:
    """A worker of a partition of its own, whose questions are all new."""

    def __init__(self, store: Store, clock: Clock, partition: int, subjects: Iterator[Matrix]) -> None:
        identity = Identity("model", "1", DIMENSION, RULES.similarity, RULES.linkage, RULES.threshold)
        namespaces = Namespaces(store, NamespaceConfig(identity, RULES))
        self._clusterer = Clusterer(store, namespaces, sleep=clock.sleep)
        self._partition, self._offset, self._subjects = partition, 0, subjects
        self._epoch = namespaces.recovered(NAMESPACE)

    def decide(self) -> int:
        """Open a cluster; returns how often that was refused."""
        arrival = Arrival(Source("questions", self._partition, self._offset, 1000), "?")
        batch = NamespaceBatch(NAMESPACE, self._epoch, [arrival], next(self._subjects))
        self._clusterer.decide([batch], {})
        self._offset += 1
        decision = batch.decisions[0]
        assert decision is not None
        assert decision.outcome == "created"
        return batch.stale_retries


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(clock: Clock) -> Store:
    return Store(clock)


@pytest.fixture
def workers(store: Store, clock: Clock) -> tuple[Worker, Worker]:
    """Two of one namespace."""
    subjects = iter(np.eye(DIMENSION, dtype=np.float32)[:, None])
    return Worker(store, clock, 0, subjects), Worker(store, clock, 1, subjects)


def refused(one: Worker, other: Worker) -> None:
    """Have the other come first until the one asks for turns."""
    one.decide()
    for _ in range(REFUSALS):
        other.decide()
        assert one.decide() == 1


def test_where_nobody_comes_first_no_turn_is_asked_for(store: Store, workers: tuple[Worker, Worker]) -> None:
    assert [workers[0].decide() for _ in range(8)] == [0] * 8
    assert not store.asked


def test_who_was_refused_asks_first_and_is_refused_no_more(store: Store, workers: tuple[Worker, Worker]) -> None:
    one, other = workers
    for _ in range(6):
        other.decide()
        one.decide()
    before = store.asked
    refusals = []
    for _ in range(6):
        refusals += [other.decide(), one.decide()]
    assert refusals == [0] * 12
    assert store.asked == before + 12


def test_who_comes_first_again_asks_no_more(store: Store, workers: tuple[Worker, Worker]) -> None:
    one, other = workers
    refused(one, other)
    for _ in range(REFUSALS):
        one.decide()
    before = store.asked
    assert [one.decide() for _ in range(4)] == [0] * 4
    assert store.asked == before
    refused(one, other)
    other.decide()
    assert one.decide() == 0
    assert store.asked > before


def taken_by_another(store: Store) -> None:
    """A worker that never commits has the turn."""
    whole = store.namespace_state(NAMESPACE)
    assert whole is not None
    asked = AskedTurn(store.store_epoch(NAMESPACE) or "", whole.seq, "another")
    turn = store.ask_turns({NAMESPACE: asked})[NAMESPACE]
    assert isinstance(turn, Turn)
    assert turn.whose == "own"


def test_a_worker_waits_for_the_turn_of_another_to_be_over(
    store: Store, clock: Clock, workers: tuple[Worker, Worker]
) -> None:
    refused(*workers)
    taken_by_another(store)
    began = clock()
    assert workers[0].decide() == 0
    assert began + TURN_SECONDS <= clock() < began + 2 * TURN_SECONDS


def test_a_wait_for_a_turn_has_an_end(store: Store, clock: Clock, workers: tuple[Worker, Worker]) -> None:
    refused(*workers)
    taken_by_another(store)
    clock.stands = True
    with pytest.raises(Contended):
        workers[0].decide()
    clock.stands = False
    assert workers[0].decide() == 0


class PressedStore(Store):
    """A store that a worker's proposals reach late: while they are on their way, another opens a cluster if it may."""

    late_seconds = 0.0

    def commit(self, proposals: Mapping[str, Proposal]) -> dict[str, Committed | Stale | Replayed | StoreError]:
        self._clock.sleep(self.late_seconds)  # type: ignore[attr-defined]  # the clock of these tests
        whole = self.namespace_state(NAMESPACE)
        if whole is not None and self.late_seconds:
            number = whole.next_cluster
            opening = proposal(
                creation(number, np.eye(DIMENSION, dtype=np.float32)[-1]),
                rows=batch(row(number, number, created=True), partition=9),
                seq=whole.seq,
            )
            super().commit({NAMESPACE: replace(opening, store_epoch=self.store_epoch(NAMESPACE) or "")})
        return super().commit(proposals)


def test_a_worker_that_is_slower_than_a_turn_lasts_commits_too(clock: Clock) -> None:
    store = PressedStore(clock)
    one = Worker(store, clock, 0, iter(np.eye(DIMENSION, dtype=np.float32)[:, None]))
    one.decide()
    store.late_seconds = 1.5 * TURN_SECONDS
    assert one.decide() < 10
