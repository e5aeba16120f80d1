"""A call of the intake that takes long: its consumer is polled beside it, and a poll that fails ends it."""

from __future__ import annotations

import threading
from typing import Any, cast

import pytest

from questream.broker import port
from questream.errors import KafkaUnavailable
from questream.stream.fence import Fence
from questream.stream.polling import PollingRetry
from questream.stream.retry import Retry


class Consumer:
    """Has two partitions, of which the second is paused; `polled` is set, or `fails` raised, by a poll."""

    def __init__(self, fails: Exception | None = None) -> None:
        self._fails = fails
        self._paused = {1}
        self.polled = threading.Event()

    def assignment(self) -> set[int]:
        return {0, 1}

    def paused(self) -> set[int]:
        return set(self._paused)

    def pause(self, partitions: set[int]) -> None:
        self._paused |= partitions

    def resume(self, partitions: set[int]) -> None:
        self._paused -= partitions

    def poll(self, timeout: float) -> dict[Any, Any]:  # noqa: ARG002 - the consumer's signature
        if self._fails:
            raise self._fails
        assert self._paused == {0, 1}
        self.polled.set()
        return {}


def polling_of(consumer: Consumer, ending: threading.Event | None = None) -> PollingRetry:
    client = cast("port.Consumer", consumer)
    return PollingRetry(client, Retry(ending or threading.Event()), Fence(client, 20.0), 20.0)


def test_the_group_is_polled_with_all_partitions_paused_while_a_call_takes_long() -> None:
    consumer = Consumer()
    polling = polling_of(consumer)
    before = polling.polled_at
    assert polling.call(consumer.polled.wait, 20)
    assert polling.polled_at > before


def test_a_quick_call_polls_nothing_and_its_error_is_raised() -> None:
    consumer = Consumer()
    polling = polling_of(consumer)
    with pytest.raises(ValueError, match="invalid literal"):
        polling.call(int, "no number")
    assert not consumer.polled.is_set()


def test_a_poll_that_fails_ends_the_call_with_its_session() -> None:
    ending = threading.Event()
    ended = threading.Event()

    def call() -> None:
        ending.wait(20)
        ended.set()

    consumer = Consumer(KafkaUnavailable("the broker is gone"))
    with pytest.raises(KafkaUnavailable):
        polling_of(consumer, ending).call(call)
    assert ended.is_set()
