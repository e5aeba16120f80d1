"""Python's collector of cycles, kept away from what stays and from what goes without it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# By default a pass begins when 700 objects more have come than gone. Batches in hand have thousands, and passes move
# these to the oldest generation; each time that a quarter more is there, all that lives is walked.
_OBJECTS_IN_HAND = 50_000


@contextmanager
def cycles_collected_rarely() -> Iterator[None]:
    """The collector runs when 50,000 objects more have come than gone: for cycles, not for batches that come and go.

    By its defaults it takes a fifth of the processor time of a worker with 10,000 clusters.
    """
    before = gc.get_threshold()
    gc.set_threshold(_OBJECTS_IN_HAND, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)


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
