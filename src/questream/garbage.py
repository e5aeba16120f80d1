"""Python's collector of cycles, kept away from what is imported or read in one go and stays."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def garbage_collection_delayed() -> Iterator[None]:
    """Without the collector: half a million objects come with torch, a million with 100,000 clusters, and all stay.

    It would walk all that is there each time that a quarter more has come. Of blocks that overlap, in any threads, the
    first that ends turns it on again for all: it is never left off.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
