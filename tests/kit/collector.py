"""The passes of Python's collector of cycles, noted while a test does something."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

# As Python begins with; those of a test run are others (tests/conftest.py).
_THRESHOLDS = (700, 10, 10)


@contextmanager
def collector_by_default() -> Iterator[None]:
    """The collector's passes begin as in a process of one's own."""
    before = gc.get_threshold()
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@contextmanager
def passes_noted() -> Iterator[list[int]]:
    """The generations of the passes that begin meanwhile."""
    passes: list[int] = []

    def note(phase: str, told: dict[str, Any]) -> None:
        if phase == "start":
            passes.append(told["generation"])

    gc.callbacks.append(note)
    try:
        yield passes
    finally:
        gc.callbacks.remove(note)
