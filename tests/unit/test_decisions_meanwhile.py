"""An operation whose cluster a worker merges away while it is looked at: at every call to the store in turn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.clustering.merging import Merge
from questream.domain import ClusterState, Operation
from questream.operations import By, Decisions, KnownQuestion
from questream.operations.requests import Propose
from questream.store.protocol import Store
from questream.store.reference.store import MemoryStore

TEXTS = ["Where is my card?", "Is my card lost?", "How do I pay?"]


def filled() -> MemoryStore:
    """Two questions in cluster 1, one in 2 and one in 3."""
    store = MemoryStore()
    clusterer = QuestionClusterer(dimension=3, similarity="cosine", threshold=0.9, store=store)
    vectors = [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0]]
    assert clusterer.assign(vectors, texts=[*TEXTS, TEXTS[0]]).ids == [1, 2, 3, 1]
    return store


class Interrupted:
    """The store, in which a worker merges cluster 2 into 1 before a certain call, the first of which is 0."""

    def __init__(self, store: MemoryStore, before_call: int) -> None:
        self._store = store
        self._before_call = before_call
        self.calls = 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._store, name)

        def call(*args: Any, **named: Any) -> Any:
            if self.calls == self._before_call:
                merge(self._store)
            self.calls += 1
            return method(*args, **named)

        return call


def merge(store: MemoryStore) -> None:
    mirror = store.load("default")
    sums = mirror.vector_sum(1) + mirror.vector_sum(2)
    assert store.merge("default", mirror.store_epoch, mirror.seq, [Merge(1, 2, 2, 1, sums)]).applied


def asked_about(cluster_id: int, **more: Any) -> KnownQuestion:
    return KnownQuestion(cluster_id, np.eye(3, dtype=np.float32)[cluster_id - 1], ("q", 0, 9), question_id="q9", **more)


def state_of(store: MemoryStore, cluster_id: int) -> ClusterState:
    state = store.cluster("default", cluster_id)
    assert state is not None
    return state


def has_no_text(store: MemoryStore, operation: Operation) -> None:
    assert [state_of(store, i).representative for i in {2, *operation.after}] == [None] * len({2, *operation.after})


def has_all_its_questions_dealt_with(store: MemoryStore, operation: Operation) -> None:
    (number,) = operation.after
    state = state_of(store, number)
    assert state.merged_into is not None or state.ruling.resolved_size == state.size


def went_to_none_that_turns_it_away(store: MemoryStore, operation: Operation) -> None:
    (correction,) = operation.corrections
    assert correction.after is None or state_of(store, correction.after).ruling.exemplars == ()


def is_in_one_cluster(store: MemoryStore, operation: Operation) -> None:
    assert [one.kind for i in operation.after for one in state_of(store, i).ruling.exemplars if one.kind == "must"] == [
        "must"
    ]


def stands_for_it(store: MemoryStore, operation: Operation) -> None:
    (number,) = operation.after
    assert state_of(store, state_of(store, number).merged_into or number).representative == "Lost it"


DECISIONS: dict[str, tuple[Callable[[Decisions], Propose], Callable[[MemoryStore, Operation], None]]] = {
    "forget": (lambda by: by.forget(2), has_no_text),
    "resolve": (lambda by: by.mark("resolve", 2), has_all_its_questions_dealt_with),
    "reject": (lambda by: by.reject([asked_about(2, would_join=(1, 3))]), went_to_none_that_turns_it_away),
    "move": (lambda by: by.move([asked_about(2)], 1), is_in_one_cluster),
    "represent": (lambda by: by.represent(2, "Lost it", of=2), stands_for_it),
}


@pytest.mark.parametrize(("ask", "check"), DECISIONS.values(), ids=DECISIONS)
def test_a_merge_at_any_moment_leaves_what_was_decided_true(
    ask: Callable[[Decisions], Propose], check: Callable[[MemoryStore, Operation], None]
) -> None:
    calls = before_call = 1
    while before_call <= calls:
        store = filled()
        interrupted = Interrupted(store, before_call - 1)
        decisions = Decisions(cast(Store, interrupted), "default", By("ann"))
        check(store, decisions.commit(ask(decisions)))
        calls = interrupted.calls
        before_call += 1
    assert calls > 1
