from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from questream.clustering import level_places
from questream.clustering.level_places import PlacedLevels, place, place_new
from questream.clustering.levels import (
    Leaves,
    LevelRules,
    Levels,
    Node,
    directions,
    leaf,
    leaves_of,
    parse_node,
    regroup,
)
from questream.clustering.mirror import ClusterMoved, Mirror
from questream.domain import Matrix
from tests.kit.stepping import unit_rows

SUBJECTS = 6
LEAVES_OF_EACH = 5
# Few leaves: resolutions that part a toy graph as the product's part thousands of leaves.
RULES = LevelRules(resolutions=(1.0, 0.2))
# What is tied is one intent.
WIDE = LevelRules(resolutions=(0.01, 0.01))


def leaves_of_subjects(seed: int = 0, subjects: int = SUBJECTS, each: int = LEAVES_OF_EACH) -> Leaves:
    """Leaves 1 to n, subject after subject in turn: two of one subject have a cosine of about .6, others of 0."""
    random = np.random.default_rng(seed)
    count = subjects * each
    rows = np.zeros((count, subjects + count + 5))
    for row in range(count):
        rows[row, [row % subjects, subjects + row]] = np.sqrt([0.6, 0.4])
    rows += random.normal(0, 0.01, rows.shape)
    return Leaves(
        np.arange(1, count + 1), unit_rows(rows.astype(np.float32)), random.integers(1, 40, count).astype(np.float64)
    )


def some(leaves: Leaves, rows: np.ndarray) -> Leaves:
    return Leaves(leaves.ids[rows], leaves.directions[rows], leaves.sizes[rows])


def intent(levels: Levels, cluster_id: int) -> Node:
    return levels.path(cluster_id)[1]


def topic(levels: Levels, cluster_id: int) -> Node:
    return levels.path(cluster_id)[2]


def test_leaves_of_a_subject_are_one_intent() -> None:
    levels = regroup(leaves_of_subjects(), Levels(), RULES).levels
    intents = {number: intent(levels, number) for number in range(1, SUBJECTS * LEAVES_OF_EACH + 1)}
    assert len(set(intents.values())) == SUBJECTS
    assert all(intents[number] == intents[(number - 1) % SUBJECTS + 1] for number in intents)
    assert {node.level for node in intents.values()} == {1}


def near_leaves(count: int, cosine: float) -> Leaves:
    """Leaves 1 to n of one subject: any two have about this cosine."""
    rows = np.hstack([np.full((count, 1), cosine**0.5), (1.0 - cosine) ** 0.5 * np.eye(count)])
    noise = np.random.default_rng(0).normal(0, 0.01, rows.shape)
    return Leaves(np.arange(1, count + 1), unit_rows((rows + noise).astype(np.float32)), np.ones(count))


@pytest.mark.parametrize(("cosine", "is_one"), [(0.7, True), (0.5, False)])
def test_no_resolution_parts_what_is_near_as_a_whole(cosine: float, is_one: bool) -> None:
    levels = regroup(near_leaves(200, cosine), Levels(), LevelRules()).levels
    intents = {intent(levels, number) for number in range(1, 201)}
    assert intents == {Node(1, 1)} if is_one else len(intents) > 10


def test_what_is_near_as_a_whole_stays_one_until_it_is_clearly_apart() -> None:
    first = regroup(near_leaves(200, 0.7), Levels(), LevelRules()).levels
    for cosine, stays in ((0.57, True), (0.5, False)):
        moved = regroup(near_leaves(200, cosine), first, LevelRules()).levels
        assert (len({intent(moved, number) for number in range(1, 201)}) == 1) == stays


def test_what_is_near_as_a_whole_keeps_the_id_of_the_larger_part_and_the_other_leads_to_it() -> None:
    parents = {leaf(number): Node(1, 1 if number <= 150 else 2) for number in range(1, 201)}
    found = regroup(near_leaves(200, 0.7), Levels(parents, (3, 1)), LevelRules())
    assert {intent(found.levels, number) for number in range(1, 201)} == {Node(1, 1)}
    assert found.ended == {Node(1, 2): Node(1, 1)}


def leaves_with_one_beside(mean: float) -> Leaves:
    """Leaves 1 to 6 of one subject, and leaf 7, which is near to leaf 1 alone: its mean cosine to the six is `mean`."""
    towards_one = 0.55
    rows = np.zeros((7, 8), np.float32)
    for row in range(6):
        rows[row, [0, 1 + row]] = 0.5**0.5
    of_all = (6 * mean / 0.5**0.5 - towards_one) / 6
    rows[6, [0, 1]] = of_all, towards_one
    rows[6, 7] = (1.0 - of_all**2 - towards_one**2) ** 0.5
    return Leaves(np.arange(1, 8), rows, np.ones(7))


@pytest.mark.parametrize(("mean", "stands_alone"), [(0.1, True), (0.19, True), (0.21, False)])
def test_what_is_not_near_to_the_rest_of_its_intent_stands_alone(mean: float, stands_alone: bool) -> None:
    leaves = leaves_with_one_beside(mean)
    levels = regroup(leaves, Levels(), WIDE).levels
    assert {intent(levels, number) for number in range(1, 7)} == {Node(1, 1)}
    assert intent(levels, 7) == (leaf(7) if stands_alone else Node(1, 1))
    anything = LevelRules(WIDE.resolutions, least_mean_cosine=-1.0)
    assert intent(regroup(leaves, Levels(), anything).levels, 7) == Node(1, 1)


@pytest.mark.parametrize(("mean", "stands_alone"), [(0.17, True), (0.19, False)])
def test_what_is_in_an_intent_stays_until_it_is_clearly_far(mean: float, stands_alone: bool) -> None:
    former = Levels({leaf(number): Node(1, 1) for number in range(1, 8)}, (2, 1))
    levels = regroup(leaves_with_one_beside(mean), former, WIDE).levels
    assert intent(levels, 7) == (leaf(7) if stands_alone else Node(1, 1))


def test_what_people_keep_in_an_intent_stays_however_far_it_is() -> None:
    kept = {leaf(7): Node(1, 1)}
    levels = regroup(leaves_with_one_beside(0.1), Levels(kept, (2, 1)), WIDE, kept).levels
    assert {intent(levels, number) for number in range(1, 8)} == {Node(1, 1)}


def test_an_intent_that_people_keep_leaves_in_has_none_that_is_not_near_to_them() -> None:
    kept = {leaf(number): Node(1, 1) for number in range(1, 7)}
    for mean, into in ((0.1, leaf(7)), (0.3, Node(1, 1))):
        levels = regroup(leaves_with_one_beside(mean), Levels(kept, (2, 1)), WIDE, kept).levels
        assert intent(levels, 7) == into


@pytest.mark.parametrize("opened", [None, 1])
def test_an_intent_that_its_last_leaf_leaves_as_far_hands_its_id_to_no_other(opened: int | None) -> None:
    leaves = leaves_with_one_beside(0.1)
    turned = Leaves(np.arange(1, 8), np.roll(leaves.directions, 1, axis=0), leaves.sizes)
    found = regroup(turned, Levels({leaf(1): Node(1, 5)}, (6, 1)), WIDE, opened=opened)
    assert intent(found.levels, 1) == leaf(1)
    assert {intent(found.levels, number) for number in range(2, 8)} == {Node(1, 6)}
    assert found.ended == {Node(1, 5): leaf(1)}


def test_an_intent_that_a_leaf_leaves_as_far_keeps_its_id_for_the_rest() -> None:
    leaves = leaves_with_one_beside(0.1)
    found = regroup(leaves, Levels({leaf(1): Node(1, 5), leaf(7): Node(1, 5)}, (6, 1)), WIDE)
    assert intent(found.levels, 7) == leaf(7)
    assert {intent(found.levels, number) for number in range(1, 7)} == {Node(1, 5)}


@pytest.mark.parametrize("seed", range(8))
def test_a_leaf_of_very_many_questions_is_as_near_to_a_small_one_as_that_is_to_it(seed: int) -> None:
    random = np.random.default_rng(seed)
    two = unit_rows(np.stack([one := random.normal(size=384), one + random.normal(size=384)]).astype(np.float32))
    for sizes in ([1.0, 1e9], [1e9, 1.0]):
        levels = regroup(Leaves(np.arange(1, 3), two, np.array(sizes)), Levels(), WIDE).levels
        assert {intent(levels, 1), intent(levels, 2)} == {Node(1, 1)}


def leaves_of_a_wide_intent() -> Leaves:
    """Leaves 1 to 24 of four subjects, with a mean cosine of about .17; each subject is tied to the next by a pair."""
    rows = np.zeros((24, 40), np.float32)
    for row in range(24):
        subject = row // 6
        bridge = 29 + subject if row % 6 == 5 else 28 + subject if row % 6 == 0 and subject else 5 + row
        rows[row, [0, 1 + subject, bridge]] = np.sqrt([0.08, 0.42, 0.5])
    return Leaves(np.arange(1, 25), rows, np.ones(24))


def test_a_wide_intent_asks_for_less() -> None:
    leaves = leaves_of_a_wide_intent()
    levels = regroup(leaves, Levels(), WIDE).levels
    assert {intent(levels, number) for number in range(1, 25)} == {Node(1, 1)}
    # One that no other leaf of the intent is near to, but for one.
    far = np.zeros((1, 40), np.float32)
    far[0, [6, 39]] = 0.7, 0.51**0.5
    more = Leaves(np.arange(1, 26), np.vstack([leaves.directions, far]), np.ones(25))
    assert intent(regroup(more, Levels(), WIDE).levels, 25) == leaf(25)
    mirror = mirror_of(leaves.directions)
    assert place_new(mirror, PlacedLevels(levels), WIDE, far) == [None]
    assert place_new(mirror, PlacedLevels(levels), WIDE, leaves.directions[3:4]) == [Node(1, 1)]


def test_a_topic_may_be_wide() -> None:
    leaves = leaves_with_one_beside(0.1)
    own = {leaf(number): Node(1, number) for number in range(1, 8)}
    levels = regroup(leaves, Levels(), WIDE, own).levels
    assert {topic(levels, number) for number in range(1, 8)} == {Node(2, 1)}


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), inertia=st.sampled_from([0.0, 0.2]))
def test_no_intent_has_a_leaf_that_is_not_near_to_the_rest(seed: int, count: int, inertia: float) -> None:
    random = np.random.default_rng(seed)
    leaves = Leaves(
        np.arange(1, count + 1),
        unit_rows(random.normal(0, 1, (count, 6)).astype(np.float32)),
        random.integers(1, 9, count).astype(np.float64),
    )
    rules = LevelRules(WIDE.resolutions, inertia=inertia)
    levels = Levels()
    for _ in range(3):
        levels = regroup(leaves, levels, rules).levels
        intents = np.array([intent(levels, number) for number in leaves.ids.tolist()])
        for row in range(count):
            others = (intents == intents[row]).all(axis=1)
            others[row] = False
            if others.any():
                whole = others.copy()
                whole[row] = True
                each = leaves.directions[whole] @ leaves.directions[whole].T
                cohesion = leaves.sizes[whole] @ each @ leaves.sizes[whole] / leaves.sizes[whole].sum() ** 2
                cosines = leaves.directions[others] @ leaves.directions[row]
                least = min(rules.least_mean_cosine, cohesion / 2.0) * (1.0 - inertia / 2.0)
                assert np.average(cosines, weights=leaves.sizes[others]) >= least - 1e-5


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(5, 50),
    resolution=st.sampled_from([0.01, 1.0, 4.0]),
    inertia=st.sampled_from([0.0, 0.2]),
)
def test_no_id_goes_to_leaves_that_were_never_in_it(seed: int, count: int, resolution: float, inertia: float) -> None:
    random = np.random.default_rng(seed)
    unit = unit_rows((random.normal(size=(count, 6)) + random.normal(size=6) * random.random()).astype(np.float32))
    sizes = random.integers(1, 50, count).astype(np.float64)
    rules = LevelRules((resolution, resolution), inertia=inertia)
    before = Levels()
    for _ in range(4):
        here = np.flatnonzero(random.random(count) < 0.8)
        levels = regroup(Leaves(here + 1, unit[here], sizes[here]), before, rules).levels
        for node in set(levels.parents.values()):
            if node.number < before.next_numbers[node.level - 1]:
                assert any(
                    levels.path(number)[node.level] == before.path(number)[node.level] == node
                    for number in range(1, count + 1)
                )
        before = levels


def test_few_leaves_are_not_parted_as_many_are() -> None:
    leaves = leaves_of_subjects()
    levels = regroup(leaves, Levels(), LevelRules()).levels
    assert len({intent(levels, number) for number in leaves.ids.tolist()}) == SUBJECTS


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_run_depends_on_neither_the_order_of_the_leaves_nor_the_run(seed: int) -> None:
    leaves = leaves_of_subjects(seed)
    shuffled = some(leaves, np.random.default_rng(seed).permutation(len(leaves.ids)))
    once = regroup(leaves, Levels(), RULES)
    assert regroup(shuffled, Levels(), RULES) == once
    assert regroup(leaves, Levels(), RULES) == once


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(0, 60), runs=st.integers(1, 4))
def test_levels_nest_and_no_number_is_given_twice(seed: int, count: int, runs: int) -> None:
    """Leaves at random, of which some go and some come between the runs."""
    random = np.random.default_rng(seed)
    unit = unit_rows(random.normal(0, 1, (60, 4)).astype(np.float32))
    levels, ever = Levels(), set[Node]()
    for _ in range(runs):
        chosen = np.sort(random.permutation(60)[:count])
        leaves = Leaves(chosen + 1, unit[chosen], random.integers(1, 9, count).astype(np.float64))
        found = regroup(leaves, levels, RULES)
        standing = set(found.levels.parents.values())
        former = set(levels.parents.values())
        assert not (standing - former) & ever, "an id that ended came back"
        assert found.ended.keys() == former - standing
        assert all(to is None or to in standing or to.level < node.level for node, to in found.ended.items())
        assert all(node.number < found.levels.next_numbers[node.level - 1] for node in standing)
        assert all(child.level < parent.level for child, parent in found.levels.parents.items())
        assert {child.number for child in found.levels.parents if child.level == 0} <= set(leaves.ids.tolist())
        for number in leaves.ids.tolist():
            path = found.levels.path(number)
            assert path[0] == leaf(number)
            assert [node.level for node in path] == sorted(node.level for node in path)
        ever |= standing
        levels = found.levels


def test_an_intent_whose_leaves_have_no_tie_left_falls_apart() -> None:
    """As the start of Leiden such a community made its library panic."""
    one, other = np.eye(2, 12, dtype=np.float32)
    near = unit_rows(np.vstack([one, one, other, other]) + 0.1 * np.eye(4, 12, 4, dtype=np.float32))
    former = Levels({leaf(1): Node(1, 1), leaf(2): Node(1, 1), leaf(3): Node(1, 1)}, (2, 1))
    levels = regroup(Leaves(np.arange(1, 5), near, np.ones(4)), former, RULES).levels
    assert intent(levels, 1) == intent(levels, 2) == Node(1, 1)
    assert intent(levels, 3) == intent(levels, 4) != Node(1, 1)


def test_what_has_not_changed_keeps_its_ids() -> None:
    leaves = leaves_of_subjects()
    first = regroup(leaves, Levels(), RULES).levels
    again = regroup(leaves, first, RULES)
    assert again.levels == first
    assert again.ended == {}


def test_new_leaves_join_the_intent_of_their_subject_under_its_id() -> None:
    leaves = leaves_of_subjects()
    early = some(leaves, np.arange(3 * SUBJECTS))
    first = regroup(early, Levels(), RULES).levels
    later = regroup(leaves, first, RULES).levels
    assert all(intent(later, number) == intent(first, number) for number in early.ids.tolist())
    assert all(intent(later, number) == intent(first, (number - 1) % SUBJECTS + 1) for number in leaves.ids.tolist())


def pull(leaves: Leaves, row: int, towards: int, share: float) -> Leaves:
    """The leaf of a row turned towards another subject."""
    turned = leaves.directions.copy()
    turned[row] += share * leaves.directions[towards]
    return Leaves(leaves.ids, unit_rows(turned), leaves.sizes)


def test_a_leaf_changes_its_intent_for_a_clear_gain_alone() -> None:
    leaves = Leaves(leaves_of_subjects().ids, leaves_of_subjects().directions, np.ones(SUBJECTS * LEAVES_OF_EACH))
    levels = regroup(leaves, Levels(), RULES).levels
    # Leaf 1 is of the first subject; it is turned to the second.
    slightly, wholly = (pull(leaves, 0, 1, share) for share in (1.02, 3.0))
    eager = LevelRules(resolutions=RULES.resolutions, inertia=0.0)
    assert intent(regroup(slightly, levels, eager).levels, 1) == intent(levels, 2)
    assert intent(regroup(slightly, levels, RULES).levels, 1) == intent(levels, 1)
    assert intent(regroup(wholly, levels, RULES).levels, 1) == intent(levels, 2)


def test_an_intent_changes_its_topic_for_twice_the_gain() -> None:
    """What leaves 1 to 30 are to intents, intents of one leaf each are to topics."""
    leaves = Leaves(leaves_of_subjects().ids, leaves_of_subjects().directions, np.ones(SUBJECTS * LEAVES_OF_EACH))
    rules = LevelRules(resolutions=(1.0, 1.0), least_cosine=0.1)
    own = {leaf(number): Node(1, number) for number in leaves.ids.tolist()}
    intents, topics = regroup(leaves, Levels(), rules).levels, regroup(leaves, Levels(), rules, own).levels
    partly, wholly = (pull(leaves, 0, 1, share) for share in (1.6, 3.0))
    assert intent(regroup(partly, intents, rules).levels, 1) == intent(intents, 2)
    assert topic(regroup(partly, topics, rules, own).levels, 1) == topic(topics, 1)
    assert topic(regroup(wholly, topics, rules, own).levels, 1) == topic(topics, 2)


@pytest.mark.parametrize(("inertia", "stays"), [(0.2, True), (0.0, False)])
def test_what_would_stand_alone_stays_in_its_topic_but_not_in_its_intent(inertia: float, stays: bool) -> None:
    apart = Leaves(np.arange(1, 5), np.eye(4, 8, dtype=np.float32), np.ones(4))
    parents = {leaf(1): Node(1, 1), leaf(2): Node(1, 1), leaf(3): Node(2, 2), leaf(4): Node(2, 2)}
    rules = LevelRules(RULES.resolutions, inertia=inertia)
    levels = regroup(apart, Levels({**parents, Node(1, 1): Node(2, 1)}, (2, 3)), rules).levels
    intents, topics = ([of(levels, number) for number in (1, 2, 3, 4)] for of in (intent, topic))
    assert len(set(intents)) == 4
    assert topics == [Node(2, 1), Node(2, 1), Node(2, 2), Node(2, 2)] if stays else len(set(topics)) == 4


def test_intents_that_become_one_leave_an_id_that_leads_to_the_larger() -> None:
    leaves = leaves_of_subjects()
    first = regroup(leaves, Levels(), RULES).levels
    one, two = intent(first, 1), intent(first, 2)
    of_one, of_two = (np.flatnonzero(leaves.ids % SUBJECTS == subject) for subject in (1, 2))
    unit, sizes = leaves.directions.copy(), leaves.sizes.copy()
    unit[of_one] = unit[of_two]
    sizes[of_one], sizes[of_two] = 10, 30
    found = regroup(Leaves(leaves.ids, unit, sizes), first, RULES)
    assert {intent(found.levels, number) for number in leaves.ids[[*of_one, *of_two]].tolist()} == {two}
    assert found.ended[one] == two


def test_an_intent_whose_leaves_are_gone_leads_nowhere() -> None:
    leaves = leaves_of_subjects()
    first = regroup(leaves, Levels(), RULES).levels
    rest = some(leaves, np.flatnonzero(leaves.ids % SUBJECTS != 1))
    assert regroup(rest, first, RULES).ended[intent(first, 1)] is None


def test_what_is_near_nothing_stands_alone() -> None:
    leaves = Leaves(np.arange(1, 6), np.eye(5, dtype=np.float32), np.ones(5))
    levels = regroup(leaves, Levels(), RULES).levels
    assert levels.parents == {}
    assert levels.path(3) == (leaf(3),) * 3


def mirror_of(unit: Matrix) -> Mirror:
    mirror = Mirror(unit.shape[1])
    mirror.apply([ClusterMoved(number, 1, row) for number, row in enumerate(unit, start=1)])
    return mirror


def placed_in(mirror: Mirror, levels: Levels, rules: LevelRules, new: Sequence[int]) -> dict[int, Node]:
    """Where each of these new leaves falls, those left out that are near to none; the levels stay as they were."""
    before, after = dict(levels.parents), PlacedLevels(levels)
    place(mirror, after, rules, new)
    assert levels.parents == before
    assert {node: after.levels.parents[node] for node in before} == before
    return {i: after.levels.parents[leaf(i)] for i in new if leaf(i) in after.levels.parents}


def test_new_leaves_fall_where_their_neighbours_are_or_stand_alone() -> None:
    leaves = leaves_of_subjects()
    levels = regroup(leaves, Levels(), RULES).levels
    nowhere = np.zeros((1, leaves.directions.shape[1]), np.float32)
    nowhere[0, -1] = -1.0
    mirror = mirror_of(np.vstack([leaves.directions, leaves.directions[3:5], nowhere]))
    first, second, alone = (len(leaves.ids) + more for more in (1, 2, 3))
    found = placed_in(mirror, levels, RULES, [first, second, alone])
    assert found == {first: intent(levels, 4), second: intent(levels, 5)}
    assert placed_in(mirror, Levels(), RULES, [first]) == {}
    assert placed_in(mirror, levels, RULES, []) == {}


def test_a_new_leaf_falls_into_no_intent_that_is_not_near_to_it() -> None:
    leaves = leaves_with_one_beside(0.1)
    six = Levels({leaf(number): Node(1, 1) for number in range(1, 7)}, (2, 1))
    vector = leaves.directions[6:]
    for mean, into in ((0.1, None), (0.19, None), (0.21, Node(1, 1))):
        leaves = leaves_with_one_beside(mean)
        mirror, vector = mirror_of(leaves.directions), leaves.directions[6:]
        assert placed_in(mirror, six, RULES, [7]).get(7) == into
        before = mirror_of(leaves.directions[:6])
        assert place_new(before, PlacedLevels(six), RULES, vector) == [into]
    # The next of the intents around it is asked.
    two = Levels({**six.parents, leaf(8): Node(1, 2)}, (3, 1))
    near = unit_rows(leaves_with_one_beside(0.1).directions[6:] + 0.5 * np.eye(1, 8, 7, dtype=np.float32))
    mirror = mirror_of(np.vstack([leaves.directions, near]))
    vector = leaves_with_one_beside(0.1).directions[6:]
    assert place_new(mirror, PlacedLevels(two), RULES, vector) == [Node(1, 2)]


def test_a_new_leaf_that_is_near_to_no_intent_around_it_is_in_their_topic() -> None:
    leaves = leaves_with_one_beside(0.1)
    six = {leaf(number): Node(1, 1) for number in range(1, 7)}
    levels = Levels({**six, Node(1, 1): Node(2, 1), Node(1, 2): Node(2, 1)}, (3, 2))
    after = mirror_of(leaves.directions)
    assert placed_in(after, levels, RULES, [7]) == {7: Node(2, 1)}
    before = mirror_of(leaves.directions[:6])
    assert place_new(before, PlacedLevels(levels), RULES, leaves.directions[6:]) == [Node(2, 1)]
    # The next run leaves it there.
    placed = Levels({**levels.parents, leaf(7): Node(2, 1)}, levels.next_numbers)
    assert regroup(leaves, placed, WIDE, opened=6).levels.path(7) == (leaf(7), leaf(7), Node(2, 1))


def test_a_new_leaf_falls_beside_what_is_near_to_it_in_an_intent_that_people_keep_others_in() -> None:
    """Leaves 1 to 12 are kept in an intent; 13 to 15 and the new leaf 16 are of another subject."""
    rows = np.zeros((16, 18))
    for row in range(16):
        rows[row, [0 if row < 12 else 1, 2 + row]] = np.sqrt([0.5, 0.5])
    leaves = Leaves(np.arange(1, 17), unit_rows(rows.astype(np.float32)), np.ones(16))
    former = Levels({leaf(number): Node(1, 1) for number in range(1, 16)}, (2, 1))
    kept = {leaf(number): Node(1, 1) for number in range(1, 13)}
    levels = regroup(some(leaves, np.arange(15)), former, WIDE, kept).levels
    assert {intent(levels, number) for number in range(1, 16)} == {Node(1, 1)}
    assert intent(regroup(leaves, levels, WIDE, kept, opened=15).levels, 16) == Node(1, 1)
    assert placed_in(mirror_of(leaves.directions), levels, WIDE, [16]) == {16: Node(1, 1)}
    before = mirror_of(leaves.directions[:15])
    assert place_new(before, PlacedLevels(levels), WIDE, leaves.directions[15:]) == [Node(1, 1)]
    # It would be far from all of them.
    assert place_new(before, PlacedLevels(replace(levels, kept=frozenset())), WIDE, leaves.directions[15:]) == [None]


def test_the_leaves_of_an_intent_are_read_once_however_many_new_ones_ask_for_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    leaves = leaves_of_a_wide_intent()
    levels = regroup(leaves, Levels(), WIDE).levels
    mirror = mirror_of(np.vstack([leaves.directions, leaves.directions]))
    read: list[int] = []

    def counted(of: Mirror, rows: NDArray[np.int64]) -> Matrix:
        read.append(len(rows))
        return directions(of, rows)

    monkeypatch.setattr(level_places, "directions", counted)
    new = list(range(25, 49))
    assert set(placed_in(mirror, levels, WIDE, new)) == set(new)
    assert sum(read) <= 24 + len(new)


def test_a_new_leaf_may_fall_beside_another_that_came_with_it() -> None:
    leaves = leaves_of_subjects()
    levels = regroup(leaves, Levels(), RULES).levels
    between = unit_rows(leaves.directions[:1] + 0.7 * np.eye(1, leaves.directions.shape[1], 40, dtype=np.float32))
    beyond = unit_rows(0.3 * leaves.directions[:1] + 0.9 * np.eye(1, leaves.directions.shape[1], 40, dtype=np.float32))
    mirror = mirror_of(np.vstack([leaves.directions, between, beyond]))
    assert set(placed_in(mirror, levels, RULES, [31, 32]).values()) == {intent(levels, 1)}
    assert placed_in(mirror, levels, RULES, [32]) == {}
    later = PlacedLevels(levels)
    for number in (31, 32):
        place(mirror, later, RULES, [number])
    assert intent(later.levels, 32) == intent(levels, 1)


@given(
    st.lists(
        st.tuples(st.integers(1, 12), st.one_of(st.none(), st.sampled_from([Node(1, 1), Node(1, 2), Node(2, 1)]))),
        max_size=40,
    )
)
def test_the_leaves_of_each_community_are_those_whose_parent_it_is(changes: list[tuple[int, Node | None]]) -> None:
    levels = Levels({leaf(1): Node(1, 1), leaf(2): Node(1, 1), Node(1, 1): Node(2, 1), Node(1, 2): Node(2, 1)}, (3, 2))
    placed = PlacedLevels(levels)
    for number, into in changes:
        if leaf(number) in placed.levels.parents and into is None:
            assert placed.remove(number) is not None
        else:
            placed.add(number, into)
        within = placed.levels.children()
        for community in (Node(1, 1), Node(1, 2), Node(2, 1)):
            leaves = [node.number for node in within.get(community, ()) if not node.level]
            assert sorted(placed.leaves(community)) == leaves
    assert len(levels.parents) == 4


def test_leaves_are_read_from_a_mirror_in_the_order_of_their_ids() -> None:
    leaves = leaves_of_subjects()
    mirror = Mirror(leaves.directions.shape[1])
    for number in reversed(leaves.ids.tolist()):
        mirror.apply([ClusterMoved(number, 2, leaves.directions[number - 1] * 2)])
    found = leaves_of(mirror, {1: 7})
    assert found.ids.tolist() == leaves.ids.tolist()
    assert found.sizes.tolist() == [7.0, *[2.0] * (len(found.ids) - 1)]
    np.testing.assert_allclose(found.directions, leaves.directions, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("node", [Node(0, 17), Node(1, 5), Node(2, 2)])
def test_a_node_is_read_as_it_is_written(node: Node) -> None:
    assert parse_node(str(node)) == node


@pytest.mark.parametrize("text", ["", "i", "i0", "x5", "5", "i-1", "i٣", "it5"])
def test_what_is_no_node_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="an id is c, i or t"):
        parse_node(text)


def leaves_in_pairs(sizes: dict[int, float], pairs: list[tuple[int, ...]]) -> Leaves:
    """Leaves of these sizes, by id: those named together have a cosine of .6, others of 0."""
    ids = sorted(sizes)
    rows = np.zeros((len(ids), len(pairs) + len(ids)), np.float32)
    for row, number in enumerate(ids):
        subject = next(at for at, pair in enumerate(pairs) if number in pair)
        rows[row, [subject, len(pairs) + row]] = np.sqrt([0.6, 0.4])
    return Leaves(np.array(ids), rows, np.array([sizes[number] for number in ids], np.float64))


def test_an_id_stays_with_the_leaves_that_it_had_and_not_with_new_ones_that_were_placed_there() -> None:
    """Leaf 5 is new, and larger than both that the intent had: by its ties the id would be its own."""
    former = Levels({leaf(number): Node(1, 1) for number in (1, 2, 5)}, (2, 1))
    leaves = leaves_in_pairs({1: 1, 2: 1, 3: 10, 5: 10}, [(1, 2), (3, 5)])
    levels = regroup(leaves, former, RULES, opened=4).levels
    assert {intent(levels, number) for number in (1, 2)} == {Node(1, 1)}
    assert {intent(levels, number) for number in (3, 5)} == {Node(1, 2)}


def test_new_leaves_do_not_give_an_id_to_others_that_never_had_it() -> None:
    """What the intent had is with others by now, in one that is larger; leaf 9 was placed there and left."""
    was = {1: 1, 2: 1, 9: 1, 6: 2, 7: 2, 8: 2}
    former = Levels({leaf(number): Node(1, of) for number, of in was.items()}, (3, 1))
    leaves = leaves_in_pairs(dict.fromkeys((1, 2, 3, 6, 7, 8, 9), 10), [(1, 2, 6, 7, 8), (3, 9)])
    found = regroup(leaves, former, RULES, opened=8)
    assert {intent(found.levels, number) for number in (1, 2, 6, 7, 8)} == {Node(1, 2)}
    assert {intent(found.levels, number) for number in (3, 9)} == {Node(1, 3)}
    assert found.ended == {Node(1, 1): Node(1, 2)}


@pytest.mark.parametrize("sizes", [(1, 1, 1), (1, 5, 5), (10, 1, 1)], ids=str)
def test_what_is_found_anew_has_no_id_of_new_leaves(sizes: tuple[int, ...]) -> None:
    """Intent 2, the highest, is of the new leaf 9 alone, which came to leaf 1: the other part of intent 1 is new."""
    former = Levels({leaf(number): Node(1, of) for number, of in {1: 1, 2: 1, 3: 1, 9: 2}.items()}, (3, 1))
    leaves = leaves_in_pairs(dict(zip((1, 2, 3, 9), (*sizes, 10), strict=True)), [(1, 9), (2, 3)])
    found = regroup(leaves, former, RULES, opened=8)
    assert {intent(found.levels, number) for number in (1, 2, 3, 9)} == {Node(1, 1), Node(1, 3)}
    assert intent(found.levels, 2) == intent(found.levels, 3)
    assert Node(1, 2) in found.ended


def test_new_leaves_alone_keep_the_id_that_they_were_told_with() -> None:
    former = Levels({leaf(number): Node(1, 1) for number in (1, 5, 6)}, (2, 1))
    levels = regroup(leaves_in_pairs({3: 1, 5: 1, 6: 1}, [(3,), (5, 6)]), former, RULES, opened=4).levels
    assert {intent(levels, number) for number in (5, 6)} == {Node(1, 1)}
