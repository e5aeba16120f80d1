"""The intake between its consumer and other threads: the offsets it commits, and when it gives the consumer up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, cast

import pytest

from questream.broker import port
from questream.broker.port import NextOffset, Partition
from questream.domain import Question, Record
from questream.errors import KafkaTimeout, KafkaUnavailable, NamespaceHeld, NamespaceRefused
from questream.metrics import Metrics
from questream.stream import intake
from questream.stream.backlog import Backlog
from questream.stream.decider import Published
from questream.stream.decoding import Decoded
from questream.stream.fence import Fence
from questream.stream.intake import Intake
from questream.stream.polling import PollingRetry
from questream.stream.retry import Retry
from tests.unit.test_positions import FIRST, Log, message

STALL_SECONDS = 60.0


class Group(Log):
    """A member of a group in `generation`, whose polls hand out `fetched` and whose partitions it calls `found`."""

    def __init__(self) -> None:
        super().__init__(p0=NextOffset(5, ""))
        self.generation = 3
        self.fetched: dict[Partition, list[Any]] = {}
        self.found: list[Partition] = [FIRST]
        self.out_of_range: dict[Partition, int] = {}
        self.is_silent = False
        self.meanwhile: Callable[[], object] = lambda: None
        self.listener: Any = None

    def subscribe(self, topic: str, listener: Any) -> None:  # noqa: ARG002 - the port's signature
        self.listener = listener

    def group_metadata(self) -> Any:
        return SimpleNamespace(generation_id=self.generation)

    def partitions(self, _: str) -> list[Partition]:
        return self.found

    def poll(self, timeout: float, max_records: int) -> dict[Partition, list[Any]]:  # noqa: ARG002 - as above
        self.meanwhile()
        fetched, self.fetched = self.fetched, {}
        return fetched

    def position(self, partition: Partition, _: float) -> int | None:
        return self.sought.get(partition)

    def paused(self) -> set[Partition]:
        return set()

    def pause(self, partitions: set[Partition]) -> None: ...

    def resume(self, partitions: set[Partition]) -> None: ...

    def others_wait(self, _: Collection[Partition]) -> bool:
        return False

    def take_out_of_range(self) -> dict[Partition, int]:
        found, self.out_of_range = self.out_of_range, {}
        return found

    def end_offsets(self, partitions: Collection[Partition], _: float | None) -> dict[Partition, int]:
        if self.is_silent:
            raise KafkaTimeout("no answer")
        return dict.fromkeys(partitions, self.end)

    def log_end(self, _: Partition) -> int | None:
        return self.end

    def stream_identity(self, _: str) -> str:
        return "a cluster/a topic/a group"


class Namespaces:
    """The topic is called `name` in the ledgers; `held` are namespaces that somebody holds."""

    def __init__(self) -> None:
        self.name, self.is_new = "questions", True
        self.held: dict[str, Exception] = {}
        self.looks: list[str] = []

    def stream(self, topic: str, identity: str) -> tuple[str, bool]:
        assert (topic, identity) == ("questions", "a cluster/a topic/a group")
        return self.name, self.is_new

    def recovered(self, namespace: str) -> str:
        self.looks.append(namespace)
        if namespace in self.held:
            raise self.held[namespace]
        return "1"


class Recall:
    """Counts how often it is cleared."""

    def __init__(self) -> None:
        self.clears = 0

    def clear(self) -> None:
        self.clears += 1


class Bed:
    """An intake that has joined its group; `records` are those that it has decoded, of which it holds `holds` back."""

    def __init__(self) -> None:
        self.group, self.metrics, self.backlog = Group(), Metrics(), Backlog(64, 1000, 10**6)
        self.namespaces, self.recall = Namespaces(), Recall()
        self.records: list[Record] = []
        self.holds: str | None = None
        self.decoded = 0
        self.meanwhile: Callable[[], object] = lambda: None
        client = cast("port.Consumer", self.group)
        fence = Fence(client, 1.0)
        polling = PollingRetry(client, Retry(threading.Event()), fence, 1.0)
        decoding, recall, namespaces = (cast("Any", part) for part in (self, self.recall, self.namespaces))
        self.intake = Intake(
            client,
            "questions",
            "latest",
            decoding,
            recall,
            namespaces,
            self.backlog,
            self.metrics,
            polling,
            fence,
            cast("Any", self.group),
            STALL_SECONDS,
        )
        self.join()

    def join(self) -> None:
        self.group.listener.assigned()
        self.intake.step()

    def decode(self, fetched: dict[Partition, list[Record]]) -> Decoded[Partition]:
        """As of Decoding."""
        self.decoded += 1
        self.meanwhile()
        ends = {}
        for partition, records in fetched.items():
            self.records += records
            if self.holds is not None:
                return Decoded([], {}, {partition: Question("q", "Why?", self.holds, records[0])})
            ends[partition] = records[-1].source.offset + 1
        return Decoded([], ends, {})

    def fetch(self, *offsets: int) -> None:
        """A step that fetches these."""
        self.group.fetched = {FIRST: [message(offset) for offset in offsets]}
        self.intake.step()

    def acknowledge(self, offset: int, generation: int = 3) -> None:
        membership = cast("port.GroupMetadata", SimpleNamespace(generation_id=generation))
        self.intake.acknowledge({FIRST: offset}, membership)

    def publish(self, offset: int, assignment_id: int | None = None) -> None:
        current = self.backlog.assignment_id if assignment_id is None else assignment_id
        self.intake.published(Published(current, "questions", {FIRST: offset}))

    def look_at_lag(self, position: int) -> None:
        """A step that looks at the lag, with the consumer at this position."""
        self.group.sought[FIRST] = position
        self.intake._next_lag_report = 0.0
        self.intake.step()

    @property
    def lag(self) -> dict[str, float]:
        """The reported lag."""
        return {
            sample.labels["partition"]: sample.value
            for sample in next(iter(self.metrics.consumer_lag.collect())).samples
        }


def test_acknowledged_offsets_are_committed_at_the_next_step_and_named_from_then_on() -> None:
    bed = Bed()
    bed.acknowledge(6)
    bed.acknowledge(7)
    bed.intake.step()
    assert bed.group.commits == [{FIRST: 7}]
    membership = cast("port.GroupMetadata", SimpleNamespace(generation_id=3))
    assert bed.intake.acknowledge({}, membership) == {FIRST: 7}


def test_offsets_that_the_group_refuses_are_not_named_as_committed() -> None:
    bed = Bed()
    bed.acknowledge(6)
    bed.group.has_rebalanced = True
    bed.intake.step()
    membership = cast("port.GroupMetadata", SimpleNamespace(generation_id=3))
    assert bed.intake.acknowledge({}, membership) == {}


def test_offsets_of_a_generation_before_are_not_committed() -> None:
    bed = Bed()
    bed.acknowledge(6, generation=2)
    bed.intake.step()
    assert bed.group.commits == []


def test_what_was_fetched_without_a_generation_begins_a_new_session() -> None:
    bed = Bed()
    bed.group.generation = -1
    with pytest.raises(KafkaUnavailable):
        bed.fetch(5)
    assert bed.records == []


def test_marks_are_passed_only_behind_what_was_published_in_this_assignment() -> None:
    bed = Bed()
    bed.fetch(5)
    bed.look_at_lag(8)
    assert bed.group.commits == []
    bed.publish(6, assignment_id=bed.backlog.assignment_id - 1)
    bed.look_at_lag(8)
    assert bed.group.commits == []
    bed.publish(6)
    bed.look_at_lag(8)
    assert bed.group.commits == [{FIRST: 8}]


def test_marks_are_passed_behind_what_was_acknowledged_and_committed() -> None:
    bed = Bed()
    bed.fetch(5)
    bed.acknowledge(6)
    bed.look_at_lag(8)
    assert bed.group.commits == [{FIRST: 6}, {FIRST: 8}]


def test_no_position_is_committed_behind_records_that_a_rebalance_drops() -> None:
    bed = Bed()
    bed.meanwhile = bed.group.listener.revoked
    bed.group.fetched = {FIRST: [message(5)]}
    bed.look_at_lag(8)
    assert bed.group.commits == []


def test_no_position_is_committed_between_two_assignments() -> None:
    bed = Bed()
    bed.group.listener.revoked()
    bed.intake.step()
    bed.look_at_lag(8)
    assert (bed.group.commits, bed.backlog.begun) == ([], False)


def test_what_is_fetched_between_two_assignments_is_read_again() -> None:
    bed = Bed()
    bed.group.listener.revoked()
    bed.fetch(5)
    bed.fetch(6)
    assert (bed.records, bed.recall.clears) == ([], 2)
    bed.join()
    assert (bed.group.sought, bed.backlog.begun) == ({FIRST: 5}, True)


def test_what_is_fetched_while_its_batch_is_refused_is_read_again() -> None:
    bed = Bed()

    def refused() -> None:
        bed.backlog.supersede(bed.backlog.assignment_id)
        bed.backlog.begin_assignment()

    bed.group.meanwhile = refused
    bed.fetch(5)
    assert bed.records == []


def test_nothing_is_decoded_where_nothing_came() -> None:
    bed = Bed()
    bed.intake.step()
    assert bed.decoded == 0


def test_a_position_that_retention_removed_is_gone_on_from_what_is_retained() -> None:
    bed = Bed()
    bed.group.out_of_range = {FIRST: 1}
    bed.intake.step()
    assert bed.group.sought == {FIRST: 2}


@pytest.mark.parametrize(("name", "is_new", "begun_anew"), [("questions-2", True, 1), ("questions-2", False, 0)])
def test_a_stream_that_the_store_does_not_know_by_its_topic_is_counted(
    name: str, is_new: bool, begun_anew: int
) -> None:
    bed = Bed()
    assert bed.metrics.ledgers_begun_anew.labels("other_stream")._value.get() == 0
    bed.namespaces.name, bed.namespaces.is_new = name, is_new
    bed.join()
    bed.fetch(5)
    assert bed.metrics.ledgers_begun_anew.labels("other_stream")._value.get() == begun_anew
    assert [record.source.place for record in bed.records] == [(name, 0)]


def test_a_held_partition_waits_at_its_record_until_its_namespace_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    bed.holds, bed.namespaces.held = "bank", {"bank": NamespaceHeld("a migration")}
    bed.fetch(5, 6)
    assert (bed.group.sought, bed.intake.held_namespaces) == ({FIRST: 5}, ["bank"])
    for _ in range(3):
        bed.intake.step()
    # A look at each half second is enough.
    assert (bed.namespaces.looks, bed.intake.held_namespaces) == (["bank"], ["bank"])
    monkeypatch.setattr(bed.intake, "_next_look_at_held", 0.0)
    bed.namespaces.held = {"bank": NamespaceRefused("another model")}
    bed.intake.step()
    assert bed.intake.held_namespaces == []


def test_the_lag_is_reported_every_few_seconds_and_not_of_partitions_that_were_given_away() -> None:
    bed = Bed()
    assert bed.lag == {"0": 5}
    bed.group.end = 20
    bed.intake.step()
    assert bed.lag == {"0": 5}
    bed.group.listener.revoked()
    bed.intake.step()
    assert bed.lag == {}


def test_a_broker_that_names_no_ends_does_not_answer() -> None:
    bed = Bed()
    assert bed.intake.answered
    bed.group.is_silent = True
    bed.look_at_lag(5)
    assert not bed.intake.answered


def test_a_topic_without_partitions_begins_a_new_session() -> None:
    bed = Bed()
    bed.group.found, bed.group.assigned = [], set()
    with pytest.raises(KafkaUnavailable, match="has no partitions"):
        bed.look_at_lag(5)


def test_a_partition_with_lag_that_does_not_move_begins_a_new_session(monkeypatch: pytest.MonkeyPatch) -> None:
    bed = Bed()
    clock = SimpleNamespace(now=time.monotonic())
    monkeypatch.setattr(intake, "time", SimpleNamespace(monotonic=lambda: clock.now))
    for position, seconds in ((5, 0), (6, STALL_SECONDS), (10, STALL_SECONDS), (10, STALL_SECONDS), (9, 0)):
        clock.now += seconds
        bed.look_at_lag(position)
    clock.now += STALL_SECONDS / 2
    bed.look_at_lag(9)
    clock.now += STALL_SECONDS
    with pytest.raises(KafkaUnavailable, match="does not move"):
        bed.look_at_lag(9)


def test_partitions_that_are_said_to_be_anothers_without_a_rebalance_begin_a_new_session() -> None:
    bed = Bed()
    bed.backlog.supersede(bed.backlog.assignment_id)
    bed.intake.step()
    bed.intake._stall_seconds = -1.0
    with pytest.raises(KafkaUnavailable, match="refused our membership"):
        bed.intake.step()
