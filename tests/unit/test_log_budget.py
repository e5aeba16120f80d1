"""Which logs are shortened, and when: the longest, and least of all those that workers follow."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from questream.errors import StoreRefused
from questream.metrics import Metrics
from questream.store.protocol import LogLength
from questream.store.reference.store import MemoryStore
from questream.stream.log_budget import KEPT_IN_USE, LogBudget, entries_within
from tests.kit.logged import logged_by
from tests.unit.test_bounded import ask, clusterer


def taken(lengths: dict[str, LogLength], most: dict[str, int]) -> int:
    return sum(most.get(name, length.entries) * length.entry_bytes for name, length in lengths.items())


def test_nothing_is_shortened_that_fits() -> None:
    assert entries_within({"a": LogLength(100, 10, 1), "b": LogLength(1, 10, 1)}, ["a"], 1010) == {}


def test_the_longest_logs_are_shortened_to_one_length() -> None:
    lengths = {"a": LogLength(8000, 100, 1), "b": LogLength(4000, 100, 1), "c": LogLength(50, 100, 1)}
    assert entries_within(lengths, [], 205_000) == {"a": 1000, "b": 1000}


def test_a_log_in_use_keeps_what_workers_need_to_follow() -> None:
    lengths = {"busy": LogLength(8000, 100, 1), "idle": LogLength(8000, 100, 1)}
    assert entries_within(lengths, ["busy"], 100 * KEPT_IN_USE) == {"busy": KEPT_IN_USE, "idle": 0}
    assert entries_within(lengths, ["busy"], 1) == {"busy": KEPT_IN_USE, "idle": 0}


NAMES = st.sampled_from("abcdef")
LENGTHS = st.dictionaries(NAMES, st.builds(LogLength, st.integers(0, 9000), st.integers(1, 5000), st.just(1)))


@given(LENGTHS, st.sets(NAMES), st.integers(1, 10**8))
def test_logs_keep_to_the_budget_whatever_their_lengths(
    lengths: dict[str, LogLength], busy: set[str], budget: int
) -> None:
    in_use = busy & lengths.keys()
    most = entries_within(lengths, in_use, budget)
    floors = sum(min(lengths[name].entries, KEPT_IN_USE) * lengths[name].entry_bytes for name in in_use)
    assert taken(lengths, most) <= max(budget, floors)
    if most:
        # Each other shortened log could not keep one entry more of everything that was cut.
        one_more = {name: entries + 1 for name, entries in most.items()}
        assert taken(lengths, one_more) > budget
    for name in in_use:
        assert most.get(name, KEPT_IN_USE) >= min(KEPT_IN_USE, lengths[name].entries)


def test_idle_logs_are_shortened_at_the_second_look_and_the_metric_tells_what_is_left() -> None:
    now, store, metrics = [0.0], MemoryStore(), Metrics()
    worker = clusterer(store)
    for name in ("busy", "idle"):
        for i in range(4):
            ask(worker, name, i)
    budget = LogBudget(store, 1, metrics, clock=lambda: now[0])
    budget.look()
    lengths = store.log_lengths(["busy", "idle"])
    assert all(length.entries for length in lengths.values())
    ask(worker, "busy", 4)
    budget.look()
    assert store.log_lengths(["idle"]) == {"idle": lengths["idle"]}
    now[0] += 10.0
    budget.look()
    after = store.log_lengths(["busy", "idle"])
    assert after["idle"].entries == 0
    assert after["busy"].entries > lengths["busy"].entries
    told = metrics.registry.get_sample_value("questream_log_bytes")
    assert told == after["busy"].entries * after["busy"].entry_bytes
    # Whoever follows it loads its clusters anew.
    ask(clusterer(store), "idle", 9)
    ask(worker, "idle", 10)


def test_a_login_without_the_right_goes_on_and_says_so_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, store = [0.0], MemoryStore()

    def refuse(_: object) -> dict[str, LogLength]:
        raise StoreRefused("Redis denies this user XLEN", "grant +xlen with ACL SETUSER")

    monkeypatch.setattr(store, "log_lengths", refuse)
    budget = LogBudget(store, 1, Metrics(), clock=lambda: now[0])
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            budget.look()
            now[0] += 10.0
    (told,) = logged_by(LogBudget, caplog)
    assert "XLEN" in str(vars(told))
