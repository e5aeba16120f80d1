"""The intake with a consumer whose assignment changes while fetched records are decoded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, cast

from questream.broker import port
from questream.broker.port import Partition
from questream.domain import Question, Record
from questream.errors import BadRecord, Superseded
from questream.metrics import Metrics
from questream.stream.backlog import Backlog
from questream.stream.decoding import Decoded
from questream.stream.fence import Fence
from questream.stream.intake import Intake
from questream.stream.polling import PollingRetry
from questream.stream.question import Refused
from questream.stream.retry import Retry

AT = Partition("questions", 0)
EMPTY: dict[str, Any] = {"key": None, "value": b"{}", "headers": ()}


class Consumer:
    """Has one partition, and another that gives nothing; of the first each poll gives one record.

    `waiting` are partitions of which records wait behind that one.
    """

    def __init__(self, waiting: Collection[Partition] = ()) -> None:
        self.listener: Any = None
        self.sought: list[tuple[Partition, int]] = []
        self.pauses: list[set[Partition]] = []
        self._waiting = waiting

    def subscribe(self, topic: str, listener: Any) -> None:  # noqa: ARG002 - the consumer's signature
        self.listener = listener

    def assignment(self) -> set[Partition]:
        return {AT, Partition("questions", 1)}

    def group_metadata(self) -> Any:
        return SimpleNamespace(generation_id=1)

    def poll(self, timeout: float, max_records: int) -> dict[Partition, list[Any]]:  # noqa: ARG002 - as above
        return {AT: [SimpleNamespace(topic="questions", partition=0, offset=7, timestamp=1, **EMPTY)]}

    def paused(self) -> set[Partition]:
        return set()

    def pause(self, partitions: set[Partition]) -> None:
        self.pauses.append(partitions)

    def resume(self, partitions: set[Partition]) -> None: ...

    def others_wait(self, partitions: set[Partition]) -> bool:
        return not partitions.issuperset(self._waiting)

    def take_out_of_range(self) -> dict[Partition, int]:
        return {}

    def end_offsets(self, *_: Any) -> dict[Partition, int]:
        return {}

    def seek(self, partition: Partition, offset: int) -> None:
        self.sought.append((partition, offset))


class Decoding:
    """Holds back each record that it gets, or refuses it; `meanwhile` is called first, and may raise."""

    def __init__(self, meanwhile: Callable[[], None], holds: bool) -> None:
        self._meanwhile = meanwhile
        self._holds = holds

    def decode(self, fetched: dict[Partition, list[Record]]) -> Decoded[Partition]:
        self._meanwhile()
        record = fetched[AT][0]
        if self._holds:
            return Decoded([], {}, {AT: Question("q", "Why?", "held", record)})
        return Decoded([Refused(record, BadRecord("decode", "not_text", "no text"))], {AT: 8}, {})


def stepped(
    holds: bool, changes: bool, waiting: Collection[Partition] = (), steps: int = 1, published: bool = False
) -> tuple[Consumer, Backlog, float]:
    """Steps of the intake, with its backlog and how many records it counts as consumed."""
    consumer = Consumer(waiting)

    def meanwhile() -> None:
        if changes:
            consumer.listener.revoked()
        if published:
            raise Superseded("another worker has published them")

    backlog, metrics, retry = Backlog(64, 1000, 10**6), Metrics(), Retry(threading.Event())
    client = cast("port.Consumer", consumer)
    decoding: Any = Decoding(meanwhile, holds)
    unused: Any = None
    fence = Fence(client, 1.0)
    polling = PollingRetry(client, retry, fence, 1.0)
    intake = Intake(
        client, "questions", "earliest", decoding, unused, unused, backlog, metrics, polling, fence, unused, 1.0
    )
    for _ in range(steps):
        intake.step()
    return consumer, backlog, metrics.consumed._value.get()


def test_what_was_decoded_while_its_partition_was_given_away_goes_nowhere() -> None:
    _, backlog, consumed = stepped(holds=False, changes=True)
    assert (len(backlog), consumed) == (0, 0)


def test_a_partition_that_was_given_away_is_not_sought_in() -> None:
    consumer, _, _ = stepped(holds=True, changes=True)
    # The client raises for a partition that it no longer has.
    assert consumer.sought == []


def test_what_was_decoded_in_its_assignment_waits_for_the_device_or_for_its_namespace() -> None:
    _, backlog, consumed = stepped(holds=False, changes=False)
    assert (len(backlog), consumed) == (1, 1)
    consumer, _, _ = stepped(holds=True, changes=False)
    assert consumer.sought == [(AT, 7)]


def test_what_another_worker_has_published_ends_the_assignment() -> None:
    _, backlog, consumed = stepped(holds=False, changes=False, published=True)
    assert (len(backlog), backlog.begun, consumed) == (0, False, 0)


def test_a_partition_is_paused_only_while_others_have_records_that_wait() -> None:
    # No request asks for what is paused: with a few questions a second each would wait for the next answer.
    consumer, _, _ = stepped(holds=False, changes=False, steps=2)
    assert not any(consumer.pauses)
    consumer, _, _ = stepped(holds=False, changes=False, waiting=[Partition("questions", 1)], steps=2)
    assert consumer.pauses == [set(), {AT}]
