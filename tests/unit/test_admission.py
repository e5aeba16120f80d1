"""Namespaces that may begin, by their number and rate, and what one that only began may hold up."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pytest

from questream.clustering.rules import Rules
from questream.deciding.config import NamespaceConfig
from questream.deciding.namespaces import Namespaces
from questream.errors import StoreUnavailable
from questream.settings import NamespaceSettings
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore
from questream.stream.admission import Admission

IDENTITY = Identity("model", "r1", 4, "centred", "average", 0.55)


def admission(store: MemoryStore, seconds: list[float], **limits: Any) -> Admission:
    return Admission(store, lambda: {"told"}, NamespaceSettings(**limits), "own", clock=lambda: seconds[0])


def test_workers_keep_to_the_limit_together_whatever_each_has_seen() -> None:
    store = MemoryStore()
    store.open("own", IDENTITY)
    first, second = (admission(store, [0.0], max=3) for _ in range(2))
    assert first.refused(["own", "a", "told"]).keys() == set()
    assert second.refused(["b", "c", "a"]).keys() == {"c"}
    assert first.refused(["c", "b"])["c"].reason == "too_many_namespaces"
    assert store.namespaces() == ["a", "b", "own"]


def test_what_another_worker_lets_begin_meanwhile_counts() -> None:
    class Overtaken(MemoryStore):
        def namespaces(self) -> list[str]:
            return ["own"]

    store = Overtaken()
    store.open("own", IDENTITY)
    store.open("another's", IDENTITY)
    assert admission(store, [0.0], max=3).refused(["a", "b"]).keys() == {"b"}


def test_so_many_begin_in_a_minute_as_the_rate_lets() -> None:
    seconds = [0.0]
    limited = admission(MemoryStore(), seconds, per_minute=2)
    assert limited.refused(["a", "b", "c"])["c"].reason == "too_many_new_namespaces"
    seconds[0] = 29.0
    assert limited.refused(["c"]).keys() == {"c"}
    seconds[0] = 31.0
    assert limited.refused(["c"]).keys() == set()


def test_a_call_that_is_made_again_counts_once() -> None:
    class Failing(MemoryStore):
        calls = 0

        def admit(self, namespaces: Collection[str], limit: int) -> set[str]:
            self.calls += 1
            if self.calls == 1:
                raise StoreUnavailable("no answer")
            return super().admit(namespaces, limit)

    store = Failing()
    limited = admission(store, [0.0], per_minute=1)
    with pytest.raises(StoreUnavailable):
        limited.refused(["a"])
    assert limited.refused(["a"]).keys() == set()
    assert limited.refused(["b"])["b"].reason == "too_many_new_namespaces"
    assert store.namespaces() == ["a"]


def test_records_are_forgotten_past_a_namespace_that_began_and_was_never_opened() -> None:
    store = MemoryStore()
    store.admit(["begun"], 10)
    Namespaces(store, NamespaceConfig(IDENTITY, Rules(0.99, 0.55))).forget_in_all("questions", 0, 10)
    assert store.store_epoch("begun") is not None
