"""The time of each part of a worker's start, from nothing to its first decision."""

from __future__ import annotations

import time
from collections.abc import Callable

from questream.errors import QuestreamError
from questream.lab.bench.child import Child
from questream.lab.bench.servers import own_stream
from questream.lab.bench.start_process import StartPart, start_and_report
from questream.lab.bench.traffic import Reader, send_all
from questream.settings import Settings

_PART_SECONDS = 120.0
_STOP_SECONDS = 20.0
_PARTITIONS = 4

LAST_PART = "first decision"


def measure_start(settings: Settings, question: str, on_part: Callable[[StartPart], None]) -> list[StartPart]:
    """Start a worker in a process of its own, on a stream that has a question already; `on_part` gets each part.

    Raises QuestreamError if it ends before its first decision, or a part takes longer than two minutes.
    """
    parts: list[StartPart] = []
    with own_stream(settings, _PARTITIONS) as own:
        send_all(own, [("q0", question)])
        # As of `questream run`: a process that has nothing of this one, and gets the settings by a pipe.
        child = Child("bench-start", start_and_report, own, time.time())
        try:
            while not parts or parts[-1].name != LAST_PART:
                if not child.tie.poll(_PART_SECONDS):
                    raise QuestreamError(f"{_PART_SECONDS:.0f} s passed after {parts[-1].name if parts else 'nothing'}")
                parts.append(child.receive())
                on_part(parts[-1])
        finally:
            child.close(_STOP_SECONDS)
        with Reader(own) as reader:
            reader.wait_for(1, lambda: None)
    return parts
