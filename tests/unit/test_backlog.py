from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from questream.domain import Question, Record, Source
from questream.encoder import Tokens
from questream.errors import BadRecord
from questream.stream.backlog import Backlog
from questream.stream.question import Pending, Queued, Refused


def item(offset: int, value: bytes = b"Why?") -> Refused:
    return Refused(Record(Source("questions", 0, offset, 1), None, value), BadRecord("decode", "not_text", "no text"))


def items(*offsets: int) -> list[Refused]:
    return [item(offset) for offset in offsets]


def tokenised(offset: int, token_count: int) -> Pending:
    unused: Any = None
    record = Record(Source("questions", 0, offset, 1), None, b"Why?")
    question = Question(str(offset), "Why?", "support", record)
    return Pending(question, Tokens(np.zeros(token_count, np.int32), truncated=False), unused, "", fresh=True)


def in_work(backlog: Backlog, batches: int) -> None:
    """Take so many batches, of a question each."""
    for offset in range(batches):
        backlog.put(items(offset), None, backlog.assignment_id)
        assert offsets(backlog) == [offset]


def offsets(backlog: Backlog) -> list[int]:
    batch = backlog.take(0.0)
    return [] if batch is None else [item.record.source.offset for item in batch.items]


@pytest.fixture
def backlog() -> Backlog:
    return Backlog(batch_questions=8, batch_tokens=1000, batch_bytes=100_000)


def test_what_waits_when_an_assignment_ends_is_dropped(backlog: Backlog) -> None:
    backlog.put(items(0, 1), None, backlog.assignment_id)
    assert backlog.end_assignment(backlog.assignment_id) == 2
    assert offsets(backlog) == []


def test_nothing_is_taken_in_between_two_assignments(backlog: Backlog) -> None:
    # Offset 1 was dropped with the assignment: offset 2 must not be decided ahead of it.
    backlog.put(items(1), None, backlog.assignment_id)
    backlog.end_assignment(backlog.assignment_id)
    backlog.put(items(2), None, backlog.assignment_id)
    assert offsets(backlog) == []
    backlog.begin_assignment()
    backlog.put(items(1, 2), None, backlog.assignment_id)
    assert offsets(backlog) == [1, 2]


def test_what_was_fetched_before_an_assignment_ended_is_not_taken_into_the_next(backlog: Backlog) -> None:
    fetched_in = backlog.assignment_id
    backlog.end_assignment(fetched_in)
    backlog.begin_assignment()
    backlog.put(items(5), None, fetched_in)
    assert offsets(backlog) == []


def test_an_assignment_that_is_over_cannot_be_ended_again(backlog: Backlog) -> None:
    ended = backlog.assignment_id
    backlog.end_assignment(ended)
    backlog.begin_assignment()
    backlog.put(items(0), None, backlog.assignment_id)
    assert backlog.end_assignment(ended) == 0
    assert offsets(backlog) == [0]


def test_no_more_is_asked_for_than_a_batch_may_have_in_bytes(backlog: Backlog) -> None:
    assert backlog.room == 8
    large = item(0, b"w" * 40_000)
    backlog.put([large], None, backlog.assignment_id)
    assert backlog.room == 2
    # Of 26,668 bytes on average.
    backlog.put([large, large, *items(3)], None, backlog.assignment_id)
    assert backlog.room == 3
    backlog.put([item(4, b"w" * 900_000)], None, backlog.assignment_id)
    assert backlog.room == 1


def test_small_records_are_asked_for_by_their_number_soon_again(backlog: Backlog) -> None:
    backlog.put([item(0, b"w" * 90_000)], None, backlog.assignment_id)
    rooms = []
    for offset in range(1, 5):
        backlog.put(items(offset), None, backlog.assignment_id)
        rooms.append(backlog.room)
    assert rooms == [2, 4, 8, 8]


def test_a_refused_batch_ends_its_assignment_until_the_next_begins(backlog: Backlog) -> None:
    refused = backlog.assignment_id
    backlog.put(items(0, 1), None, refused)
    assert backlog.supersede(refused) == 2
    assert backlog.superseded_at is not None
    assert backlog.supersede(refused) == 0
    backlog.begin_assignment()
    assert backlog.superseded_at is None
    assert backlog.supersede(refused) == 0
    assert backlog.superseded_at is None


def test_a_batch_has_no_more_tokens_and_bytes_than_it_may_unless_one_question_alone_has(backlog: Backlog) -> None:
    waiting: list[Queued] = [
        tokenised(0, 600),
        tokenised(1, 400),
        tokenised(2, 1),
        tokenised(3, 2000),
        item(4, b"x" * 60_000),
    ]
    backlog.put([*waiting, item(5, b"x" * 60_000)], None, backlog.assignment_id)
    assert [offsets(backlog) for _ in range(4)] == [[0, 1], [2], [3], [4]]
    for _ in range(2):
        backlog.finish()
    assert offsets(backlog) == [5]


def test_what_would_only_wait_behind_other_batches_grows_until_one_is_through(backlog: Backlog) -> None:
    in_work(backlog, 3)
    backlog.put(items(3), None, backlog.assignment_id)
    assert offsets(backlog) == []
    backlog.put(items(4), None, backlog.assignment_id)
    backlog.finish()
    assert offsets(backlog) == [3, 4]


@pytest.mark.parametrize(
    "waiting",
    [items(*range(8)), [item(0, b"w" * 100_000)], [tokenised(0, 500), tokenised(1, 500)]],
    ids=["questions", "bytes", "tokens"],
)
def test_a_full_batch_waits_for_none(backlog: Backlog, waiting: Sequence[Queued]) -> None:
    in_work(backlog, 3)
    backlog.put(waiting, None, backlog.assignment_id)
    assert len(offsets(backlog)) == len(waiting)
    # What was taken is full no more.
    backlog.put(items(9), None, backlog.assignment_id)
    assert offsets(backlog) == []


def test_what_is_dropped_makes_no_batch_full(backlog: Backlog) -> None:
    in_work(backlog, 3)
    backlog.put([tokenised(0, 999)], None, backlog.assignment_id)
    backlog.end_assignment(backlog.assignment_id)
    backlog.begin_assignment()
    backlog.put([tokenised(0, 1)], None, backlog.assignment_id)
    assert offsets(backlog) == []


def test_whoever_waits_for_a_batch_is_told_when_one_is_through(backlog: Backlog) -> None:
    in_work(backlog, 3)
    backlog.put(items(3), None, backlog.assignment_id)
    threading.Timer(0.1, backlog.finish).start()
    batch = backlog.take(60.0)
    assert batch is not None
    assert len(batch.items) == 1
