"""What people decide of intents and topics, in every store: moves, merges, separations and pins that runs heed."""

from __future__ import annotations

import pytest

from questream.clustering.levels import LevelRules, Levels, Node, leaf
from questream.clustering.merging import Merge
from questream.deciding.level_runs import is_due, kept_nodes, regroup_levels
from questream.domain import Naming
from questream.errors import NamingsDiffer, OperationRefused
from questream.operations import By, Decisions, merge_clusters
from questream.operations.decisions import history_of_levels
from questream.store.protocol import Store, StoredLevels
from questream.store.redis.store import RedisStore
from tests.contract.test_levels import epoch, namespace, restored, waits
from tests.contract.test_store import batch, commit, creation, merge, proposal, row, vector

__all__ = ["namespace"]

I1, I2, I3, I4 = (Node(1, number) for number in (1, 2, 3, 4))
T1, T2 = Node(2, 1), Node(2, 2)
RULES = LevelRules(resolutions=(1.0, 0.2))
CARDS, MONEY = ("cards", "card-team"), ("money", "bank")
# c1, c2, c6 and c7 are alike, c3 and c4 are, and c5 is like none.
SUMS = [(1, 0, 0, 0), (0.9, 0.1, 0, 0), (0, 1, 0, 0), (0, 0.9, 0, 0.1), (0, 0, 1, 0), (1, 0, 0, 0.1), (1, 0, 0, -0.1)]
PARENTS = {
    **{leaf(number): I1 for number in (1, 2, 6, 7)},
    **{leaf(3): I2, leaf(4): I2, leaf(5): I3, I1: T1, I2: T1, I3: T2},
}


@pytest.fixture
def decisions(store: Store, namespace: str) -> Decisions:
    rows = [row(at, at + 1, created=True) for at in range(7)]
    created = [creation(at + 1, vector(*total)) for at, total in enumerate(SUMS)]
    commit(store, namespace, proposal(*created, rows=batch(*rows)))
    assert store.write_levels(namespace, epoch(store, namespace), StoredLevels(Levels(PARENTS, (4, 3)), 7))
    return Decisions(store, namespace, By("ann", "a reason"))


def intents(store: Store, namespace: str) -> list[Node]:
    """Those of the first five clusters."""
    levels = store.levels(namespace).levels
    return [levels.path(number)[1] for number in range(1, 6)]


def run(store: Store, namespace: str) -> None:
    """Find the levels anew, as a worker does."""
    stored, mirror, states = store.levels(namespace), store.load(namespace), list(store.summaries(namespace))
    found, _ = regroup_levels(mirror, {one.cluster_id: one.size for one in states}, stored, RULES, kept_nodes(states))
    assert store.write_levels(namespace, epoch(store, namespace), found)


def test_a_cluster_is_moved_to_another_intent_and_stays_there(
    store: Store, namespace: str, decisions: Decisions
) -> None:
    store.confirm_levels(namespace, store.levels(namespace).version)
    moved = decisions.commit(decisions.move_nodes(["c2"], "i2"))
    assert (moved.kind, moved.after[2].kept_in) == ("move", ("i2",))
    assert moved.levels is not None
    assert moved.levels.places == {"c2": ("i1", "i2")}
    assert waits(store, namespace)
    assert intents(store, namespace) == [I1, I2, I2, I2, I3]
    run(store, namespace)
    assert intents(store, namespace) == [I1, I2, I2, I2, I3]
    assert store.levels(namespace).levels.kept == {2}
    assert history_of_levels(store.operations(namespace, 9), ["i2"]) == [moved]
    decisions.commit(decisions.undo(moved.number))
    assert intents(store, namespace) == [I1, I1, I2, I2, I3]
    run(store, namespace)
    assert intents(store, namespace) == [I1, I1, I2, I2, I3]


def test_a_cluster_is_made_an_intent_of_its_own(store: Store, namespace: str, decisions: Decisions) -> None:
    moved = decisions.commit(decisions.move_nodes(["c2"], "own"))
    for _ in range(2):
        levels = store.levels(namespace).levels
        assert levels.path(2) == (leaf(2), I4, T1)
        assert levels.next_numbers[0] == 5
        run(store, namespace)
    decisions.commit(decisions.undo(moved.number))
    stored = store.levels(namespace)
    assert stored.levels.path(2)[1] == I1
    assert stored.ended[I4] == I1


def test_an_intent_that_its_last_cluster_leaves_ends_and_comes_back_with_its_name(
    store: Store, namespace: str, decisions: Decisions
) -> None:
    decisions.commit(decisions.label_level("i3", *CARDS))
    moved = decisions.commit(decisions.move_nodes(["c5"], "i1"))
    stored = store.levels(namespace)
    assert (stored.named, stored.ended[I3], stored.ended[T2]) == ({}, I1, T1)
    decisions.commit(decisions.undo(moved.number))
    stored = store.levels(namespace)
    assert stored.levels.path(5)[1] == I3
    assert (stored.named, I3 in stored.ended) == ({I3: CARDS}, False)


def test_intents_are_merged_and_stay_one(store: Store, namespace: str, decisions: Decisions) -> None:
    merged = decisions.commit(decisions.merge_levels("i2", "i3"))
    assert merged.kind == "merge"
    for _ in range(2):
        assert intents(store, namespace) == [I1, I1, I2, I2, I2]
        assert store.levels(namespace).ended[I3] == I2
        run(store, namespace)
    decisions.commit(decisions.undo(merged.number))
    assert intents(store, namespace) == [I1, I1, I2, I2, I3]
    assert store.levels(namespace).levels.path(5)[2] == T2
    again = decisions.commit(decisions.undo(merged.number + 1))
    assert intents(store, namespace) == [I1, I1, I2, I2, I2]
    assert again.number == merged.number + 2


@pytest.mark.parametrize(("keep", "kept"), [("i2", CARDS), ("i3", MONEY)])
def test_a_merge_of_two_named_intents_asks_whose_name_stays(
    store: Store, namespace: str, decisions: Decisions, keep: str, kept: Naming
) -> None:
    decisions.commit(decisions.label_level("i2", *CARDS))
    decisions.commit(decisions.label_level("i3", *MONEY))
    with pytest.raises(NamingsDiffer):
        decisions.commit(decisions.merge_levels("i2", "i3"))
    asked: list[tuple[str, str, Naming]] = []

    def may_drop(survivor: str, loser: str, lost: Naming) -> bool:
        asked.append((survivor, loser, lost))
        return True

    decisions.preview(decisions.merge_levels("i2", "i3", may_drop))
    assert asked == [("i2", "i3", MONEY)]
    merged = decisions.commit(decisions.merge_levels("i2", "i3", keep=keep))
    assert store.levels(namespace).named == {I2: kept}
    decisions.commit(decisions.undo(merged.number))
    assert store.levels(namespace).named == {I2: CARDS, I3: MONEY}


def test_separated_intents_are_never_one(store: Store, namespace: str, decisions: Decisions) -> None:
    decisions.commit(decisions.move_nodes(["c2"], "own"))
    separated = decisions.commit(decisions.separate_levels("i1", "i4"))
    for _ in range(2):
        assert intents(store, namespace) == [I1, I4, I2, I2, I3]
        run(store, namespace)
    with pytest.raises(OperationRefused, match="were separated"):
        decisions.commit(decisions.merge_levels("i1", "i4"))
    with pytest.raises(OperationRefused, match="not pinned"):
        decisions.commit(decisions.unpin_level("i1"))
    # The word was on the intents: a cluster that people move to the other one is of that.
    decisions.commit(decisions.move_nodes(["c2"], "i1"))
    assert intents(store, namespace)[:2] == [I1, I1]
    with pytest.raises(OperationRefused, match="was decided anew since"):
        decisions.commit(decisions.undo(separated.number))


def test_a_pinned_intent_keeps_what_is_in_it(store: Store, namespace: str, decisions: Decisions) -> None:
    """Another release, or none that knows of pins, finds c2 with c1: what heeds them finds it where it was pinned."""
    decisions.commit(decisions.move_nodes(["c2"], "i2"))
    pinned = decisions.commit(decisions.pin_level("i2"))
    assert {number: ruling.kept_in for number, ruling in pinned.after.items()} == dict.fromkeys((2, 3, 4), ("i2",))
    run(store, namespace)
    assert intents(store, namespace) == [I1, I2, I2, I2, I3]
    unpinned = decisions.commit(decisions.unpin_level("i2"))
    run(store, namespace)
    assert intents(store, namespace)[1] == I1
    decisions.commit(decisions.undo(unpinned.number))
    assert intents(store, namespace)[1] == I2


def test_an_intent_is_moved_to_another_topic_and_topics_are_merged(
    store: Store, namespace: str, decisions: Decisions
) -> None:
    def topics() -> list[Node]:
        levels = store.levels(namespace).levels
        return [levels.path(number)[2] for number in (1, 4)]

    moved = decisions.commit(decisions.move_nodes(["i1"], "t2"))
    assert moved.after[1].kept_in == ("i1", "t2")
    for _ in range(2):
        assert topics() == [T2, T1]
        run(store, namespace)
    # What is moved to an intent that is kept in a topic is kept in both.
    assert decisions.commit(decisions.move_nodes(["c3"], "i1")).after[3].kept_in == ("i1", "t2")
    decisions.commit(decisions.merge_levels("t1", "t2"))
    for _ in range(2):
        assert len(set(topics())) == 1
        run(store, namespace)
    decisions.commit(decisions.move_nodes(["i2"], "own"))
    for _ in range(2):
        assert len(set(topics())) == 2
        run(store, namespace)


def test_clusters_of_two_intents_are_merged_by_nobody(store: Store, namespace: str, decisions: Decisions) -> None:
    decisions.commit(decisions.move_nodes(["c2"], "own"))
    decisions.commit(decisions.pin_level("i1"))
    head = store.load(namespace).seq
    one, other = store.states(namespace, [1, 2])
    assert one.vector_sum is not None
    assert other.vector_sum is not None
    reply = merge(store, namespace, head, [Merge(1, 2, 1, 1, one.vector_sum + other.vector_sum)])
    assert (reply.applied, len(reply.apart)) == ([], 1)
    with pytest.raises(OperationRefused, match="kept in"):
        merge_clusters(store, namespace, 1, 2)
    decisions.commit(decisions.move_nodes(["c2"], "i1"))
    assert merge_clusters(store, namespace, 1, 2).survivor == 1
    survivor = store.cluster(namespace, 1)
    assert survivor is not None
    assert survivor.ruling.kept_in == ("i1",)


def test_a_kept_cluster_survives_an_automatic_merge(store: Store, namespace: str, decisions: Decisions) -> None:
    """Its intent is where what it becomes is, before any run."""
    decisions.commit(decisions.move_nodes(["c2"], "i2"))
    decisions.commit(decisions.label(1, *CARDS))
    one, other = store.states(namespace, [1, 2])
    assert one.vector_sum is not None
    assert other.vector_sum is not None
    proposed = Merge(1, 2, 1, 1, one.vector_sum + other.vector_sum)
    (applied,) = merge(store, namespace, store.load(namespace).seq, [proposed]).applied
    survivor = applied.survivor
    assert (applied.merge.survivor, survivor.ruling.kept_in) == (2, ("i2",))
    assert (survivor.label, survivor.route) == CARDS
    assert intents(store, namespace)[1] == I2


def test_what_a_kept_cluster_becomes_is_kept(store: Store, namespace: str, decisions: Decisions) -> None:
    decisions.commit(decisions.move_nodes(["c2"], "i2"))
    merge_clusters(store, namespace, 2, 5)
    survivor = store.cluster(namespace, 2)
    assert survivor is not None
    assert survivor.ruling.kept_in == ("i2",)
    run(store, namespace)
    assert intents(store, namespace)[1] == I2


def test_a_kept_cluster_that_comes_back_is_where_it_was(store: Store, namespace: str, decisions: Decisions) -> None:
    decisions.commit(decisions.pin_level("i2"))
    merged = merge_clusters(store, namespace, 3, 4)
    run(store, namespace)
    assert intents(store, namespace)[3] == leaf(4)
    decisions.commit(decisions.undo(merged.number))
    assert intents(store, namespace)[3] == I2
    run(store, namespace)
    assert intents(store, namespace)[3] == I2


def test_an_operation_on_intents_that_is_said_again_is_done_once(
    store: Store, namespace: str, decisions: Decisions
) -> None:
    del decisions
    said = Decisions(store, namespace, By("ann", "", "mine"))
    once = said.commit(said.merge_levels("i2", "i3"))
    assert said.commit(said.merge_levels("i2", "i3")) == once
    with pytest.raises(OperationRefused, match="give it another one"):
        said.commit(said.pin_level("i2"))


@pytest.mark.parametrize(
    "propose",
    [
        pytest.param(lambda by: by.move_nodes(["c1", "i2"], "i3"), id="two kinds"),
        pytest.param(lambda by: by.move_nodes(["c1"], "t1"), id="a cluster to a topic"),
        pytest.param(lambda by: by.move_nodes(["t1"], "t2"), id="a topic"),
        pytest.param(lambda by: by.merge_levels("i1", "t1"), id="two levels"),
        pytest.param(lambda by: by.unpin_level("i1"), id="not pinned"),
        pytest.param(lambda by: by.pin_level("i77"), id="not there"),
    ],
)
def test_what_makes_no_sense_is_refused(decisions: Decisions, propose: object) -> None:
    assert callable(propose)
    with pytest.raises(OperationRefused):
        decisions.commit(propose(decisions))


def test_levels_that_another_release_found_are_found_anew(store: Store, namespace: str, decisions: Decisions) -> None:
    """It knows nothing of `heeded`, and finds intents as if nobody had decided."""
    if not isinstance(store, RedisStore):
        pytest.skip("the reference is of one release")
    decisions.commit(decisions.move_nodes(["c2"], "i2"))
    assert store.levels_marks([namespace])[namespace].heeding
    key, client = store._keys.of(namespace, "levels"), store._client
    client.hset(key, "version", store.levels(namespace).version + 1)
    mark = store.levels_marks([namespace])[namespace]
    assert not mark.heeding
    assert is_due(mark)
    run(store, namespace)
    assert store.levels_marks([namespace])[namespace].heeding


def test_levels_that_come_back_are_found_anew_where_people_decided_of_them(
    store: Store, namespace: str, decisions: Decisions
) -> None:
    decisions.commit(decisions.move_nodes(["c2"], "i2"))
    assert restored(store, namespace, store.levels(namespace))
    assert is_due(store.levels_marks([namespace])[namespace])
    run(store, namespace)
    assert not is_due(store.levels_marks([namespace])[namespace])
    assert intents(store, namespace) == [I1, I2, I2, I2, I3]
