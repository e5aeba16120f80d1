"""A group that has committed nothing yet and begins at the end: a crash skips nothing that came after it joined."""

from __future__ import annotations

from collections.abc import Callable

from tests.kit.stream import (
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    live_sizes,
    members,
    question,
    wait_until,
)


def test_latest_begins_where_the_first_worker_joined(
    make_stream: Callable[..., Stream], start_worker: Callable[..., WorkerProcess]
) -> None:
    stream = make_stream(**{"kafka.auto_offset_reset": "latest"})
    stream.send(question(f"early-{i}", f"before anybody listened {i}") for i in range(3))
    dying = start_worker(stream, fault="publish:before:1:KILL")
    wait_until(lambda: stream.committed() == {0: 3}, "the group stands at the end")
    assert members(stream)
    stream.send(question(i, f"how to {i} card{i} bank{i}") for i in range(5))
    assert dying.wait() < 0
    assert sum(live_sizes(stream.store()).values()) > 0
    start_worker(stream)
    with stream.decisions() as reader:
        assert_one_decision_each(reader.values(5), [f"q{i}" for i in range(5)])
    assert sum(live_sizes(stream.store()).values()) == 5
