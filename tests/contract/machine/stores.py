"""Both stores and what is compared of them: the ground of the state machine's rules."""

from __future__ import annotations

import dataclasses
import sys
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import redis
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from questream.clustering.mirror import Mirror
from questream.domain import ClusterState, NamespaceState
from questream.errors import QuestreamError
from questream.store.protocol import Store
from questream.store.redis.store import RedisStore
from questream.store.reference.store import MemoryStore
from tests.contract.test_store import IDENTITY

PARTITIONS = (0, 1)
# Two digits beside one, and times that are equal: where order is by text in one store and by number in the other.
TIMES = st.sampled_from([0, 1000, 1000, 2000, 500_000])
NAMES = st.sampled_from([None, "", "card arrival", "cards-team"])
PARTS = st.integers(0, 3)
POSITIONS = st.integers(0, 40)
WORKERS = st.sampled_from(["ada", "bob"])
# A lease or a claim that ends with the call, or with no sequence of calls.
LEASES = st.sampled_from([0.0, 50.0, 50.0])

# All that can be read is compared after every so many calls, and at the end of a sequence: a difference stays there.
READ_EVERY = 5

# What each store has of its own.
OWN = ("store_epoch", "server_time_ms", "time_ms", "version")


def comparable(value: Any) -> Any:
    """A reply without each store's own: names of store epochs, its time, objects that compare by identity."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, Mirror):
        clusters = {i: (value.member_count(i), value.vector_sum(i).tobytes(), value.exemplars(i)) for i in value.row_of}
        counts = (value.seq, value.next_id, value.generation, value.mean_questions)
        return counts, value.mean_sum.tobytes(), clusters, dict(value.thresholds), comparable(value.rules)
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.name not in OWN]
        return type(value).__name__, [comparable(getattr(value, name)) for name in names]
    if isinstance(value, dict):
        return {key: comparable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(part) for part in value]
    if isinstance(value, QuestreamError):
        return type(value).__name__
    return value


class Stores(RuleBasedStateMachine):
    """Both stores, and what a worker would know of them; `client` is set before it is run."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.namespace = f"machine-{uuid.uuid4().hex[:12]}"
        self.stores: list[Store] = [MemoryStore(log_commits=10_000), RedisStore(self.client)]
        self.offsets = dict.fromkeys(PARTITIONS, 0)
        self.calls = 0
        for store in self.stores:
            store.open(self.namespace, IDENTITY)
        self.recover_again()

    def teardown(self) -> None:
        try:
            if sys.exception() is None:
                self.compare_all_that_can_be_read()
        finally:
            self.client.flushdb()

    def both(self, call: Callable[[Store], Any]) -> Any:
        """The reply, or the error, that both give."""
        replies = []
        for store in self.stores:
            try:
                replies.append(call(store))
            except (QuestreamError, KeyError) as error:
                replies.append(type(error).__name__)
        assert comparable(replies[0]) == comparable(replies[1]), f"\n{replies[0]}\n{replies[1]}"
        return replies[0]

    def of_each(self, call: Callable[[Store], Any]) -> dict[int, Any]:
        """What each store answers of its own, such as a token, by its place."""
        return {id(store): call(store) for store in self.stores}

    def epoch(self, store: Store) -> str:
        return store.store_epoch(self.namespace) or ""

    @property
    def live(self) -> list[ClusterState]:
        return list(self.stores[0].clusters(self.namespace))

    @property
    def whole(self) -> NamespaceState:
        whole = self.stores[0].namespace_state(self.namespace)
        assert whole is not None
        return whole

    def known(self, position: int) -> int:
        """The id of any cluster that was ever opened, or one that was not."""
        return 1 + position % self.whole.next_cluster

    def recover_again(self) -> None:
        for store in self.stores:
            store.recover(self.namespace, store.begin_recovery(self.namespace), None, {})

    @invariant()
    def what_can_be_read_is_the_same(self) -> None:
        if self.both(lambda store: store.store_epoch(self.namespace) is None):
            self.recover_again()
        self.both(lambda store: store.namespace_state(self.namespace))
        self.calls += 1
        if self.calls % READ_EVERY == 0:
            self.compare_all_that_can_be_read()

    def compare_all_that_can_be_read(self) -> None:
        """Fail where the two differ in anything that a reader sees."""
        name = self.namespace
        whole = self.both(lambda store: store.namespace_state(name))
        ids = list(range(1, whole.next_cluster + 1))
        self.both(lambda store: store.states(name, ids))
        self.both(lambda store: list(store.clusters(name)))
        self.both(lambda store: list(store.summaries(name)))
        self.both(lambda store: store.revisions(name, ids))
        self.both(lambda store: store.in_flight(name, ids))
        self.both(lambda store: sorted(store.unpublished(name, 0.0, 1000)))
        self.both(lambda store: dataclasses.replace(store.waiting([name], 0.0, 1000)[name], cluster_ids=[]))  # type: ignore[type-var]  # an error has no such field
        self.both(lambda store: store.sizes(name))
        self.both(lambda store: store.heads(name, [("questions", partition) for partition in PARTITIONS]))
        self.both(lambda store: [store.ledger(name, "questions", partition) for partition in PARTITIONS])
        self.both(lambda store: store.operations(name, 100))
        self.both(lambda store: store.rules(name))
        self.both(lambda store: store.levels(name))
        self.both(lambda store: store.made_names(name))
        self.both(lambda store: store.sentence_counts(name))
        marks = self.of_each(lambda store: store.levels_marks([name])[name])
        self.both(lambda store: marks[id(store)]._replace(version=0, published=0))
        self.both(lambda store: marks[id(store)].published == marks[id(store)].version)
        self.both(lambda store: store.load(name))
        self.both(lambda store: store.tail(name, self.epoch(store), max(1, whole.seq - 3)))
