"""Where partitions are read on, with a log in memory: its ends, the group's offsets, and what stands before them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any, cast

import pytest

from questream.broker import port
from questream.broker.port import NextOffset, Offsets, Partition
from questream.broker.reading import RecordCheck, record_of
from questream.errors import KafkaUnavailable, Superseded
from questream.metrics import Metrics
from questream.records.fingerprint import LastRecord
from questream.stream import positions
from questream.stream.positions import Beginning, Positions

FIRST, SECOND = (Partition("questions", number) for number in range(2))


def message(offset: int, value: bytes | None = None) -> Any:
    """The record of an offset, written at second `offset`."""
    return SimpleNamespace(
        topic="questions",
        partition=0,
        offset=offset,
        timestamp=offset * 1000,
        key=None,
        value=value or b"%d" % offset,
        headers=(),
    )


def after(offset: int) -> NextOffset:
    """The offset of a group that decided the record before it last."""
    return NextOffset(offset, str(LastRecord.of(record_of(message(offset - 1)))))


class Log:
    """Two partitions that retain offsets from 2 to 9, as a member of a group reads them.
    with the next look at the group's offsets.
    """

    def __init__(self, *assigned: Partition, **committed: NextOffset) -> None:
        self.assigned = set(assigned or (FIRST,))
        self.retained, self.end = 2, 10
        self.committed_at = {Partition("questions", int(name[1:])): at for name, at in committed.items()}
        self.sought: dict[Partition, int] = {}
        self.commits: list[dict[Partition, int]] = []
        self.has_rebalanced = False
        # With records that only readers of uncommitted ones see.
        self.whole_end = 10

    def ends_before(self, _: Partition, offset: int) -> bool:
        """As of RecordCheck."""
        return offset > max(self.end, self.whole_end)

    def assignment(self) -> set[Partition]:
        return self.assigned

    def partitions(self, _: str) -> list[Partition]:
        return [FIRST, SECOND]

    def committed(self, partition: Partition, _: float) -> NextOffset | None:
        return self.committed_at.get(partition)

    def commit(self, offsets: Offsets, _: float) -> None:
        if self.has_rebalanced:
            raise Superseded("the group has rebalanced")
        self.commits.append({at: int(offset) for at, offset in offsets.items()})

    def beginning_offsets(self, partitions: Collection[Partition], _: float) -> dict[Partition, int]:
        return dict.fromkeys(partitions, self.retained)

    def end_offsets(self, partitions: Collection[Partition], _: float | None) -> dict[Partition, int]:
        return dict.fromkeys(partitions, self.end)

    def offset_at(self, partition: Partition, timestamp_ms: int, _: float) -> int | None:  # noqa: ARG002 - the port's
        offset = -(-timestamp_ms // 1000)
        return offset if offset < self.end else None

    def seek(self, partition: Partition, offset: int) -> None:
        self.sought[partition] = offset


class Bed:
    """Positions in a log, of which other records than those that were decided are in `replaced`."""

    def __init__(self, log: Log, begin_at: Beginning = "latest") -> None:
        self.log, self.metrics = log, Metrics()
        self.replaced: list[tuple[Partition, int]] = []
        self.positions = Positions(
            cast("port.Consumer", log),
            "questions",
            begin_at,
            self.metrics,
            1.0,
            cast("RecordCheck", log),
            lambda *place: self.replaced.append(place),
        )

    @property
    def missed(self) -> float:
        """How many records retention removed before they were read."""
        return float(self.metrics.missed.labels("questions", 0)._value.get())


def test_a_partition_is_read_on_from_the_groups_offset_and_the_record_before_it_is_compared() -> None:
    bed = Bed(Log(FIRST, SECOND, p0=after(5), p1=NextOffset(7, "")))
    bed.positions.rewind()
    assert (bed.log.sought, bed.log.commits, bed.missed) == ({FIRST: 4, SECOND: 7}, [], 0)
    kept = bed.positions.without_last({FIRST: [message(4), message(5)], SECOND: [message(7)]})
    assert {at: [one.offset for one in records] for at, records in kept.items()} == {FIRST: [5], SECOND: [7]}
    assert bed.positions.without_last({FIRST: [message(6)]}) == {FIRST: [message(6)]}
    assert (bed.replaced, bed.log.commits) == ([], [])


def test_where_no_record_stands_before_the_groups_offset_none_is_compared() -> None:
    bed = Bed(Log(p0=after(5)))
    bed.positions.rewind()
    assert bed.positions.without_last({FIRST: [message(5, b"at 5")]}) == {FIRST: [message(5, b"at 5")]}
    assert bed.replaced == []


def test_a_partition_that_is_read_from_its_first_retained_record_has_none_before_it() -> None:
    bed = Bed(Log(p0=after(2)))
    bed.positions.rewind()
    assert bed.log.sought == {FIRST: 2}


def test_another_record_before_the_groups_offset_has_the_partition_read_from_its_beginning() -> None:
    bed = Bed(Log(p0=after(5)))
    bed.positions.rewind()
    assert bed.positions.without_last({FIRST: [message(4, b"another"), message(5)]}) == {}
    assert (bed.log.sought, bed.log.commits) == ({FIRST: 2}, [{FIRST: 2}])
    # Decided were records of up to second 4.
    assert bed.replaced == [(FIRST, 5)]


@pytest.mark.parametrize(("end", "newer_from"), [(10, 10), (13, 12)])
def test_a_log_that_ends_before_the_groups_offset_is_read_from_its_beginning(end: int, newer_from: int) -> None:
    bed = Bed(Log(p0=NextOffset(end + 5, str(LastRecord.of(record_of(message(11)))))))
    bed.log.end = end
    bed.positions.rewind()
    assert (bed.log.sought, bed.log.commits) == ({FIRST: 2}, [{FIRST: 2}])
    assert bed.replaced == [(FIRST, newer_from)]


def test_a_group_past_the_end_of_committed_records_is_where_it_is() -> None:
    bed = Bed(Log(p0=NextOffset(15, "")))
    bed.log.whole_end = 15
    bed.positions.rewind()
    assert (bed.log.sought, bed.log.commits, bed.replaced) == ({FIRST: 15}, [], [])


def test_a_log_of_which_nothing_is_known_but_its_end_forgets_nothing() -> None:
    bed = Bed(Log(p0=NextOffset(15, "")))
    bed.positions.rewind()
    assert (bed.log.sought, bed.log.commits, bed.replaced) == ({FIRST: 2}, [{FIRST: 2}], [])


def test_what_retention_removed_is_counted_once_and_committed() -> None:
    bed = Bed(Log(p0=NextOffset(1, "")))
    bed.log.retained = 4
    bed.positions.rewind()
    assert (bed.log.sought, bed.log.commits, bed.missed) == ({FIRST: 4}, [{FIRST: 4}], 3)


def test_what_retention_removed_while_it_was_read_is_counted() -> None:
    bed = Bed(Log())
    bed.positions.lost_by_retention(FIRST, 1)
    assert (bed.log.sought, bed.missed) == ({FIRST: 2}, 1)


@pytest.mark.parametrize("position", [2, 15])
def test_a_position_behind_the_end_begins_a_new_session(position: int) -> None:
    bed = Bed(Log())
    with pytest.raises(KafkaUnavailable):
        bed.positions.lost_by_retention(FIRST, position)
    assert bed.log.sought == {}


@pytest.mark.parametrize(("begin_at", "start"), [("earliest", 2), ("latest", 10)])
def test_a_group_without_offsets_begins_where_the_settings_say(begin_at: Beginning, start: int) -> None:
    bed = Bed(Log(FIRST, SECOND), begin_at)
    bed.positions.rewind()
    assert bed.log.sought == {FIRST: start, SECOND: start}
    assert all(commit == {FIRST: start, SECOND: start} for commit in bed.log.commits)
    assert bed.log.commits


def test_a_partition_that_is_new_to_a_group_begins_at_its_beginning() -> None:
    bed = Bed(Log(FIRST, SECOND, p0=NextOffset(5, "")))
    bed.positions.rewind()
    assert (bed.log.sought, bed.log.commits) == ({FIRST: 5, SECOND: 2}, [{SECOND: 2}])


def test_the_owner_of_the_first_partition_names_the_end_of_all() -> None:
    class Late(Log):
        looks = 0

        def committed(self, partition: Partition, timeout: float) -> NextOffset | None:
            self.looks += 1
            if self.looks > 3:
                self.committed_at[SECOND] = NextOffset(8, "")
            return super().committed(partition, timeout)

    bed = Bed(Late(SECOND))
    bed.positions.rewind()
    assert (bed.log.sought, bed.log.commits) == ({SECOND: 8}, [{SECOND: 8}])


def test_a_member_waits_for_the_end_of_its_partition_no_longer_than_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(positions, "_FIRST_MEMBER_SECONDS", 0.0)
    with pytest.raises(KafkaUnavailable):
        Bed(Log(SECOND)).positions.rewind()


def idle(bed: Bed) -> None:
    """Nothing is on its way."""


def taken(bed: Bed) -> None:
    """A record is on its way."""
    bed.positions.taken({FIRST: 6})


def published(bed: Bed) -> None:
    """It is published, and a word of an earlier one comes late."""
    taken(bed)
    bed.positions.published({FIRST: 6})
    bed.positions.published({FIRST: 4})


def rebalanced(bed: Bed) -> None:
    """The group has rebalanced."""
    bed.log.has_rebalanced = True


@pytest.mark.parametrize(
    ("before", "position", "commits"),
    [
        (idle, 7, [{FIRST: 7}]),
        (idle, 5, []),
        (idle, None, []),
        (taken, 7, []),
        (published, 7, [{FIRST: 7}]),
        (published, 6, []),
        (rebalanced, 7, []),
    ],
)
def test_the_marks_of_transactions_are_passed_behind_all_that_is_published(
    before: Callable[[Bed], None], position: int | None, commits: list[dict[Partition, int]]
) -> None:
    bed = Bed(Log(p0=NextOffset(5, "")))
    bed.positions.rewind()
    before(bed)
    for _ in range(2):
        bed.positions.commit_past_markers({FIRST: position})
    assert bed.log.commits == commits


def test_marks_that_the_group_did_not_let_pass_are_passed_later() -> None:
    bed = Bed(Log(p0=NextOffset(5, "")))
    bed.positions.rewind()
    bed.log.has_rebalanced = True
    bed.positions.commit_past_markers({FIRST: 7})
    bed.log.has_rebalanced = False
    bed.positions.commit_past_markers({FIRST: 7})
    assert bed.log.commits == [{FIRST: 7}]


def test_a_partition_begins_its_next_assignment_with_nothing_on_its_way() -> None:
    bed = Bed(Log(p0=after(5)))
    bed.positions.rewind()
    taken(bed)
    bed.log.committed_at = {FIRST: NextOffset(6, "")}
    bed.positions.rewind()
    bed.positions.commit_past_markers({FIRST: 7})
    assert bed.log.commits == [{FIRST: 7}]
    assert bed.positions.without_last({FIRST: [message(4)]}) == {FIRST: [message(4)]}
