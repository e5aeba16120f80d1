"""The steps of the worker one by one: what each makes of the states that it takes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from questream.broker.port import Partition
from questream.clustering.rules import Rules
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.domain import Decision, Question, Record, Source
from questream.encoder import Tokens
from questream.errors import BadRecord
from questream.metrics import Metrics
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore
from questream.stream.backlog import Batch
from questream.stream.decider import DecidedBatch, Decider, Published
from questream.stream.embedding import embed
from questream.stream.question import Decided, Embedded, Pending, Queued, Ready, Recalled, Refused
from questream.stream.retry import Retry

DIMENSION = 4


class LengthEncoder:
    """Puts a text's number of tokens where its own axis is."""

    def __init__(self, axis: int) -> None:
        self._axis = axis

    def encode_tokens(self, tokens: Sequence[Tokens]) -> np.ndarray[Any, Any]:
        vectors = np.zeros((len(tokens), DIMENSION), np.float32)
        vectors[:, self._axis] = [len(one) for one in tokens]
        return vectors


def question(offset: int) -> Question:
    return Question(str(offset), f"Why {offset}?", "default", Record(Source("questions", 0, offset, 1), None, b"{}"))


def pending(offset: int, tokens: int = 1, encoder: Any = None, store_epoch: str = "") -> Pending:
    return Pending(question(offset), Tokens(np.zeros(tokens, np.int32), truncated=False), encoder, store_epoch, True)


def refused(offset: int) -> Refused:
    return Refused(question(offset).record, BadRecord("decode", "not_text", "no text"))


def recalled(offset: int) -> Recalled:
    decision = Decision(7, 0.9, "joined", 3, None, None, None, "model", 0.9, False, 1, 0.0)
    return Recalled(question(offset), decision, "1")


def test_each_pending_question_gets_the_vector_of_its_own_model_and_others_pass() -> None:
    first: Any = LengthEncoder(0)
    second: Any = LengthEncoder(1)
    items: list[Queued] = [pending(0, 3, first), refused(1), pending(2, 5, second), recalled(3), pending(4, 2, first)]
    ready = embed(Batch(items, 1, None, 0.0), Metrics()).items
    assert [ready[1], ready[3]] == [items[1], items[3]]
    vectors = {at: item.vector.tolist() for at, item in enumerate(ready) if isinstance(item, Embedded)}
    assert vectors == {0: [3, 0, 0, 0], 2: [0, 5, 0, 0], 4: [2, 0, 0, 0]}


class OneDecider:
    """A decider with a store of its own."""

    def __init__(self) -> None:
        self.assignment_id = 1
        store, identity = MemoryStore(), Identity("model", "r1", DIMENSION, "cosine", "average", 0.9)
        namespaces = Namespaces(store, NamespaceConfig(identity, Rules(0.9, 0.9, "cosine")))
        clusterer = Clusterer(store, namespaces)
        self._store_epoch = namespaces.recorded("default", "questions", 0).store_epoch
        self.decider = Decider(
            clusterer, Metrics(), Retry(threading.Event()), lambda: self.assignment_id, lambda _: None, "default"
        )

    def decide(self, *items: Refused | Recalled | int) -> DecidedBatch:
        """Decide a batch of the assignment in force; a number is the offset of a pending question."""
        decided = self.decider.decide(Batch([self._ready(item) for item in items], self.assignment_id, None, 0.0))
        assert decided is not None
        return decided

    def _ready(self, item: Refused | Recalled | int) -> Ready:
        if not isinstance(item, int):
            return item
        return Embedded(pending(item, store_epoch=self._store_epoch), np.eye(DIMENSION, dtype=np.float32)[item % 2])


def test_every_question_of_a_batch_is_decided_or_refused_in_its_place() -> None:
    passing: list[Refused | Recalled] = [refused(1), recalled(2)]
    decided = OneDecider().decide(0, *passing, 3)
    first, *others, last = decided.batch.items
    assert others == passing
    assert isinstance(first, Decided)
    assert isinstance(last, Decided)
    assert [first.question.id, last.question.id] == ["0", "3"]
    assert first.decision.cluster_id != last.decision.cluster_id


def test_a_vector_that_is_not_finite_refuses_its_question_alone() -> None:
    one = OneDecider()
    broken = Embedded(pending(0), np.full(DIMENSION, np.nan, np.float32))
    decided = one.decider.decide(Batch([broken, one._ready(1)], 1, None, 0.0))
    assert decided is not None
    first, second = decided.batch.items
    assert isinstance(first, Refused)
    assert first.error.reason == "not_finite"
    assert isinstance(second, Decided)


def test_ledgers_may_forget_what_was_published_in_the_same_assignment_alone() -> None:
    one = OneDecider()
    at = Partition("questions", 0)
    # It is read from the group's offset on.
    assert one.decide(5).published_below == {at: 5}
    one.decider.published(Published(1, "questions", {at: 6}))
    assert one.decide(6).published_below == {at: 6}
    one.decider.published(Published(1, "questions", {at: 7}))
    one.assignment_id = 2
    # The log was cut in between: what was published below 7 were other records.
    assert one.decide(recalled(3)).published_below == {at: 3}


def test_a_batch_of_an_assignment_that_has_ended_is_dropped() -> None:
    one = OneDecider()
    assert one.decider.decide(Batch([one._ready(0)], 0, None, 0.0)) is None
