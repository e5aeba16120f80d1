"""The collector of cycles stays out of what stays and of what goes without it, and keeps nothing for ever."""

from __future__ import annotations

import gc
import weakref

from questream.garbage import cycles_collected_rarely, garbage_collection_delayed
from tests.kit.collector import collector_by_default, passes_noted

MANY = 60_000


class Page:
    """What a request works with: a cycle, as a template's context is."""

    def __init__(self) -> None:
        self.itself = self


def test_the_collector_walks_nothing_while_much_is_read() -> None:
    with passes_noted() as passes:
        with garbage_collection_delayed():
            table = [[at] for at in range(MANY)]
            assert passes == []
        table += [[at] for at in range(MANY)]
        assert passes != []
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


def test_batches_that_come_and_go_are_not_walked() -> None:
    gc.collect()
    with collector_by_default(), cycles_collected_rarely(), passes_noted() as passes:
        for _ in range(10):
            batch = [[at] for at in range(MANY // 2)]
            del batch
        assert passes == []


def test_cycles_are_collected_where_they_are_many() -> None:
    page = Page()
    there = weakref.ref(page)
    gc.collect()
    with collector_by_default(), cycles_collected_rarely(), passes_noted() as passes:
        del page
        for _ in range(2 * MANY):
            Page()
        assert passes != []
    gc.collect()
    assert there() is None


def test_the_collector_is_as_before_afterwards() -> None:
    before = gc.get_threshold()
    with cycles_collected_rarely():
        assert gc.get_threshold() != before
    assert gc.get_threshold() == before
