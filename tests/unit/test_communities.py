"""Intents and topics of many clusters, against what the path of each cluster says."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from questream.clustering.levels import Levels, Node, leaf
from questream.clustering.stored_levels import StoredLevels
from questream.domain import ClusterState, Ruling
from questream.tools.communities import LARGEST_SIZE, Clusters, Communities, Community, NoSuchCommunity, Places
from questream.tools.sorting import Level
from tests.kit.serving import store_with

TEXTS = [f"What about {word}?" for word in ("parcels", "cards", "money", "phones", "letters", "cheese")]


def clusters_of(seed: int, count: int = 60) -> list[ClusterState]:
    """Clusters of a few sizes and labels, by no order of their ids."""
    random = np.random.default_rng(seed)
    (state, *_) = store_with({"shop": TEXTS[:1]}).summaries("shop")
    labels = [None, None, "parcel", "card"]
    return [
        replace(
            state, cluster_id=int(number), size=int(random.integers(1, 5)), ruling=Ruling(labels[random.integers(4)])
        )
        for number in random.permutation(np.arange(1, 2 * count, 2))
    ]


def levels_of(seed: int, count: int = 60) -> Levels:
    """Of clusters some are in intents, some of these in topics, some in topics without an intent, and some alone."""
    random = np.random.default_rng(seed)
    parents: dict[Node, Node] = {}
    for number in range(1, 2 * count, 2):
        into = [None, Node(2, 3), *(Node(1, one) for one in range(1, 9))][random.integers(10)]
        if into is not None:
            parents[leaf(number)] = into
    for intent in range(1, 6):
        if Node(1, intent) in parents.values():
            parents[Node(1, intent)] = Node(2, 1 + intent % 2)
    return Levels(parents, (10, 4))


def told(one: Community) -> tuple[Any, ...]:
    """What is shown of it."""
    return (
        one.node,
        one.size,
        [state.cluster_id for state in one.clusters],
        one.ids,
        one.labels,
        one.within,
        list(one.part_nodes),
        [part.node for part in one.parts],
    )


def by_paths(states: list[ClusterState], levels: Levels, level: Level) -> list[tuple[Any, ...]]:
    """The same from each cluster's path."""

    def grouped(chosen: list[ClusterState], at: int) -> list[tuple[Node, list[ClusterState]]]:
        found = defaultdict(list)
        for state in sorted(chosen, key=lambda one: (-one.size, one.cluster_id)):
            found[levels.path(state.cluster_id)[at]].append(state)
        return sorted(
            found.items(),
            key=lambda item: (-sum(one.size for one in item[1]), min(one.cluster_id for one in item[1])),
        )

    rows: list[tuple[Any, ...]] = []
    for node, inside in grouped(states, 1 if level is Level.INTENT else 2):
        ids = [one.cluster_id for one in inside]
        labels = sorted({one.label for one in inside if one.label})
        parts = [] if level is Level.INTENT else [part for part, _ in grouped(inside, 1)]
        within = levels.path(ids[0])[2] if level is Level.INTENT else None
        rows.append((node, sum(one.size for one in inside), ids, ids, labels, within, parts, parts))
    return rows


@pytest.mark.parametrize("seed", range(20))
def test_they_are_what_the_paths_of_their_clusters_say(seed: int) -> None:
    states, levels = clusters_of(seed), levels_of(seed)
    named = {Node(1, 2): ("Cards", None), Node(2, 1): (None, "team")}
    stored = StoredLevels(levels, 200, {Node(1, 99): Node(1, 2), Node(1, 98): None}, 1, named)
    found = Communities(stored, Clusters.of(states), Places.of(levels))
    for level in Level:
        expected = by_paths(states, levels, level)
        assert [told(one) for one in found.of(level)] == expected
        assert found.count(level) == len(expected)
        assert [one.node for one in found.of(level)[2:5]] == [row[0] for row in expected[2:5]]
        for one in found.of(level):
            assert one.naming == named.get(one.node, (None, None))
            if one.node.level:
                assert told(found.get(one.node))[:2] == told(one)[:2]
            for part in one.parts:
                assert told(part) == next(told(each) for each in found.of(Level.INTENT) if each.node == part.node)
    if any(levels.path(state.cluster_id)[1] == Node(1, 2) for state in states):
        assert found.get(Node(1, 99)).node == Node(1, 2)
    for missing in (Node(1, 98), Node(2, 77), leaf(1)):
        with pytest.raises(NoSuchCommunity):
            found.get(missing)


@pytest.mark.parametrize("seed", range(10))
def test_a_cluster_that_came_since_is_where_it_is_placed(seed: int) -> None:
    states, levels = clusters_of(seed), levels_of(seed)
    placed = {number: into for number, into in ((2, Node(1, 1)), (400, Node(2, 3)), (402, Node(1, 8)))
              if into in levels.parents.values()}  # fmt: skip
    later = [replace(states[0], cluster_id=number, size=3) for number in (2, 400, 402)]
    stored = StoredLevels(levels, 200, version=1)
    whole = Levels({**levels.parents, **{leaf(number): into for number, into in placed.items()}}, levels.next_numbers)
    found = Communities(stored, Clusters.of(states + later), Places.of(levels).with_new(placed, levels))
    for level in Level:
        assert [told(one) for one in found.of(level)] == by_paths(states + later, whole, level)


def test_a_namespace_of_no_cluster_and_levels_of_none_are_empty() -> None:
    (state, *_) = store_with({"shop": TEXTS[:1]}).summaries("shop")
    huge = replace(state, size=2**62)
    for states, count in (([], 0), ([huge, replace(huge, cluster_id=9)], 2)):
        found = Communities(StoredLevels(), Clusters.of(states), Places.of(Levels()))
        assert [len(found.of(level)) for level in Level] == [count] * 2
        assert [one.size for one in found.of(Level.TOPIC)] == [LARGEST_SIZE] * count
