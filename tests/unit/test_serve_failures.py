"""What could not be read or found out in the background: told to all who ask, and nothing of it stays."""

from __future__ import annotations

import itertools
import threading
import traceback
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NoReturn

import pytest

from questream.domain import ClusterState
from questream.errors import MissingExtra, ModelError, ModelOwnerGone, QuestreamError, StoreUnavailable
from questream.garbage import garbage_collection_delayed
from questream.server.analysis import Analysis
from questream.server.catalogue import Catalogue
from questream.server.catalogues import Catalogues
from questream.server.failures import Failures, without_traceback
from questream.server.following import Follower
from questream.server.levels import CurrentLevels
from questream.server.mirrors import Mirrors
from questream.server.snapshot import Snapshot
from questream.server.warming import Warming
from questream.settings import Settings
from questream.store.reference.store import MemoryStore
from tests.kit.serving import store_with
from tests.kit.stream import wait_until

TEXTS = ["Where is my parcel?", "How do I pay?", "Can I return it?"]


class Read:
    """What a thread had read by the time that it failed."""


class Failing:
    """A source that fails half-way, with a cause as a client's errors have one."""

    def __init__(self) -> None:
        self.read: list[weakref.ref[Any]] = []

    def fail(self) -> NoReturn:
        half = Read()
        self.read.append(weakref.ref(half))
        try:
            raise OSError("the connection was cut")
        except OSError as error:
            raise StoreUnavailable("Redis does not answer", "start it") from error


class Clock:
    """Time that stands still until it is turned."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


CLOCK = Clock()
Ask = Callable[[], object]
Opened = Callable[[Failing, pytest.MonkeyPatch], Ask]


def catalogues(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> Ask:
    store = store_with({"shop": TEXTS})
    read = store.summaries

    def half(namespace: str) -> Iterator[ClusterState]:
        yield from itertools.islice(read(namespace), 2)
        failing.fail()

    class Noted(Catalogue):
        def __init__(self, namespace: str) -> None:
            super().__init__(namespace)
            failing.read.append(weakref.ref(self))

    monkeypatch.setattr(store, "summaries", half)
    monkeypatch.setattr("questream.server.catalogues.Catalogue", Noted)
    known = Catalogues(store, lambda: True, CLOCK)
    return lambda: known.get("shop", 30)


def mirrors(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> Ask:
    store = store_with({"shop": TEXTS})
    monkeypatch.setattr(store, "load", lambda _: failing.fail())
    known = Mirrors(store, CLOCK)

    def ask() -> None:
        with known.of("shop", 30):
            pass

    return ask


def model(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> Ask:
    store = store_with({"shop": TEXTS})
    monkeypatch.setattr("questream.server.analysis.load_judge", lambda *_: None)
    monkeypatch.setattr("questream.server.analysis.load_encoder", lambda _: failing.fail())
    known = Mirrors(store)
    asking = Analysis(Settings(), store, known, CurrentLevels(store, known))
    asking.start()
    wait_until(lambda: asking._loaded.is_set(), "the model was looked for")
    return lambda: asking.require_ready("shop")


def snapshot(failing: Failing, monkeypatch: pytest.MonkeyPatch) -> Ask:
    del monkeypatch
    known = Snapshot[None]("it", failing.fail, 60, CLOCK)
    return lambda: known.get(30)


OPENED: tuple[Opened, ...] = (catalogues, mirrors, model, snapshot)
# The model is looked for once.
AGAIN: tuple[Opened, ...] = (catalogues, mirrors, snapshot)
READERS = pytest.mark.parametrize("opened", OPENED, ids=lambda one: one.__name__)


def frames_of(ask: Ask) -> int:
    """How many frames the error holds that somebody is told."""
    with pytest.raises(StoreUnavailable) as told:
        ask()
    error, frames = told.value, len(traceback.extract_tb(told.tb))
    assert error.problems[0].remedy == "start it"
    assert (error.__cause__, error.__context__) == (None, None)
    # It holds this frame, which holds it.
    del told, error
    return frames


@READERS
def test_what_was_read_before_a_failure_goes_with_it(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    failing = Failing()
    with garbage_collection_delayed():
        ask = opened(failing, monkeypatch)
        assert frames_of(ask) > 0
        wait_until(lambda: all(read() is None for read in failing.read), "half of it is gone")
        assert failing.read != []


@READERS
def test_those_who_are_told_of_a_failure_are_not_kept_with_it(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = opened(Failing(), monkeypatch)
    _, *later = [frames_of(ask) for _ in range(5)]
    assert len(set(later)) == 1


@pytest.mark.parametrize("opened", AGAIN, ids=lambda one: one.__name__)
def test_what_cannot_be_read_is_tried_by_one_request_a_while_and_told_to_the_others(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    failing, tries = Failing(), list[float]()
    fail = failing.fail

    def counted() -> NoReturn:
        tries.append(CLOCK.seconds)
        fail()

    monkeypatch.setattr(failing, "fail", counted)
    monkeypatch.setattr(CLOCK, "seconds", 0.0)
    ask = opened(failing, monkeypatch)
    for second in range(40):
        CLOCK.seconds = float(second)
        for _ in range(5):
            frames_of(ask)
    # Twice as long each time, ten seconds at most.
    assert tries == [0, 1, 3, 7, 15, 25, 35]


def test_after_what_was_read_the_next_failure_is_left_alone_for_a_second_again() -> None:
    now = Clock()
    failures = Failures(now)
    for _ in range(4):
        failures.add("shop", QuestreamError("it cannot be read"))
    now.seconds = 7.9
    with pytest.raises(QuestreamError, match="cannot be read"):
        failures.check("shop")
    failures.check("other")
    failures.clear("shop")
    failures.check("shop")
    failures.add("shop", QuestreamError("it cannot be read"))
    now.seconds += 1
    failures.check("shop")
    for number in range(65):
        failures.add(f"shop-{number}", QuestreamError("it cannot be read"))
    failures.check("shop-0")
    with pytest.raises(QuestreamError):
        failures.check("shop-1")


@READERS
def test_an_error_that_nobody_foresaw_is_told_without_its_words(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failing = Failing()

    def fail() -> NoReturn:
        raise ValueError("no number: where is my parcel")

    monkeypatch.setattr(failing, "fail", fail)
    ask = opened(failing, monkeypatch)
    with pytest.raises(QuestreamError, match="cannot be read now"):
        ask()
    assert "ValueError" in str([vars(record) for record in caplog.records])
    assert "parcel" not in str([vars(record) for record in caplog.records])


def test_an_error_is_the_same_again() -> None:
    for error in (ModelOwnerGone(), MissingExtra("it", "a", "b"), ModelError("no model", "name one")):
        told = without_traceback(error)
        assert (type(told), told.args, vars(told), str(told)) == (type(error), error.args, vars(error), str(error))
        assert told is not error


def test_clusters_that_cannot_be_read_anew_are_left_alone_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    store, now, reads = store_with({"shop": TEXTS}), [0.0], [0]
    known = Catalogues(store, lambda: True, lambda: now[0])
    before = known.get("shop", 30)

    def fail(namespace: str) -> NoReturn:
        del namespace
        reads[0] += 1
        raise StoreUnavailable("Redis does not answer", "start it")

    monkeypatch.setattr(store, "summaries", fail)
    known.reload()
    for tries in (1, 2):
        for _ in range(5):
            assert known.get("shop") is before
            wait_until(lambda: not known._reading, "it was tried")
        assert reads == [tries]
        now[0] += 11
    monkeypatch.setattr(store, "summaries", lambda namespace: MemoryStore.summaries(store, namespace))
    assert known.get("shop") is before
    wait_until(lambda: known.get("shop") is not before, "it is read anew")


def test_no_thread_in_the_background_shows_the_words_of_an_error_that_nobody_foresaw(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("questream.server.levels._LOOK_SECONDS", 0.01)
    store, failed = store_with({"shop": TEXTS}), []

    def fail(*_: object) -> NoReturn:
        failed.append(threading.current_thread().name)
        raise ValueError("no number: where is my parcel")

    levels = CurrentLevels(store, Mirrors(store))
    assert store.write_levels("shop", store.store_epoch("shop") or "", replace(store.levels("shop"), opened=3))
    levels.stored("shop")
    for call in ("levels_marks", "namespace_state"):
        monkeypatch.setattr(store, call, fail)
    monkeypatch.setattr("questream.server.following.open_reader", fail)
    # It reads what was merged by itself.
    Catalogues(store, lambda: True).get("shop", 30)
    follower = Follower(Settings(), "questions", fail, lambda: None)
    warming = Warming(fail)
    try:
        for each in (levels, follower, warming):
            each.start()
        wanted = {"levels", "follow-questions", "warming", "catalogue-shop"}
        wait_until(lambda: wanted <= set(failed), "each has met it")
        wait_until(lambda: failed.count("levels") > 1, "levels are looked for again")
        wait_until(lambda: warming.is_done, "the server is ready")
    finally:
        levels.close()
        follower.close()
    told = str([vars(record) for record in caplog.records]) + caplog.text + capfd.readouterr().err
    assert "ValueError" in told
    assert "parcel" not in told
