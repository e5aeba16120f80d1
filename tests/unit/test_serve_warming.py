"""What the first pages need is there before anybody asks."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from questream.clustering.levels import Levels, Node, leaf
from questream.domain import ClusterState
from questream.errors import StoreRefused, StoreUnavailable
from questream.server.catalogues import Catalogues
from questream.server.levels import CurrentLevels
from questream.server.mirrors import Mirrors
from questream.server.warming import Warming
from questream.store.protocol import LevelsMark, StoredLevels
from questream.store.reference.store import MemoryStore
from tests.kit.serving import client_of, store_with
from tests.kit.stream import wait_until

TEXTS = ["Where is my parcel?", "How do I pay?", "Can I return it?"]


def test_a_server_is_ready_once_all_steps_were_taken() -> None:
    taken: list[str] = []
    go_on = threading.Event()
    warming = Warming(lambda: go_on.wait(30), lambda: taken.append("second"))
    client = client_of(store_with({"shop": TEXTS}))
    services = client.app.state.services  # type: ignore[attr-defined]  # the client's application is ours
    client.app.state.services = replace(services, warming=warming)  # type: ignore[attr-defined]
    warming.start()
    waits = client.get("/readyz")
    assert (waits.status_code, waits.headers["Retry-After"]) == (503, "2")
    assert client.get("/n/shop/clusters").status_code == 200
    go_on.set()
    wait_until(lambda: client.get("/readyz").status_code == 200, "it is ready")
    assert taken == ["second"]


def test_a_step_that_fails_is_left_to_who_asks_and_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    taken: list[str] = []

    def fail() -> None:
        raise StoreRefused("Redis lets nobody in", "give it the password")

    warming = Warming(fail, lambda: taken.append("second"))
    warming.start()
    wait_until(lambda: warming.is_done, "all steps were taken")
    assert taken == ["second"]
    assert "could not be made ready" in caplog.text


def test_a_step_is_taken_again_once_the_store_answers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("questream.server.warming._PAUSE_SECONDS", 0.01)
    taken: list[str] = []
    answers = threading.Event()

    def ask() -> None:
        taken.append("asked")
        if not answers.is_set():
            raise StoreUnavailable("Redis does not answer", "start it")

    warming = Warming(ask, lambda: taken.append("second"))
    warming.start()
    wait_until(lambda: len(taken) > 3, "it is taken again")
    assert (warming.is_done, "second" in taken) == (False, False)
    answers.set()
    wait_until(lambda: warming.is_done, "all steps were taken")
    assert taken[-2:] == ["asked", "second"]
    assert caplog.text.count("once the store answers") == 1


def test_a_server_that_ends_waits_for_no_store() -> None:
    def ask() -> None:
        raise StoreUnavailable("Redis does not answer", "start it")

    warming = Warming(ask)
    warming.start()
    warming.close()
    wait_until(lambda: warming.is_done, "it has ended", 5)


def levels_of(store: MemoryStore, parents: dict[Node, Node], namespace: str = "shop") -> None:
    """A worker finds these."""
    standing = replace(store.levels(namespace), levels=Levels(parents, (9, 9)), opened=3)
    assert store.write_levels(namespace, store.store_epoch(namespace) or "", standing)


def test_levels_are_read_as_soon_as_a_worker_has_found_others(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with({"shop": TEXTS})
    levels_of(store, {leaf(1): Node(1, 1), leaf(2): Node(1, 1)})
    read, readers = store.levels, []

    def count(namespace: str) -> StoredLevels:
        readers.append(threading.current_thread().name)
        return read(namespace)

    monkeypatch.setattr(store, "levels", count)
    monkeypatch.setattr("questream.server.levels._LOOK_SECONDS", 0.01)
    levels = CurrentLevels(store, Mirrors(store))
    assert levels.stored("shop").levels.path(2)[1] == Node(1, 1)
    levels.start()
    try:
        monkeypatch.setattr(store, "levels", read)
        levels_of(store, {leaf(1): Node(1, 1), leaf(2): Node(1, 2)})
        monkeypatch.setattr(store, "levels", count)
        wait_until(lambda: len(readers) == 2, "they are read")
        assert levels.stored("shop").levels.path(2)[1] == Node(1, 2)
    finally:
        levels.close()
    assert readers == [threading.current_thread().name, "levels"]


def test_of_two_who_need_levels_at_once_one_reads_them(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with({"shop": TEXTS})
    levels_of(store, {leaf(1): Node(1, 1)})
    read, reads = store.levels, []

    def slowly(namespace: str) -> StoredLevels:
        reads.append(namespace)
        time.sleep(0.2)
        return read(namespace)

    monkeypatch.setattr(store, "levels", slowly)
    levels = CurrentLevels(store, Mirrors(store))
    threads = [threading.Thread(target=levels.stored, args=("shop",)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reads == ["shop"]


def test_levels_that_are_newer_than_what_was_asked_for_are_not_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with({"shop": TEXTS})
    levels_of(store, {leaf(1): Node(1, 1)})
    asked_before = store.levels_marks(["shop"])
    levels_of(store, {leaf(1): Node(1, 2)})
    levels = CurrentLevels(store, Mirrors(store))
    found = levels.stored("shop")
    read, reads, marks = store.levels, [], [asked_before]

    def count(namespace: str) -> StoredLevels:
        reads.append(namespace)
        return read(namespace)

    def late(namespaces: Sequence[str]) -> dict[str, LevelsMark]:
        return marks.pop() if marks else MemoryStore.levels_marks(store, namespaces)

    monkeypatch.setattr(store, "levels", count)
    monkeypatch.setattr(store, "levels_marks", late)
    assert levels.stored("shop") is found
    assert (reads, marks) == ([], [])


def test_levels_of_a_namespace_wait_for_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with({"shop": TEXTS, "desk": TEXTS})
    for namespace in ("shop", "desk"):
        levels_of(store, {leaf(1): Node(1, 1)}, namespace)
    read, go_on, begun = store.levels, threading.Event(), threading.Event()

    def slowly(namespace: str) -> StoredLevels:
        if namespace == "shop":
            begun.set()
            assert go_on.wait(30)
        return read(namespace)

    monkeypatch.setattr(store, "levels", slowly)
    levels = CurrentLevels(store, Mirrors(store))
    found: list[StoredLevels] = []
    shop, desk = (threading.Thread(target=lambda n=n: found.append(levels.stored(n))) for n in ("shop", "desk"))
    shop.start()
    assert begun.wait(30)
    desk.start()
    desk.join(10)
    assert len(found) == 1
    go_on.set()
    shop.join(30)
    assert len(found) == 2


def test_levels_of_a_namespace_that_came_again_are_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    store, again = store_with({"shop": TEXTS}), store_with({"shop": TEXTS})
    levels_of(store, {leaf(1): Node(1, 1)})
    levels_of(again, {leaf(1): Node(1, 2)})
    levels = CurrentLevels(store, Mirrors(store))
    assert levels.stored("shop").levels.path(1)[1] == Node(1, 1)
    monkeypatch.setattr(store, "levels_marks", lambda _: {})
    assert not levels.stored("shop").version
    monkeypatch.setattr(store, "levels_marks", again.levels_marks)
    monkeypatch.setattr(store, "levels", again.levels)
    assert levels.stored("shop").levels.path(1)[1] == Node(1, 2)


def test_a_page_goes_on_while_clusters_are_read_anew_and_asks_the_store_once(monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with({"shop": TEXTS})
    catalogues = Catalogues(store, lambda: True)
    before = catalogues.get("shop", 30)
    go_on, read, asked = threading.Event(), store.summaries, [0]

    def slowly(namespace: str) -> Iterator[ClusterState]:
        go_on.wait(30)
        return iter(list(read(namespace)))

    def count(namespace: str) -> str | None:
        asked[0] += 1
        return MemoryStore.store_epoch(store, namespace)

    monkeypatch.setattr(store, "summaries", slowly)
    monkeypatch.setattr(store, "store_epoch", count)
    catalogues.reload()
    assert all(catalogues.get("shop") is before for _ in range(500))
    assert asked == [1]
    go_on.set()
    wait_until(lambda: catalogues.get("shop") is not before, "they are read anew")
