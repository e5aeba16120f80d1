from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.broker.dead_letters import DeadLetter, ReplayCount, Replayed, select
from questream.broker.port import NextOffset
from questream.errors import QuestreamError
from questream.records import Origin

OFFSETS = st.integers(0, 40)


def letter(offset: int, reason: str = "empty_text", origin: Origin | None = Origin("questions", 0, 1)) -> DeadLetter:  # noqa: B008 - immutable
    return DeadLetter(0, offset, 0, origin, "decode", "BadRecord", reason, "1", None, b"x", [])


def committed(replayed: Replayed) -> NextOffset:
    return NextOffset(replayed.below, replayed.encode())


@given(below=OFFSETS, added=st.lists(st.tuples(OFFSETS, OFFSETS)))
def test_settled_offsets_are_those_that_were_added_whatever_their_order(
    below: int, added: list[tuple[int, int]]
) -> None:
    replayed = Replayed(below)
    expected = set(range(below))
    for first, last in added:
        replayed.add(first, last)
        expected.update(range(first, last + 1))
    assert {offset for offset in range(45) if offset in replayed} == expected
    # As short as can be: the ranges neither touch each other nor the offset below which all is settled.
    edges = [replayed.below - 1, *(edge for pair in replayed.ranges for edge in pair)]
    assert all(after > before + 1 for before, after in zip(edges[::2], edges[1::2], strict=False))


@given(below=OFFSETS, added=st.lists(st.tuples(OFFSETS, OFFSETS)))
def test_what_is_committed_is_what_is_read_again(below: int, added: list[tuple[int, int]]) -> None:
    replayed = Replayed(below)
    for first, last in added:
        replayed.add(first, last)
    assert Replayed.decode(committed(replayed)) == replayed


@pytest.mark.parametrize("metadata", ["", "something else", "1-x,2-", "-"])
def test_metadata_of_others_settle_nothing_above_the_offset(metadata: str) -> None:
    assert Replayed.decode(NextOffset(3, metadata)) == Replayed(3)


def test_nothing_committed_settles_nothing() -> None:
    assert Replayed.decode(None) == Replayed(0)


def test_more_gaps_than_kafka_keeps_are_refused() -> None:
    replayed = Replayed()
    for offset in range(1, 4000, 2):
        replayed.add(offset, offset)
    with pytest.raises(QuestreamError, match="replay some of the others first"):
        replayed.encode()


def run(letters: Iterator[DeadLetter], settled: Replayed, reason: str | None = None) -> tuple[list[int], ReplayCount]:
    count = ReplayCount()
    return [chosen.offset for chosen in select(letters, {0: settled}, "questions", reason, count)], count


def test_a_letter_that_was_replayed_is_not_chosen_again() -> None:
    settled = Replayed(2, [(4, 4)])
    assert run(iter([letter(n) for n in range(6)]), settled)[0] == [2, 3, 5]


def test_only_letters_of_the_reason_are_chosen_and_the_others_stay_open() -> None:
    settled = Replayed()
    chosen, count = run(iter([letter(0, "not_utf8"), letter(1), letter(2, "not_utf8")]), settled, "empty_text")
    assert (chosen, count.other_reason) == ([1], 2)
    assert 0 not in settled
    assert 2 not in settled


def test_letters_of_another_topic_are_left_for_a_replay_to_that_topic() -> None:
    settled = Replayed()
    chosen, count = run(iter([letter(0, origin=Origin("others", 0, 1)), letter(1)]), settled)
    assert (chosen, count.other_topic) == ([1], 1)
    assert 0 not in settled


def test_records_without_an_origin_are_never_replayed() -> None:
    settled = Replayed()
    chosen, count = run(iter([letter(0, origin=None), letter(1)]), settled)
    assert (chosen, count.no_origin) == ([1], 1)
    assert 0 in settled


def test_offsets_that_hold_no_record_are_settled_on_the_way() -> None:
    settled = Replayed()
    chosen, _ = run(iter([letter(3), letter(7)]), settled)
    assert chosen == [3, 7]
    for offset in chosen:
        settled.add(offset, offset)
    assert (settled.below, settled.ranges) == (8, [])
