"""What a quota of the broker holds back: no hung call, and smaller batches."""

from __future__ import annotations

import math

from questream.broker.deadline import GuardedCall
from questream.broker.quota import Pace
from questream.domain import Record, Source
from questream.errors import BadRecord
from questream.stream.backlog import Backlog
from questream.stream.question import Refused


def test_time_that_a_quota_holds_a_call_back_is_not_counted() -> None:
    held_back = iter([0.0, 100.0, 50.0, 0.0])
    call = GuardedCall("transaction", 10.0, lambda: next(held_back))
    assert call.left_seconds <= 10
    assert call.left_seconds > 100
    # The same hundred seconds, of which fifty were meanwhile: the clock of this test has not gone on.
    assert call.left_seconds > 100
    assert call.left_seconds > 100
    assert math.isclose(call.held_seconds, 100, abs_tol=1)


def test_a_call_that_nothing_holds_back_has_its_time() -> None:
    assert GuardedCall("transaction", -1.0, lambda: 0.0).left_seconds < 0
    assert GuardedCall("transaction", -1.0, None).left_seconds < 0


def full_pace() -> Pace:
    """A pace that no quota has slowed down, of 256 by now."""
    pace = Pace(256, target_seconds=5)
    while pace.limit < 256:
        pace.published(pace.limit, 0.0)
    return pace


def test_the_first_batches_are_small_and_grow_fast_while_nothing_holds_them_back() -> None:
    pace = Pace(256, target_seconds=5)
    sizes = [pace.limit]
    while sizes[-1] < 256:
        pace.published(pace.limit, 0.0)
        sizes.append(pace.limit)
    assert sizes == [32, 256]
    assert Pace(8, target_seconds=5).limit == 8


def test_batches_grow_slowly_once_a_quota_held_one_back() -> None:
    pace = Pace(256, target_seconds=5)
    pace.published(32, 10)
    assert pace.limit == 16
    pace.published(16, 0.0)
    assert pace.limit == 20
    pace = Pace(256, target_seconds=5)
    pace.published(32, 0.1)
    assert pace.limit == 40


def test_batches_get_smaller_until_each_is_published_in_time_and_grow_again() -> None:
    pace = full_pace()
    sizes = []
    # A tenth of a second each: 25.6 s for the first.
    while (size := pace.limit) not in sizes:
        sizes.append(size)
        pace.published(size, size / 10)
    assert sizes[0] == 256
    assert sizes[-1] / 10 <= 5
    for _ in range(40):
        pace.published(pace.limit, 0.0)
    assert pace.limit == 256


def test_a_batch_has_one_question_at_least_however_long_it_is_held_back() -> None:
    pace = full_pace()
    for _ in range(20):
        pace.published(pace.limit, 1e6)
    assert pace.limit == 1


def test_small_batches_tell_nothing_of_what_larger_ones_would_cost() -> None:
    pace = full_pace()
    pace.published(256, 50)
    limit = pace.limit
    pace.published(1, 0.0)
    assert pace.limit == limit < 256


def test_no_more_is_taken_than_the_pace_allows() -> None:
    pace = Pace(8, target_seconds=5)
    backlog = Backlog(8, 1000, 100_000, pace)
    error = BadRecord("decode", "not_text", "no text")
    records = [Record(Source("questions", 0, at, 1), None, b"Why?") for at in range(8)]
    backlog.put([Refused(record, error) for record in records], None, backlog.assignment_id)
    pace.published(8, 10)
    taken = [backlog.take(0.0) for _ in range(2)]
    assert [len(batch.items) for batch in taken if batch] == [4, 4]
