"""Levels around what people decided of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from questream.clustering.levels import Leaves, LevelRules, Levels, Node, leaf, regroup
from tests.kit.stepping import unit_rows
from tests.unit.test_levels import LEAVES_OF_EACH, RULES, SUBJECTS, intent, leaves_of_subjects, near_leaves, some

I1, I2, I99 = Node(1, 1), Node(1, 2), Node(1, 99)


def subject(number: int) -> list[int]:
    """The leaves of a subject, 1 to 6."""
    return [number + SUBJECTS * at for at in range(LEAVES_OF_EACH)]


def test_a_leaf_stays_in_the_intent_that_people_keep_it_in() -> None:
    leaves = leaves_of_subjects()
    former = regroup(leaves, Levels(), RULES).levels
    other = intent(former, 2)
    levels = regroup(leaves, former, RULES, {leaf(1): other}).levels
    assert intent(levels, 1) == other == intent(levels, 2)
    assert {intent(levels, number) for number in subject(1)[1:]} == {intent(former, 1)}


def test_leaves_that_are_moved_to_an_intent_do_not_drive_out_what_was_there() -> None:
    """Three of another subject, larger than its own: by their ties they would be that intent, and it another."""
    leaves = leaves_of_subjects()
    former = regroup(leaves, Levels(), RULES).levels
    other, moved = intent(former, 2), subject(1)[:3]
    leaves.sizes[[number - 1 for number in moved]] = 40
    levels = former
    for _ in range(3):
        levels = regroup(leaves, levels, RULES, {leaf(number): other for number in moved}).levels
        assert {intent(levels, number) for number in (*moved, *subject(2))} == {other}


def test_a_leaf_is_an_intent_of_its_own_where_people_keep_it_so() -> None:
    leaves = leaves_of_subjects()
    former = regroup(leaves, Levels(), RULES).levels
    kept = {leaf(1): I99}
    found = regroup(leaves, former, RULES, kept)
    assert intent(found.levels, 1) == I99
    assert found.levels.next_numbers[0] == 100
    again = regroup(leaves, found.levels, RULES, kept)
    assert again.levels == found.levels
    assert intent(regroup(leaves, found.levels, LevelRules(RULES.resolutions, inertia=0.0)).levels, 1) == intent(
        former, 1
    )


def test_what_is_near_as_a_whole_does_not_come_to_what_people_keep_apart() -> None:
    found = regroup(near_leaves(200, 0.7), Levels(), LevelRules(), {leaf(1): I99, leaf(2): I1})
    assert [intent(found.levels, number) for number in (1, 2)] == [I99, I1]
    of_others = Counter(intent(found.levels, number) for number in range(3, 201))
    assert max(of_others[node] for node in of_others if node not in (I1, I99)) > 190


def test_what_people_keep_together_is_one_and_others_gather_around_it() -> None:
    """Leaves of two subjects are kept in one intent: what is near to either comes to it."""
    leaves = leaves_of_subjects()
    kept = {leaf(number): I99 for number in (*subject(1)[:4], *subject(2)[:4])}
    levels = regroup(leaves, Levels(), RULES, kept).levels
    assert {intent(levels, number) for number in (*subject(1), *subject(2))} == {I99}
    assert {intent(levels, number) for number in subject(3)}.isdisjoint({I99})


def test_what_people_keep_apart_stays_apart_however_near_it_is() -> None:
    """One subject, two intents: each of the other leaves goes with the half that it is tied to more."""
    rows = np.array([[1.0, at / 10, 0, 0] for at in range(-4, 5)])
    leaves = Leaves(np.arange(1, 10), unit_rows(rows.astype(np.float32)), np.ones(9))
    rules = LevelRules(resolutions=(0.1, 0.1), neighbours=2)
    assert len({intent(regroup(leaves, Levels(), rules).levels, number) for number in range(1, 10)}) == 1
    levels = regroup(leaves, Levels(), rules, {leaf(1): I1, leaf(9): I2}).levels
    assert [intent(levels, number) for number in (1, 2, 3)] == [I1] * 3
    assert [intent(levels, number) for number in (7, 8, 9)] == [I2] * 3


def test_an_intent_stays_in_the_topic_that_people_keep_it_in() -> None:
    leaves = leaves_of_subjects()
    former = regroup(leaves, Levels(), RULES).levels
    first, second = intent(former, 1), intent(former, 2)
    kept = {leaf(number): intent(former, number) for number in (*subject(1), *subject(2))}
    topics = {first: Node(2, 8), second: Node(2, 9)}
    levels = regroup(leaves, former, RULES, {**kept, **topics}).levels
    assert levels.path(1)[1:] == (first, Node(2, 8))
    assert levels.path(2)[1:] == (second, Node(2, 9))
    together = regroup(leaves, former, RULES, {**kept, first: Node(2, 9), second: Node(2, 9)}).levels
    assert together.path(1)[2] == together.path(2)[2] == Node(2, 9)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 60), runs=st.integers(1, 3))
def test_no_run_contradicts_what_people_keep(seed: int, count: int, runs: int) -> None:
    """Leaves at random come and go; some are kept in one of four intents, and three of these in one of two topics."""
    random = np.random.default_rng(seed)
    unit = unit_rows(random.normal(0, 1, (60, 4)).astype(np.float32))
    kept = {leaf(int(number) + 1): Node(1, int(random.integers(1, 5))) for number in random.permutation(60)[:20]}
    kept.update((Node(1, number), Node(2, int(random.integers(1, 3)))) for number in (1, 2, 3))
    levels = Levels()
    for _ in range(runs):
        chosen = np.sort(random.permutation(60)[:count])
        leaves = Leaves(chosen + 1, unit[chosen], random.integers(1, 9, count).astype(np.float64))
        found = regroup(leaves, levels, RULES, kept)
        there = set(leaves.ids.tolist())
        for node, into in kept.items():
            if node.level == 0 and node.number in there:
                assert found.levels.path(node.number)[1] == into
                assert found.levels.path(node.number)[2] == kept.get(into, found.levels.path(node.number)[2])
        standing = set(found.levels.parents.values())
        assert found.ended.keys() == set(levels.parents.values()) - standing
        assert all(node.number < found.levels.next_numbers[node.level - 1] for node in standing)
        shuffled = some(leaves, random.permutation(count))
        assert regroup(shuffled, levels, RULES, kept) == found
        levels = found.levels
