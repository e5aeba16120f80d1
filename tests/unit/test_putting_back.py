"""What a cluster is put back as: of which model, at which revision, and without which of its questions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from questream.domain import ClusterState, InFlight, NamespaceState
from questream.recovery.putting_back import _of_another_model, _replacing, _without_lost_joins
from questream.store.protocol import Mended, Restored

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
    label=None,
    route=None,
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
