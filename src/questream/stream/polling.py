"""Calls of the intake to servers beside Kafka, during which its consumer stays in its group."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import ParamSpec, TypeVar

from questream.broker.port import Consumer, Partition
from questream.stream.fence import Fence
from questream.stream.retry import Retry

P = ParamSpec("P")
T = TypeVar("T")

# So long may a call take before the group is polled beside it.
_PATIENCE_SECONDS = 0.5


class PollingRetry:
    """`Retry` for the thread that has the consumer: where a call takes long, the group is polled meanwhile.

    A namespace that is new to this worker is looked for in the cluster topic, which may have millions of states, or end
    before an open transaction. A worker that does not poll for so long is taken for dead. All partitions are paused in
    such a poll, in which the group may rebalance, and `fence` answers others. `end_seconds` is how long a call may take
    to end with its session.
    """

    def __init__(self, consumer: Consumer, retry: Retry, fence: Fence, end_seconds: float) -> None:
        self._consumer = consumer
        self._fence = fence
        self._retry = retry
        self._end_seconds = end_seconds
        # When the group was polled last (time.monotonic); read by any thread.
        self.polled_at = time.monotonic()

    def call(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """As `Retry.call`. Raises besides what a poll does."""
        answer: Future[T] = Future()

        def ask() -> None:
            try:
                answer.set_result(self._retry.call(call, *args, **kwargs))
            except BaseException as error:  # raised again on the thread that waits
                answer.set_exception(error)

        threading.Thread(target=ask, name="intake-call", daemon=True).start()
        while not wait([answer], timeout=_PATIENCE_SECONDS).done:
            try:
                self._poll_paused()
            except BaseException:
                # The session ends; the next one reads the cluster topic with the same consumer as this call.
                self._retry.give_up()
                wait([answer], timeout=self._end_seconds)
                raise
        return answer.result()

    def _poll_paused(self) -> None:
        pause_only(self._consumer, self._consumer.assignment())
        # Records of a partition that was assigned just now are read again: it begins at the group's offset.
        self._consumer.poll(0.0)
        self._fence.answer()
        self.polled_at = time.monotonic()


def pause_only(consumer: Consumer, partitions: set[Partition]) -> None:
    """Pause these partitions, and let all others go on."""
    paused = consumer.paused()
    consumer.pause(partitions - paused)
    consumer.resume(paused - partitions)
