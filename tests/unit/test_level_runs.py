"""Levels beside the stream: when they are found anew, by whom, and what they say in between."""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.clustering.levels import LevelRules, Levels, Node, leaf
from questream.clustering.rules import Rules
from questream.deciding.config import NamespaceConfig
from questream.deciding.level_runs import current_levels, ended_names, is_due, regroup_levels
from questream.deciding.namespaces import Namespaces
from questream.deciding.paths import LevelSnapshots
from questream.metrics import Metrics
from questream.operations import By, Decisions
from questream.settings.tree import LevelSettings
from questream.store.protocol import ENDED_KEPT, Identity, LevelsMark, StoredLevels
from questream.store.reference.store import MemoryStore
from questream.stream.levels import LevelRuns
from tests.kit.logged import logged_by
from tests.kit.stepping import subjects_in_parts

SUBJECTS = 4
DIMENSION = 64
RULES = LevelRules(resolutions=(1.0, 0.2))


def rows(first: int, count: int) -> np.ndarray:
    """Questions `first` and so on, of the subjects in turn: two of a subject have a cosine of .6, others of 0."""
    vectors = np.zeros((count, DIMENSION), np.float32)
    for row in range(count):
        vectors[row, [(first + row) % SUBJECTS, SUBJECTS + first + row]] = np.sqrt([0.6, 0.4])
    return vectors


def ask(store: MemoryStore, first: int, count: int) -> None:
    QuestionClusterer(dimension=DIMENSION, threshold=0.9, similarity="cosine", store=store).assign(rows(first, count))


def runs_of(
    store: MemoryStore, worker: str, clock: Callable[[], float] = time.monotonic, **settings: object
) -> tuple[LevelRuns, Metrics]:
    identity = Identity("vectors", "", DIMENSION, "cosine", "average", 0.9)
    namespaces = Namespaces(store, NamespaceConfig(identity, Rules(0.9, 0.9, "cosine")))
    namespaces.open("default")
    metrics = Metrics()
    levels = LevelSettings.model_validate(settings)
    runs = LevelRuns(store, namespaces, LevelSnapshots(), levels, worker, metrics, lambda: None, RULES, clock)
    return runs, metrics


def count(metrics: Metrics, name: str) -> float:
    return metrics.registry.get_sample_value(name) or 0.0


def test_the_share_of_questions_in_loose_clusters_is_a_metric_of_a_run() -> None:
    store = MemoryStore()
    runs, metrics = runs_of(store, "one")
    QuestionClusterer(dimension=64, threshold=-1.0, linkage="average", store=store).assign(np.eye(64)[:48])
    QuestionClusterer(dimension=64, threshold=0.9, linkage="average", store=store).assign(np.eye(64)[48:])
    runs.look()
    assert count(metrics, "questream_level_runs_total") == 1
    assert count(metrics, "questream_loose_share") == 48 / 64


def test_levels_are_found_once_they_are_due_and_not_before() -> None:
    store = MemoryStore()
    runs, metrics = runs_of(store, "one")
    ask(store, 0, 7)
    runs.look()
    assert store.levels("default").version == 0
    ask(store, 7, 13)
    runs.look()
    found = store.levels("default")
    assert found.opened == 20
    assert len({found.levels.path(number)[1] for number in range(1, 21)}) == SUBJECTS
    runs.look()
    assert store.levels("default") == found
    assert count(metrics, "questream_level_runs_total") == 1


def test_resolutions_that_people_set_are_found_by_at_once() -> None:
    store = MemoryStore()
    runs, metrics = runs_of(store, "one")
    QuestionClusterer(dimension=64, threshold=0.9, similarity="cosine", store=store).assign(subjects_in_parts())
    decisions = Decisions(store, "default", By("ann"))

    def intents() -> int:
        runs.look()
        levels = store.levels("default").levels
        return len({levels.path(number)[1] for number in range(1, 49)})

    coarse = intents()
    decisions.commit(decisions.rules({"max_clusters": 1000}))
    assert intents() == coarse
    assert count(metrics, "questream_level_runs_total") == 1
    decisions.commit(decisions.rules({"intent_resolution": 5.0}))
    fine = intents()
    assert (coarse, fine) == (4, 12)
    assert intents() == fine
    assert count(metrics, "questream_level_runs_total") == 2
    decisions.commit(decisions.undo(2))
    assert intents() < fine


@pytest.mark.parametrize("enabled", [False, True])
def test_a_thread_looks_where_levels_are_on_and_ends_when_it_is_stopped(enabled: bool) -> None:
    runs, _ = runs_of(MemoryStore(), "one", enabled=enabled)
    runs.start()
    thread = runs._thread
    assert thread.is_alive() == enabled
    runs.stop()
    assert not thread.is_alive()
    # One that was never started is stopped as well.
    runs_of(MemoryStore(), "other")[0].stop()


class Overtaken(MemoryStore):
    """Where another worker writes levels between a look at the marks and the reading."""

    overtaken = False

    def levels(self, namespace: str) -> StoredLevels:
        if self.overtaken:
            self.overtaken = False
            assert self.write_levels(namespace, self.store_epoch(namespace) or "", super().levels(namespace))
        return super().levels(namespace)


def test_levels_that_are_not_published_yet_are_not_what_decisions_name() -> None:
    store = Overtaken()
    runs, _ = runs_of(store, "one")
    ask(store, 0, 20)
    runs.look()
    store.confirm_levels("default", store.levels("default").version)
    snapshots = runs._snapshots
    assert snapshots.of("default") is None
    store.overtaken = True
    runs.look()
    assert snapshots.of("default") is None
    store.confirm_levels("default", store.levels("default").version)
    runs.look()
    assert snapshots.of("default") == store.levels("default")


def test_runs_that_cost_much_wait_until_they_have_come_to_their_share_of_the_time() -> None:
    store, now = MemoryStore(), 1000.0
    runs, metrics = runs_of(store, "one", lambda: now)
    with patch("questream.stream.levels.time.thread_time", side_effect=itertools.count(step=3)):
        ask(store, 0, 20)
        runs.look()
        ask(store, 20, 20)
        runs.look()
        assert store.levels("default").opened == 20
        now += 39.0
        runs.look()
        assert store.levels("default").opened == 20
        now += 2.0
        runs.look()
    assert store.levels("default").opened == 40
    assert count(metrics, "questream_level_cpu_seconds_total") == 6


def test_a_worker_that_another_is_before_leaves_it_to_that_one() -> None:
    store = MemoryStore()
    runs, _ = runs_of(store, "one")
    ask(store, 0, 20)
    assert store.lease_levels("default", "other", 60.0)
    runs.look()
    assert store.levels("default").version == 0
    assert store.lease_levels("default", "other", 0)
    runs.look()
    assert store.levels("default").opened == 20


def test_more_clusters_than_the_setting_allows_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    runs, metrics = runs_of(store, "one", max_clusters=19)
    ask(store, 0, 20)
    with caplog.at_level(logging.WARNING):
        runs.look()
        runs.look()
    assert store.levels("default").version == 0
    assert len(logged_by(LevelRuns, caplog)) == 1
    assert count(metrics, "questream_levels_too_large") == 1


def test_a_store_that_is_not_recovered_is_let_be() -> None:
    store = MemoryStore()
    runs, _ = runs_of(store, "one")
    ask(store, 0, 20)
    store.require_recovery("default")
    runs.look()
    assert store.levels("default").version == 0


def test_clusters_that_are_new_since_the_last_run_are_where_their_neighbours_are() -> None:
    store = MemoryStore()
    ask(store, 0, 20)
    written, changed = regroup_levels(store.load("default"), {}, StoredLevels(), RULES)
    assert changed == 0.0
    ask(store, 20, 4)
    levels = current_levels(store.load("default"), written, RULES)
    assert [levels.path(20 + n)[1] for n in range(1, 5)] == [levels.path(n)[1] for n in range(1, 5)]
    again, changed = regroup_levels(store.load("default"), {}, written, RULES)
    assert changed == 0.0
    assert again.levels.path(24) == levels.path(24)


def test_the_share_of_questions_that_change_is_told_by_size() -> None:
    store = MemoryStore()
    ask(store, 0, 20)
    first, _ = regroup_levels(store.load("default"), {}, StoredLevels(), RULES)
    moved = {**first.levels.parents, leaf(1): Node(1, 90)}
    sizes = dict.fromkeys(range(1, 21), 1) | {1: 20}
    stored = StoredLevels(Levels(moved, first.levels.next_numbers), 20)
    _, changed = regroup_levels(store.load("default"), sizes, stored, RULES)
    assert changed == pytest.approx(20 / 39)


def test_ids_that_ended_lead_on_and_are_bounded() -> None:
    store = MemoryStore()
    ask(store, 0, 20)
    first, _ = regroup_levels(store.load("default"), {}, StoredLevels(), RULES)
    here, gone = first.levels.path(1)[1], Node(1, 70)
    # An intent of one leaf that the next run gives back to its neighbours, and a long history that led to it.
    parents = {**first.levels.parents, leaf(99): gone}
    history: dict[Node, Node | None] = {Node(1, 1000 + n): gone for n in range(ENDED_KEPT)}
    after, _ = regroup_levels(store.load("default"), {}, StoredLevels(Levels(parents, (2001, 9)), 99, history), RULES)
    assert here in set(after.levels.parents.values())
    assert after.ended[gone] is None
    assert len(after.ended) == ENDED_KEPT
    assert set(after.ended.values()) == {None}


def test_a_name_goes_on_with_what_its_intent_became_unless_that_has_its_own() -> None:
    store = MemoryStore()
    ask(store, 0, 20)
    first, _ = regroup_levels(store.load("default"), {}, StoredLevels(), RULES)
    here, other = first.levels.path(1)[1], first.levels.path(2)[1]
    assert here.level == other.level == 1
    # Two intents that ended in runs before, and one of which nothing is left.
    ended = {Node(1, 90): here, Node(1, 91): Node(1, 92), Node(1, 92): other, Node(1, 93): None}
    named = {
        here: ("cards", None),
        Node(1, 90): ("money", "bank"),
        Node(1, 91): ("pin", None),
        Node(1, 93): ("gone", None),
        leaf(3): ("alone", None),
        leaf(99): ("merged", None),
    }
    before = replace(first, ended=ended, named=named, operation=4)
    after, _ = regroup_levels(store.load("default"), {}, before, RULES)
    # A route of one decision is not mixed with the label of another.
    assert after.named == {here: ("cards", None), other: ("pin", None), leaf(3): ("alone", None)}
    assert after.operation == 4
    assert ended_names(before, after) == {Node(1, 90): here, Node(1, 93): None, leaf(99): None}


def test_a_name_that_ends_is_logged_by_ids_alone(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore()
    ask(store, 0, 20)
    runs, _ = runs_of(store, "a")
    runs.look()
    first = store.levels("default")
    here = first.levels.path(1)[1]
    named = {here: ("cards", None), Node(1, 90): ("money", "bank")}
    written = replace(first, ended={Node(1, 90): here}, named=named, opened=0)
    assert store.write_levels("default", store.store_epoch("default") or "", written)
    ask(store, 20, 40)
    with caplog.at_level(logging.WARNING, "questream"):
        runs.look()
    (told,) = [record for record in caplog.records if "ended with it" in record.getMessage()]
    assert (told.__dict__["ended"], told.__dict__["became"]) == ("i90", str(here))
    assert "money" not in str(told.__dict__)


@pytest.mark.parametrize(
    ("opened", "now", "live", "due"), [(0, 7, 7, False), (0, 8, 8, True), (100, 137, 300, False), (100, 138, 300, True)]
)
def test_a_run_is_due_by_new_clusters_and_their_share(opened: int, now: int, live: int, due: bool) -> None:
    assert is_due(LevelsMark(1, opened, now, live)) is due


def test_a_cluster_that_is_new_stays_where_decisions_have_named_it_but_for_a_clear_gain() -> None:
    random = np.random.default_rng(1)
    centres = random.normal(size=(12, 16))
    questions = centres[random.integers(12, size=240)] + random.normal(size=(240, 16)) * 0.8
    store, calm = MemoryStore(), LevelRules(inertia=2.0)
    clusterer = QuestionClusterer(dimension=16, threshold=0.95, similarity="cosine", mean_questions=1, store=store)
    clusterer.assign(questions[:120])
    stored = replace(regroup_levels(store.load("default"), {}, StoredLevels(), calm)[0], version=1)
    clusterer.assign(questions[120:])
    mirror = store.load("default")
    named = current_levels(mirror, stored, calm)
    new = [i for i in mirror.ids.tolist() if i > stored.opened and named.path(i)[1].level == 1]
    assert len(new) > 50
    found, _ = regroup_levels(mirror, {}, stored, calm)
    assert [found.levels.path(i)[1] for i in new] == [named.path(i)[1] for i in new]
