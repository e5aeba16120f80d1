"""What a comparison of a store with its topics finds, by the promise that does not hold."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from questream.domain import ClusterState, Operation, Ruling
from questream.records import PublishedLevels, encode_levels
from questream.recovery.cluster_topic import Published
from questream.recovery.operation_topic import PublishedOperations
from questream.recovery.verifying import _compare, _compare_levels, _Held
from questream.recovery.verifying_operations import compare_operations, missing_operations
from questream.store.protocol import StoredLevels
from questream.store.reference.store import MemoryStore
from tests.contract.test_levels import FOUND
from tests.contract.test_store import IDENTITY, create_third, create_two, merge, merge_one_and_two, recover
from tests.contract.test_store_operations import compared, pin
from tests.kit.store_calls import confirm_one

NAMESPACE = "shop"
STORE_HAS, EVERY_CHANGE = "the store has all that was published", "every change is published"
TOPIC_HAS = "the topic has what the store holds"


@dataclass
class Compared:
    """A store whose clusters are all published, and what was published of them."""

    store: MemoryStore
    of_topic: Published = field(default_factory=Published)
    states: dict[int, ClusterState] = field(default_factory=dict)
    named: set[int] = field(default_factory=set)

    def publish(self) -> None:
        """All states as they stand, and with them the outbox is empty."""
        revisions = self.store.revisions(NAMESPACE, [1, 2, 3])
        self.states = {state.cluster_id: state for state in self.store.states(NAMESPACE, list(revisions))}
        self.of_topic = replace(self.of_topic, revisions=revisions, whole=self.store.namespace_state(NAMESPACE))
        whole = [(0, self.of_topic.whole.revision if self.of_topic.whole else 0)]
        position = self.store.outbox_position(NAMESPACE)
        confirm_one(self.store, NAMESPACE, [*revisions.items(), *whole], {}, position)

    def told(self) -> list[str]:
        """The promises that do not hold."""
        held = _Held(self.store, NAMESPACE)
        found = _compare(self.store, NAMESPACE, held, self.of_topic, self.states, self.named)
        return [difference.promise for difference in found]

    def change(self, cluster_id: int, **fields: object) -> None:
        """The topic tells another state."""
        self.states[cluster_id] = replace(self.states[cluster_id], **fields)  # type: ignore[arg-type]  # its fields


@pytest.fixture
def published() -> Compared:
    """Of clusters 1, 2 and 3, 2 is merged into 1."""
    store = MemoryStore()
    store.open(NAMESPACE, IDENTITY)
    recover(store, NAMESPACE)
    seq = create_third(store, NAMESPACE, create_two(store, NAMESPACE).seq)
    assert merge(store, NAMESPACE, seq, [merge_one_and_two(store, NAMESPACE)]).applied
    one = Compared(store, named={1, 2, 3})
    one.publish()
    return one


def test_what_stands_as_it_was_published_differs_in_nothing(published: Compared) -> None:
    assert published.told() == []


def test_a_store_that_is_not_recovered_is_told(published: Compared) -> None:
    published.store.require_recovery(NAMESPACE)
    assert published.told() == ["the store is the one that was last compared with the cluster topic"]
    empty = Compared(MemoryStore())
    empty.store.open(NAMESPACE, IDENTITY)
    assert empty.told() == []


CHANGES: dict[str, Callable[[Compared], object]] = {
    STORE_HAS: lambda one: one.of_topic.revisions.update({3: 99}),
    "what was retired is gone": lambda one: one.of_topic.retired.add(3),
    EVERY_CHANGE: lambda one: one.of_topic.revisions.update({3: 0}),
    TOPIC_HAS: lambda one: one.change(3, size=7),
    f"{TOPIC_HAS} (label)": lambda one: one.change(3, ruling=Ruling(label="cards")),
    f"{TOPIC_HAS} (sum)": lambda one: one.change(3, vector_sum=np.ones(4, np.float32)),
    f"{TOPIC_HAS} (no sum)": lambda one: one.change(3, vector_sum=None),
    "every merged id leads to a cluster": lambda one: one.states.pop(1),
    "every published id is a cluster's": lambda one: one.named.add(4),
}


@pytest.mark.parametrize("promise", CHANGES)
def test_each_difference_is_told_by_its_promise(published: Compared, promise: str) -> None:
    CHANGES[promise](published)
    assert published.told() == [promise.partition(" (")[0]]


def test_states_of_other_revisions_are_not_compared(published: Compared) -> None:
    published.change(3, size=7, revision=published.states[3].revision + 1)
    assert published.told() == []


def test_aliases_that_lead_around_are_told_and_those_that_outlive_theirs_are_not(published: Compared) -> None:
    published.states |= {8: _alias(published, 8, 9), 9: _alias(published, 9, 8)}
    assert published.told() == ["every merged id leads to a cluster"]
    # 7 has retired, with all that the store had of it.
    published.states = {8: _alias(published, 8, 7)}
    assert published.told() == []


def _alias(published: Compared, cluster_id: int, into: int) -> ClusterState:
    return replace(published.states[2], cluster_id=cluster_id, merged_into=into)


def told_levels(store: MemoryStore, *records: tuple[bytes, bytes | None]) -> list[str]:
    of_topic = Published(levels=PublishedLevels())
    for record in records:
        of_topic.levels.add(*record)
    found = _compare_levels(store, NAMESPACE, _Held(store, NAMESPACE), of_topic)
    return [difference.promise for difference in found]


def test_levels_differ_where_one_has_later_ones_or_others_of_the_same_version(published: Compared) -> None:
    store = published.store
    assert told_levels(store) == []

    def records(levels: StoredLevels) -> list[tuple[bytes, bytes]]:
        return list(encode_levels(NAMESPACE, levels))

    assert store.write_levels(NAMESPACE, store.store_epoch(NAMESPACE) or "", FOUND)
    levels = store.levels(NAMESPACE)
    # They wait to be published.
    assert told_levels(store) == []
    store.confirm_levels(NAMESPACE, levels.version)
    assert told_levels(store) == [EVERY_CHANGE]
    assert told_levels(store, *records(levels)) == []
    assert told_levels(store, *records(replace(levels, version=levels.version + 1))) == [STORE_HAS]
    assert told_levels(store, *records(replace(levels, opened=7))) == [TOPIC_HAS]


def told_operations(store: MemoryStore, by_number: Mapping[int, Operation]) -> list[str]:
    of_topic = PublishedOperations(dict(by_number), max(by_number, default=0))
    held = store.operations(NAMESPACE, 10)
    found = compare_operations(store, NAMESPACE, held, store.published_operations(NAMESPACE), of_topic)
    return [f"{difference.promise}: {difference.told.rpartition(': ')[2]}" for difference in found]


def test_operations_differ_by_what_is_missing_and_what_is_another(published: Compared) -> None:
    store = published.store
    pin(store, NAMESPACE, 1)
    pin(store, NAMESPACE, 3, 2)
    by_number = {one.number: one for one in store.operations(NAMESPACE, 10)}
    more = {**by_number, 3: replace(by_number[2], number=3, id="op-3")}
    # Nobody has compared them yet: a worker does so before it publishes the next.
    assert store.published_operations(NAMESPACE) is None
    assert told_operations(store, more) == []
    assert missing_operations(store, NAMESPACE, PublishedOperations(more, 3)) == []
    compared(store, NAMESPACE)
    # They wait to be published.
    assert told_operations(store, {}) == []
    store.confirm_operations(NAMESPACE, "one", 2)
    assert told_operations(store, by_number) == []
    assert told_operations(store, more) == [f"{STORE_HAS}: 3"]
    assert told_operations(store, {1: by_number[1]}) == [f"{EVERY_CHANGE}: 2"]
    assert told_operations(store, {**by_number, 2: replace(by_number[2], actor="bob")}) == [f"{TOPIC_HAS}: 2"]
