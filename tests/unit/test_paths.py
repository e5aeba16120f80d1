"""Paths of decisions: where a question's cluster was among the levels as they were last read."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from questream.clustering.levels import LevelRules
from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.level_runs import regroup_levels
from questream.deciding.namespaces import Namespaces
from questream.deciding.paths import LevelSnapshots
from questream.deciding.proposal import Arrival
from questream.domain import Decision, Matrix, Source
from questream.lab.bench.questions import table_encoder
from questream.operations import Answer, By, Decisions, ask
from questream.store.protocol import Identity, LevelsMark, StoredLevels
from questream.store.reference.store import MemoryStore

SUBJECTS = 4
DIMENSION = 64
RULES = LevelRules(resolutions=(1.0, 0.2))
RULES_IN_FORCE = Rules(0.9, 0.9, "cosine", mean_questions=0)


class Analysis:
    """A clusterer on a store in memory whose levels are found when a test says so."""

    def __init__(self) -> None:
        self.store = MemoryStore()
        self.snapshots = LevelSnapshots()
        identity = Identity("vectors", "", DIMENSION, "cosine", "average", 0.9)
        self.namespaces = Namespaces(self.store, NamespaceConfig(identity, RULES_IN_FORCE))
        self.namespaces.open("default")
        self.clusterer = Clusterer(self.store, self.namespaces, levels=self.snapshots)
        self.offset = 0

    def ask(self, *questions: int) -> list[Decision]:
        """Question n is of subject n % SUBJECTS; from 48 on, one that is near to no other."""
        vectors = np.zeros((len(questions), DIMENSION), np.float32)
        for row, number in enumerate(questions):
            if number < 48:
                vectors[row, [number % SUBJECTS, SUBJECTS + number]] = np.sqrt([0.6, 0.4])
            else:
                vectors[row, SUBJECTS + number] = 1.0
        return self.ask_vectors(vectors)

    def ask_vectors(self, vectors: Matrix) -> list[Decision]:
        arrivals = [Arrival(Source("questions", 0, self.offset + at, 0), "", fresh=True) for at in range(len(vectors))]
        self.offset += len(vectors)
        batch = NamespaceBatch("default", self.namespaces.recovered("default"), arrivals, vectors)
        self.clusterer.decide([batch], {})
        return batch.decided().decisions

    def look_up(self, vector: Matrix) -> Answer:
        """What `questream ask` says of a vector (1, d)."""
        encoder = replace(table_encoder(["beyond"], vector), name="vectors", revision="")
        return ask(self.store, "default", encoder, RULES_IN_FORCE, "beyond")

    def find_levels(self) -> StoredLevels:
        mirror = self.store.load("default")
        found, _ = regroup_levels(mirror, {}, self.store.levels("default"), RULES)
        assert self.store.write_levels("default", mirror.store_epoch, found)
        stored = self.store.levels("default")
        self.snapshots.note("default", stored)
        return stored


def test_decisions_say_where_their_cluster_was_and_the_ledger_says_the_same() -> None:
    asking = Analysis()
    assert {decision.path for decision in asking.ask(*range(20))} == {None}
    stored = asking.find_levels()
    decisions = asking.ask(0, 1, 0)
    for decision in decisions:
        cluster, intent, topic = stored.levels.path(decision.cluster_id or 0)
        assert decision.path == (str(topic), str(intent), str(cluster))
        assert intent.level == 1
    recorded = asking.store.ledger("default", "questions", 0).decisions
    assert [recorded[at] for at in (20, 21, 22)] == decisions


def test_a_new_cluster_is_where_its_neighbours_are_at_once_and_later() -> None:
    asking = Analysis()
    asking.ask(*range(20))
    asking.find_levels()
    old, new, again = asking.ask(0, 20, 20)
    assert (new.outcome, again.outcome) == ("created", "joined")
    assert old.path is not None
    assert new.path == again.path == (*old.path[:2], "c21")
    # In the mirror by now, and after that where the next run leaves it.
    assert asking.ask(20)[0].path == new.path
    asking.find_levels()
    assert asking.ask(20)[0].path == new.path


def test_a_new_cluster_that_only_another_new_one_is_near_to_is_where_that_is_at_once_and_later() -> None:
    asking = Analysis()
    asking.ask(*range(20))
    asking.find_levels()
    (between,) = asking.ask(20)
    beyond = np.zeros((1, DIMENSION), np.float32)
    beyond[0, [0, SUBJECTS + 20, SUBJECTS + 50]] = np.sqrt([0.12, 0.6, 0.28])
    answer = asking.look_up(beyond)
    (new,) = asking.ask_vectors(beyond)
    assert (new.cluster_id, new.outcome) == (22, "created")
    assert between.path is not None
    assert new.path == (*between.path[:2], "c22")
    # Who asked before was answered the same.
    assert answer.within is not None
    assert tuple(map(str, reversed(answer.within.path))) == new.path
    assert [again.path for again in asking.ask_vectors(np.vstack([beyond, beyond]))] == [new.path] * 2
    # The next run begins there, and leaves it there.
    asking.find_levels()
    assert asking.ask_vectors(beyond)[0].path == new.path


def test_a_new_cluster_that_is_near_to_none_has_no_path_until_levels_are_found() -> None:
    asking = Analysis()
    asking.ask(*range(20))
    asking.find_levels()
    assert [decision.path for decision in asking.ask(50, 50)] == [None, None]
    assert asking.ask(50)[0].path is None
    asking.find_levels()
    assert asking.ask(50)[0].path == ("c21", "c21", "c21")


def test_decisions_have_label_and_route_of_the_nearest_that_has_any() -> None:
    asking = Analysis()
    asking.ask(*range(20))
    levels = asking.find_levels().levels
    decisions = Decisions(asking.store, "default", By("ann"))
    _, intent, topic = levels.path(1)
    decisions.commit(decisions.label_level(str(topic), "of the topic", "desk"))
    decisions.commit(decisions.label_level(str(intent), "of the intent", None))
    decisions.commit(decisions.label(1, "own", None))
    asking.snapshots.note("default", asking.store.levels("default"))
    found = asking.ask(0, SUBJECTS, 20)
    assert [(one.label, one.route) for one in found] == [
        ("own", "desk"),
        ("of the intent", "desk"),
        ("of the intent", "desk"),
    ]
    recorded = asking.store.ledger("default", "questions", 0).decisions
    assert [recorded[at] for at in (20, 21, 22)] == found


def test_levels_are_read_of_namespaces_in_use_alone_and_bounded() -> None:
    snapshots = LevelSnapshots(2)
    marks = {name: LevelsMark(7, 9, 9, 9) for name in ("a", "b", "c")}
    assert snapshots.outdated(marks) == []
    for name in ("a", "b", "c"):
        assert snapshots.of(name) is None
    assert snapshots.outdated(marks) == ["b", "c"]
    snapshots.note("a", StoredLevels(version=7))
    snapshots.note("b", StoredLevels(version=7))
    assert snapshots.outdated(marks) == ["c"]
    assert snapshots.of("b") == StoredLevels(version=7)
    assert snapshots.of("a") is None
    assert snapshots.outdated(marks) == ["a"]
