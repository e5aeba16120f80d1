from __future__ import annotations

import threading
from collections.abc import Callable

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


def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        threading.Event().wait(0.01)
