"""What a cluster is put back as: of which model, at which revision, and without which of its questions."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from questream.domain import ClusterState, InFlight, NamespaceState
from questream.recovery import restoring
from questream.recovery.cluster_topic import Published
from questream.recovery.restoring import Restoring, _of_another_model, _replacing, _without_lost_joins
from questream.store.protocol import Identity, Mended, Restored
from questream.store.reference.store import MemoryStore

AT = ("questions", 0)
STATE = ClusterState(
    cluster_id=3,
    namespace="shop",
    event="updated",
    size=5,
    members=5,
    vector_sum=np.ones(4, np.float32),
    merged_into=None,
    representative="q1",
    created_at=1,
    last_seen_at=2,
    model="mini",
    revision=7,
)
WHOLE = NamespaceState("shop", "mini", "1", "cosine", "average", 0.6, 4, 0, np.zeros(4, np.float32), 9)


@pytest.mark.parametrize(
    ("state", "whole", "is_left_behind"),
    [
        (STATE, WHOLE, False),
        (replace(STATE, model="large"), WHOLE, True),
        (replace(STATE, vector_sum=np.ones(8, np.float32)), WHOLE, True),
        # Of a namespace that the topic does not tell of nothing is known, and an alias is of no model.
        (replace(STATE, model="large"), None, False),
        (replace(STATE, model="large", vector_sum=None, merged_into=1), WHOLE, False),
    ],
)
def test_a_cluster_of_another_model_was_left_behind_by_a_move(
    state: ClusterState, whole: NamespaceState | None, is_left_behind: bool
) -> None:
    assert _of_another_model(state, whole) is is_left_behind


def test_what_takes_the_place_of_a_damaged_cluster_has_a_later_revision() -> None:
    restored = Restored(STATE)
    assert _replacing(restored, Mended(damaged={4: 9})) == restored
    retired = Restored(replace(STATE, event="retired"))
    assert _replacing(retired, Mended(damaged={3: 9})) == retired
    assert _replacing(restored, Mended(damaged={3: 7})) == replace(restored, damaged=True)
    later = _replacing(restored, Mended(damaged={3: 9}))
    assert (later.state.revision, later.publish, later.damaged) == (10, True, True)


def test_questions_that_are_neither_published_nor_recorded_are_not_counted() -> None:
    # 4 is published, 5 stands in a ledger, 6 and 7 are lost with it.
    state = replace(STATE, in_flight=InFlight({AT: (4, 5, 6, 7)}))
    restored = _without_lost_joins(state, {AT: 5}, {AT: 5})
    assert restored.state.size == 3
    assert restored.state.in_flight.joins == {AT: (5,)}
    # Nothing is lost: it stays as it was told.
    kept = _without_lost_joins(state, {AT: 5}, {AT: 7})
    assert (kept.state.size, kept.state.revision, kept.publish) == (5, 7, False)
    assert kept.state.in_flight.joins == {AT: (5, 6, 7)}


def test_of_the_topic_of_another_group_nothing_is_known() -> None:
    state = replace(STATE, in_flight=InFlight({("mails", 0): (4, 5)}))
    restored = _without_lost_joins(state, {AT: 5}, {})
    assert restored.state.size == 5
    assert restored.state.in_flight.joins == {}


class Topic:
    """The newest states that were published, in the order in which they are read."""

    def __init__(self, *states: ClusterState) -> None:
        self._states = states

    def newest_states(self, _: str, revisions: Mapping[int, int]) -> Iterator[ClusterState]:
        return (state for state in self._states if state.cluster_id in revisions)

    def states(self, _: str, cluster_ids: Collection[int]) -> dict[int, ClusterState]:
        return {state.cluster_id: state for state in self._states if state.cluster_id in cluster_ids}


class Store(MemoryStore):
    """Notes how many clusters are put back at once."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[int] = []

    def restore(self, namespace: str, token: str, restored: Sequence[Restored]) -> int:
        self.parts.append(len(restored))
        return super().restore(namespace, token, restored)


def restore_states(*states: ClusterState) -> Store:
    """An emptied store that these were put back into."""
    store = Store()
    store.open("shop", Identity("mini", "1", 4, "cosine", "average", 0.6))
    token = store.begin_recovery("shop")
    topic: Any = Topic(*states)
    revisions = {state.cluster_id: state.revision for state in states}
    published = Published(revisions, whole=WHOLE)
    Restoring(store, topic, "shop", token, published, Mended(), {AT: 9}, lambda _: None).restore(revisions, ())
    store.recover("shop", token, WHOLE, {})
    return store


def test_clusters_are_put_back_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restoring, "_PART", 2)
    store = restore_states(*(replace(STATE, cluster_id=number) for number in range(1, 6)))
    assert store.parts == [2, 2, 1]
    assert [state.cluster_id for state in store.clusters("shop")] == [1, 2, 3, 4, 5]


def test_what_a_merge_made_takes_up_what_was_not_published_as_merged(monkeypatch: pytest.MonkeyPatch) -> None:
    """The survivor is read first, and what it was made of comes in a later part."""
    monkeypatch.setattr(restoring, "_PART", 1)
    survivor = replace(STATE, cluster_id=1, size=9, in_flight=InFlight({}, (2, 4, 5)))
    merged_before = replace(STATE, cluster_id=4, event="merged", members=0, vector_sum=None, merged_into=3)
    # The topic knows 5 no longer: it is gone for good.
    store = restore_states(survivor, replace(STATE, cluster_id=2), STATE, merged_before)
    assert [state.cluster_id for state in store.clusters("shop")] == [1, 3]
    merged_into = {i: state.merged_into for i in (2, 4) if (state := store.cluster("shop", i)) is not None}
    assert merged_into == {2: 1, 4: 3}
    assert store.cluster("shop", 5) is None
