"""The steps of the worker one by one: what each makes of the states that it takes."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from questream.broker.port import Partition
from questream.clustering.rules import Rules
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.domain import Decision, Question, Record, Source
from questream.encoder import Tokens
from questream.errors import BadRecord, IdentityMismatch, RecoveryNeeded
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


def question(offset: int, namespace: str = "default", key: bytes | None = None) -> Question:
    return Question(str(offset), f"Why {offset}?", namespace, Record(Source("questions", 0, offset, 1), key, b"{}"))


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
    """A decider with a store of its own, or one beside others in a store."""

    def __init__(self, store: MemoryStore | None = None) -> None:
        self.assignment_id = 1
        self.store, identity = store or MemoryStore(), Identity("model", "r1", DIMENSION, "cosine", "average", 0.9)
        namespaces = Namespaces(self.store, NamespaceConfig(identity, Rules(0.9, 0.9, "cosine")))
        clusterer = Clusterer(self.store, namespaces)
        self._store_epoch = namespaces.recorded("default", "questions", 0).store_epoch
        self.metrics = Metrics()
        self.decider = Decider(
            clusterer, self.metrics, Retry(threading.Event()), lambda: self.assignment_id, lambda _: None, "default"
        )

    def decide(self, *items: Refused | Recalled | int) -> DecidedBatch:
        """Decide a batch of the assignment in force; a number is the offset of a pending question."""
        return self.decide_as_they_are(*[self._ready(item) for item in items])

    def decide_as_they_are(self, *items: Ready) -> DecidedBatch:
        decided = self.decider.decide(Batch(items, self.assignment_id, None, 0.0))
        assert decided is not None
        return decided

    def seconds_noted(self, stage: str) -> float | None:
        """How often the seconds of a stage were noted."""
        return self.metrics.registry.get_sample_value("questream_stage_seconds_count", {"stage": stage})

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


def test_a_batch_that_was_read_partly_before_and_partly_after_a_recovery_is_read_again() -> None:
    """What the ledgers told of its first records may be forgotten."""
    one = OneDecider()
    items = [one._ready(0), Embedded(pending(1, store_epoch="before"), np.eye(DIMENSION, dtype=np.float32)[1])]
    with pytest.raises(RecoveryNeeded, match="between the records of one batch"):
        one.decide_as_they_are(*items)
    assert list(one.store.clusters("default")) == []


def test_a_question_whose_decision_could_not_be_sent_is_not_counted() -> None:
    one = OneDecider()
    too_long = replace(
        pending(0, store_epoch=one.store.store_epoch("default") or ""), question=question(0, key=b"k" * 2**21)
    )
    refused, decided = one.decide_as_they_are(
        Embedded(too_long, np.eye(DIMENSION, dtype=np.float32)[0]), one._ready(1)
    ).batch.items
    assert isinstance(refused, Refused)
    assert refused.error.reason == "too_large_to_publish"
    assert isinstance(decided, Decided)
    assert [state.cluster_id for state in one.store.clusters("default")] == [decided.decision.cluster_id]


def test_a_namespace_of_another_model_is_passed_over_and_the_own_one_is_not() -> None:
    one = OneDecider()
    other = NamespaceConfig(Identity("another", "r1", DIMENSION, "cosine", "average", 0.9), Rules(0.9, 0.9, "cosine"))
    store_epoch = Namespaces(one.store, other).recovered("bank")
    of_bank = replace(pending(0, store_epoch=store_epoch), question=question(0, "bank"))
    embedded = Embedded(of_bank, np.eye(DIMENSION, dtype=np.float32)[0])
    refused, decided = one.decide_as_they_are(embedded, one._ready(1)).batch.items
    assert isinstance(refused, Refused)
    assert refused.error.reason == "namespace_of_another_model"
    assert isinstance(decided, Decided)
    one.decider._own_namespace = "bank"
    with pytest.raises(IdentityMismatch):
        one.decide_as_they_are(embedded)


def test_the_time_of_a_stage_is_noted_for_batches_that_had_something_to_decide() -> None:
    one = OneDecider()
    one.decide(0)
    one.decide(refused(1))
    assert [one.seconds_noted(stage) for stage in ("assign", "commit")] == [1, 1]


def test_what_other_workers_did_is_followed_while_there_is_nothing_to_decide() -> None:
    one = OneDecider()
    one.decide(0)
    other = OneDecider(one.store)
    other.decide(1)
    one.decider.follow()
    assert one.metrics.registry.get_sample_value("questream_clusters") == 2
