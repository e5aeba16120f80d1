"""Large tables that are read once and stay, kept out of the way of Python's collector of cycles."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Fewer are walked in a few milliseconds.
_MANY = 50_000


@contextmanager
def lasting() -> Iterator[None]:
    """What is made within stays, and is not walked again.

    A full collection walks all objects, those of 100,000 clusters for a third of a second in which nothing is answered,
    and new objects bring on several while and after such a table is read. It is done once instead, at the end.
    """
    gc.disable()
    try:
        yield
    finally:
        made = gc.get_count()[0]
        gc.enable()
        if made > _MANY:
            gc.collect()
            gc.freeze()
