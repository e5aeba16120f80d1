from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from questream.errors import StoreUnavailable
from questream.stream.retry import Retry


def test_a_read_that_works_does_not_hide_a_write_that_fails() -> None:
    stopping, failed_once, may_work = threading.Event(), threading.Event(), threading.Event()
    retry = Retry(stopping)

    def write() -> str:
        if not may_work.is_set():
            failed_once.set()
            raise StoreUnavailable("Redis cannot take writes now: OOM")
        return "written"

    answers: list[str] = []
    writer = threading.Thread(target=lambda: answers.append(retry.call(write)))
    writer.start()
    assert failed_once.wait(20)
    wait_until(lambda: not retry.available)
    assert retry.call(lambda: "read") == "read"
    assert not retry.available
    assert str(retry.trouble) == "Redis cannot take writes now: OOM"
    may_work.set()
    writer.join(20)
    assert answers == ["written"]
    assert retry.available
    assert retry.trouble is None


def test_a_call_that_fails_is_made_again_after_a_wait_and_keeps_its_arguments() -> None:
    retry = Retry(threading.Event())
    calls: list[tuple[str, int, bool]] = []

    def write(what: str, *, times: int) -> str:
        calls.append((what, times, retry.available))
        if len(calls) < 3:
            raise StoreUnavailable("Redis does not answer")
        return "written"

    assert retry.call(write, "rows", times=2) == "written"
    # Each try after the first sees that the one before was noted.
    assert calls == [("rows", 2, True), ("rows", 2, False), ("rows", 2, False)]
    assert retry.available


def test_a_worker_that_stops_tries_nothing_again() -> None:
    stopping = threading.Event()
    retry = Retry(stopping)
    retry.give_up()
    calls: list[StoreUnavailable] = []

    def write() -> None:
        calls.append(StoreUnavailable("Redis does not answer"))
        raise calls[-1]

    with pytest.raises(StoreUnavailable) as raised:
        retry.call(write)
    assert calls == [raised.value]
    assert retry.trouble is None


def test_an_error_that_no_second_try_mends_is_the_callers_at_once() -> None:
    retry = Retry(threading.Event())
    calls: list[str] = []

    def write() -> None:
        calls.append("write")
        raise ValueError("nothing that a second try mends")

    with pytest.raises(ValueError, match="nothing that a second try mends"):
        retry.call(write)
    assert calls == ["write"]


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.01)
