"""How long a worker takes from nothing to its first decision, and what for."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable

from questream.errors import QuestreamError
from questream.lab.bench.servers import own_stream
from questream.lab.bench.start_process import StartPart, start_and_tell
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
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(
            target=start_and_tell, args=(own, time.time(), theirs), name="bench-start", daemon=True
        )
        process.start()
        theirs.close()
        try:
            while not parts or parts[-1].name != LAST_PART:
                if not ours.poll(_PART_SECONDS):
                    raise QuestreamError(f"{_PART_SECONDS:.0f} s passed after {parts[-1].name if parts else 'nothing'}")
                parts.append(ours.recv())
                on_part(parts[-1])
        except EOFError:
            process.join(_STOP_SECONDS)
            raise QuestreamError(f"the worker ended with code {process.exitcode}: its log is above") from None
        finally:
            ours.close()
            process.join(_STOP_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
        with Reader(own) as reader:
            reader.wait_for(1, lambda: None)
    return parts
