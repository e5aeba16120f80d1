"""The collector of cycles stays out while much is read that stays, and keeps nothing for ever."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from questream.garbage import garbage_collection_delayed

MANY = 60_000


class Page:
    """What a request works with: a cycle, as a template's context is."""

    def __init__(self) -> None:
        self.itself = self


def test_the_collector_walks_nothing_while_much_is_read() -> None:
    passes: list[dict[str, Any]] = []

    def note(phase: str, told: dict[str, Any]) -> None:
        passes.append({"phase": phase, **told})

    gc.callbacks.append(note)
    try:
        with garbage_collection_delayed():
            table = [[at] for at in range(MANY)]
            assert passes == []
        table += [[at] for at in range(MANY)]
        assert passes != []
    finally:
        gc.callbacks.remove(note)
    assert len(table) == 2 * MANY


def test_what_a_request_had_in_hand_meanwhile_is_collected_afterwards() -> None:
    page = Page()
    there = weakref.ref(page)
    with garbage_collection_delayed():
        table = [[at] for at in range(MANY)]
    del page
    gc.collect()
    assert (there(), len(table)) == (None, MANY)


def test_of_two_that_overlap_none_leaves_the_collector_off() -> None:
    first, second = garbage_collection_delayed(), garbage_collection_delayed()
    first.__enter__()
    second.__enter__()
    assert not gc.isenabled()
    first.__exit__(None, None, None)
    second.__exit__(None, None, None)
    assert gc.isenabled()
