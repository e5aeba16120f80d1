"""The steps of a session hand on each batch, and are through with it: published or dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from questream.domain import Record, Source
from questream.errors import BadRecord, StoreDamaged
from questream.metrics import Metrics
from questream.stream.backlog import Backlog, Batch
from questream.stream.decider import DecidedBatch
from questream.stream.question import Answered, Ready, Refused
from questream.stream.session import Session

# More than the steps hold.
RECORDS = 12
WAIT_SECONDS = 60.0


class Steps:
    """One record at a time, the next when the last was dropped by the decider or published."""

    def __init__(self, backlog: Backlog, stopping: threading.Event, drops: bool) -> None:
        self._backlog = backlog
        self._stopping = stopping
        self._drops = drops
        self._through = threading.Semaphore(1)
        self.done: list[int] = []
        self.acknowledged = 0

    def step(self) -> None:
        if self._through.acquire(timeout=WAIT_SECONDS) and len(self.done) < RECORDS:
            record = Record(Source("questions", 0, len(self.done), 1), None, b"Why?")
            refused = Refused(record, BadRecord("decode", "not_text", "no text"))
            self._backlog.put([refused], None, self._backlog.assignment_id)
        else:
            self._stopping.set()

    def commit_acknowledged(self) -> None:
        """As of the intake."""
        self.acknowledged += 1

    def answer_others(self) -> None:
        """As of the intake."""

    def decide(self, batch: Batch[Ready]) -> DecidedBatch | None:
        if self._drops:
            self._end(batch)
            return None
        answered: list[Answered] = [item for item in batch.items if isinstance(item, Refused)]
        return DecidedBatch(batch.of(answered), [], {})

    def publish(self, decided: DecidedBatch) -> None:
        self._end(decided.batch)

    def follow(self) -> None:
        """As of the decider."""

    def confirm(self) -> None:
        """As of publishing."""

    def sweep(self) -> None:
        """As of housekeeping."""

    def _end(self, batch: Batch[Any]) -> None:
        self.done += [item.record.source.offset for item in batch.items]
        self._through.release()


class Failing(Steps):
    """One of the steps fails at the first batch."""

    def __init__(self, backlog: Backlog, stopping: threading.Event, step: str) -> None:
        super().__init__(backlog, stopping, drops=False)
        setattr(self, step, self._fail)

    def step(self) -> None:
        if not self._through.acquire(timeout=0.01):
            return
        self._through.release()
        super().step()

    def _fail(self, *_: object) -> None:
        raise StoreDamaged("a key of the store is damaged")


class Asking(Steps):
    """The session is stopped with the first batch in hand, whose publication waits for an answer."""

    def __init__(self, backlog: Backlog, stopping: threading.Event) -> None:
        super().__init__(backlog, stopping, drops=False)
        self._is_asked, self._is_answered = threading.Event(), threading.Event()

    def step(self) -> None:
        super().step()
        assert self._is_asked.wait(WAIT_SECONDS)
        self._stopping.set()

    def answer_others(self) -> None:
        self._is_answered.set()

    def publish(self, decided: DecidedBatch) -> None:
        self._is_asked.set()
        if self._is_answered.wait(WAIT_SECONDS):
            super().publish(decided)


def session_of(make: Callable[[Backlog, threading.Event], Any]) -> tuple[Session, Any]:
    stopping, backlog = threading.Event(), Backlog(64, 1000, 10**6)
    steps = make(backlog, stopping)
    return Session(steps, backlog, steps, steps, steps, Metrics(), stopping, threading.Event()), steps


@pytest.mark.parametrize("drops", [True, False], ids=["dropped", "published"])
def test_a_batch_that_is_through_makes_room_for_another(drops: bool) -> None:
    session, steps = session_of(partial(Steps, drops=drops))
    session.run()
    assert session.finish(WAIT_SECONDS)
    assert steps.done == list(range(RECORDS))
    assert steps.acknowledged == 1


@pytest.mark.parametrize("step", ["decide", "publish", "sweep"])
def test_what_a_step_raises_ends_the_session_which_commits_no_offsets_then(step: str) -> None:
    session, steps = session_of(partial(Failing, step=step))
    with pytest.raises(StoreDamaged):
        session.run()
    assert session.finish(WAIT_SECONDS)
    assert steps.acknowledged == 0
    with pytest.raises(StoreDamaged):
        session.raise_failure()


def test_a_batch_in_hand_is_answered_while_the_session_is_finished() -> None:
    session, steps = session_of(Asking)
    session.run()
    assert session.finish(WAIT_SECONDS / 2)
    assert steps.done == [0]


def test_a_session_that_never_ran_is_finished_at_once() -> None:
    session, _ = session_of(partial(Steps, drops=False))
    assert session.finish(WAIT_SECONDS)
