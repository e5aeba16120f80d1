"""The fence of at-least-once, with a consumer whose group rebalances, and where it is asked."""

from __future__ import annotations

import threading
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from questream.broker import port
from questream.broker.port import NextOffset, Offsets, Partition
from questream.domain import Record, Source
from questream.errors import BadRecord, KafkaTimeout, Superseded
from questream.stream.backlog import Batch
from questream.stream.fence import Fence
from questream.stream.question import Answered, Decided, Refused
from tests.unit.test_publishing import Bed

OLD, NEW = Partition("questions", 0), Partition("questions", 1)


class Consumer:
    """In generation 3 of a group that has committed offset 7 of one partition, and nothing of another."""

    def __init__(self, refusal: Exception | None = None) -> None:
        self.commits: list[dict[Partition, tuple[int, str]]] = []
        self.generation = 3
        self.rejoins = False
        self._refusal = refusal

    def group_metadata(self) -> Any:
        return SimpleNamespace(generation_id=self.generation)

    def committed(self, partition: Partition, _: float) -> NextOffset | None:
        return NextOffset(7, "the record before") if partition == OLD else None

    def commit(self, offsets: Offsets, _: float) -> None:
        if self._refusal is not None:
            raise self._refusal
        self.generation += self.rejoins
        self.commits.append({at: (offset, getattr(offset, "metadata", "")) for at, offset in offsets.items()})


def required(consumer: Consumer, offsets: Offsets, generation_id: int = 3) -> None:
    """Asked on another thread than the consumer's."""
    fence = Fence(cast("port.Consumer", consumer), 20.0)
    ended = threading.Event()

    def answer() -> None:
        while not ended.wait(0.001):
            fence.answer()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        fence.require(offsets, cast("port.GroupMetadata", SimpleNamespace(generation_id=generation_id)))
    finally:
        ended.set()
        thread.join()


def test_the_offsets_of_a_member_stay_as_they_are() -> None:
    consumer = Consumer()
    required(consumer, {OLD: 9, NEW: 0})
    assert consumer.commits == [{OLD: (7, "the record before"), NEW: (0, "")}]


def test_a_membership_of_before_a_rebalance_commits_nothing() -> None:
    consumer = Consumer()
    with pytest.raises(Superseded):
        required(consumer, {OLD: 9}, generation_id=2)
    assert consumer.commits == []


def test_what_others_have_published_is_theirs() -> None:
    consumer = Consumer()
    with pytest.raises(Superseded):
        required(consumer, {OLD: 6})
    assert consumer.commits == []


def test_a_consumer_that_joins_the_group_again_meanwhile_is_no_member_of_before() -> None:
    consumer = Consumer()
    consumer.rejoins = True
    with pytest.raises(Superseded):
        required(consumer, {OLD: 9})


@pytest.mark.parametrize("refusal", [Superseded("no member"), KafkaTimeout("no answer")])
def test_what_the_broker_answers_is_raised_to_the_thread_that_asks(refusal: Exception) -> None:
    with pytest.raises(type(refusal)):
        required(Consumer(refusal), {OLD: 9})


def test_a_thread_waits_for_the_consumers_no_longer_than_for_the_broker() -> None:
    with pytest.raises(KafkaTimeout):
        Fence(cast("port.Consumer", Consumer()), 0.01).require({OLD: 9}, cast("port.GroupMetadata", None))


class Asked:
    """A fence that lets nothing pass."""

    def __init__(self) -> None:
        self.offsets: list[Offsets] = []

    def require(self, offsets: Offsets, membership: Any) -> None:  # noqa: ARG002 - the fence's signature
        self.offsets.append(offsets)
        raise Superseded("another worker has the partitions")


@pytest.mark.parametrize(("stage", "is_asked"), [("recall", True), ("decide", True), ("decode", False)])
def test_a_record_that_the_store_refused_is_no_dead_letter_of_a_worker_without_its_partition(
    stage: str, is_asked: bool
) -> None:
    bed, fence = Bed(), Asked()
    bed.publishing._fence = cast("Fence", fence)
    refused = [
        Refused(Record(Source("questions", 0, offset, 1), None, b"Why?"), BadRecord(stage, "reason", "no"))
        for offset in (7, 8)
    ]
    bed.publishing.publish(bed.decided(bed.question(5), *refused))
    assert fence.offsets == ([{OLD: 5}] if is_asked else [])
    assert bool(bed.publications.all) is not is_asked


def test_an_answer_that_no_ledger_keeps_is_none_of_a_worker_without_its_partition() -> None:
    bed, fence = Bed(), Asked()
    bed.publishing._fence = cast("Fence", fence)
    decided = bed.decided(bed.question(5))
    bed.publishing.publish(replace(decided, batch=replayed(decided.batch)))
    assert (fence.offsets, bed.publications.all) == ([{OLD: 5}], [])


def replayed(batch: Batch[Answered]) -> Batch[Answered]:
    """A batch of decisions as if they had been pruned."""
    items = [item for item in batch.items if isinstance(item, Decided)]
    return batch.of([replace(item, decision=replace(item.decision, outcome="replayed")) for item in items])
