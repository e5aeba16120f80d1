"""The short form of `make overload`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.kit.overload.run import BATCH_QUESTIONS, PARTITIONS, overload
from tests.kit.stream import Stream

# The worker asks for its lag every 5.
SECONDS = 10.0


def test_three_times_what_a_worker_can_do_costs_no_memory_no_membership_and_no_question(
    make_stream: Callable[..., Stream], tmp_path: Path
) -> None:
    stream = make_stream(PARTITIONS, batch_questions=BATCH_QUESTIONS)
    watched = overload(stream, tmp_path, SECONDS)
    broken = watched.broken_promises()
    assert not broken, broken + [str(sample) for sample in watched.during]
