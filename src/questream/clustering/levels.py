"""Levels above the leaf clusters: communities of leaves (intents), and of these (topics), found by Leiden.

A leaf is the same question in other words and never a heap; what people want, and what it is about, are groups of
leaves. They are computed over centroids, from time to time, each run beginning where the one before ended:

- The graph: each node is tied to the nearest others, where the cosine of their directions is near enough; a tie weighs
  the cosine times the root of the sizes of both.
- The communities of a level are those of `level_graph.py`, beginning from the former ones, at the level's resolution.
- A community has the id of the former one with which it shares most questions.

A node without ties, or with none that hold, is alone: it is its own intent, its own topic, without a row anywhere. A
leaf that is not near to the rest of its intent is its own intent. What has been in a topic leaves it for another alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from questream.clustering.level_graph import Floats, LevelGraph, Numbers, TieRules, most_shared, sums_of
from questream.clustering.mirror import Mirror
from questream.clustering.rules import MEAN_PRIOR_QUESTIONS
from questream.domain import LEVEL_LETTERS, Matrix, NamespaceRules, Vector

# From the finest up. A cluster, an intent and a topic are written as c17, i5 and t2.
LEVEL_NAMES = ("intent", "topic")
_PREFIXES = f"c{LEVEL_LETTERS}"

_SHORTEST = 1e-9
_HARDLY = 1e-9


class Node(NamedTuple):
    """A leaf cluster (level 0) or a community of a level, and its number there."""

    level: int
    number: int

    def __str__(self) -> str:
        return f"{_PREFIXES[self.level]}{self.number}"


def parse_node(text: str) -> Node:
    """The node that `str(node)` names. Raises ValueError for anything else."""
    number = text[1:]
    if text[:1] not in tuple(_PREFIXES) or not (number.isascii() and number.isdigit()) or int(number) < 1:
        raise ValueError("an id is c, i or t (cluster, intent, topic) and a positive number, like i5")
    return Node(_PREFIXES.index(text[0]), int(number))


def leaf(cluster_id: int) -> Node:
    """The node of a cluster."""
    return Node(0, cluster_id)


@dataclass(frozen=True, slots=True)
class LevelRules:
    """The rules of communities. `resolutions` are of intents and topics: the higher, the more communities; of few nodes
    they are taken for less.

    A node is tied to its `neighbours` nearest whose cosine is at least `least_cosine`. Communities whose questions have
    a mean cosine of `one_from` are one at any resolution. A leaf whose questions have a mean cosine below
    `least_mean_cosine` to the others of its intent is in none; a wide intent asks for less. `inertia` is the share of a
    leaf's ties that a change of its intent has to gain; an intent's change of its topic has to gain twice that. A new
    leaf goes where the `voters` nearest leaves are.
    """

    resolutions: tuple[float, float] = (24.0, 8.0)
    neighbours: int = 8
    least_cosine: float = 0.4
    one_from: float = 0.6
    least_mean_cosine: float = 0.2
    inertia: float = 0.2
    voters: int = 4

    def __post_init__(self) -> None:
        """Raises ValueError for what makes no sense."""
        for name in ("neighbours", "voters"):
            given = getattr(self, name)
            if not isinstance(given, int | np.integer) or given < 1:
                raise ValueError(f"{name} is a whole number, 1 or more")
        for name in ("least_cosine", "one_from", "least_mean_cosine", "inertia"):
            if not _is_number(getattr(self, name)):
                raise ValueError(f"{name} is a finite number")
        resolutions: Any = self.resolutions
        if not (isinstance(resolutions, tuple | list) and len(resolutions) == 2 and all(map(_is_number, resolutions))):
            raise ValueError("resolutions are two numbers: of intents and of topics")

    def in_force(self, of_namespace: NamespaceRules) -> LevelRules:
        """These rules with what people set for a namespace in their place."""
        asked = (of_namespace.intent_resolution, of_namespace.topic_resolution)
        intents, topics = (now if given is None else given for given, now in zip(asked, self.resolutions, strict=True))
        return replace(self, resolutions=(intents, topics))


def _is_number(given: Any) -> bool:
    return isinstance(given, int | float | np.integer | np.floating) and bool(np.isfinite(given))


@dataclass(frozen=True, slots=True)
class Leaves:
    """The leaf clusters of a namespace: ids (n,), centred centroids of length 1 (n, d), and sizes in questions (n,)."""

    ids: Numbers
    directions: Matrix
    sizes: Floats


@dataclass(frozen=True, slots=True)
class Levels:
    """Which community each node is in. `next_numbers` are the numbers that the next ones of each level get.

    `kept` are the clusters that people kept in their intent by then. Levels with and without it are the same levels:
    releases that do not know it leave it out.
    """

    parents: Mapping[Node, Node] = field(default_factory=dict)
    next_numbers: tuple[int, ...] = (1,) * len(LEVEL_NAMES)
    kept: frozenset[int] = field(default=frozenset(), compare=False)

    def path(self, cluster_id: int) -> tuple[Node, ...]:
        """The leaf, its intent and its topic; alone on a level it is the node of the level below again."""
        node = leaf(cluster_id)
        path = [node]
        for level in range(1, len(LEVEL_NAMES) + 1):
            parent = self.parents.get(node)
            if parent is not None and parent.level == level:
                node = parent
            path.append(node)
        return tuple(path)

    def children(self) -> dict[Node, list[Node]]:
        """The nodes of each community, by number."""
        found: dict[Node, list[Node]] = {}
        for node in sorted(self.parents):
            found.setdefault(self.parents[node], []).append(node)
        return found


def leaves_within(nodes: Iterable[Node], children: Mapping[Node, Sequence[Node]]) -> list[int]:
    """The clusters of nodes of any level, each once, by id; `children` are those of `Levels.children`."""
    found, asked = set(), list(nodes)
    while asked:
        node = asked.pop()
        if node.level:
            asked += children.get(node, ())
        else:
            found.add(node.number)
    return sorted(found)


@dataclass(frozen=True, slots=True)
class Regrouped:
    """The result of a run. `ended` are the communities that are no more, and where most of their questions are now.

    That is another community of the level or a node alone there; None where all its leaves are gone.
    """

    levels: Levels
    ended: Mapping[Node, Node | None]


def leaves_of(mirror: Mirror, sizes: Mapping[int, int]) -> Leaves:
    """The leaves of a mirror, by id; a cluster that `sizes` does not know counts its centroid members.

    One that people opened before any question came counts as one.
    """
    order = np.argsort(mirror.ids, kind="stable")
    ids = mirror.ids[order]
    members = mirror.members[order]
    counted = [max(1, sizes.get(int(number), int(known))) for number, known in zip(ids, members, strict=True)]
    return Leaves(ids, directions(mirror, order), np.array(counted, np.float64))


def directions(mirror: Mirror, rows: Numbers) -> Matrix:
    """Centroids of these rows with the stream's mean taken off, at length 1 (n, d)."""
    centred: Matrix = mirror.sums[rows] / mirror.members[rows].astype(np.float32)[:, None]
    centred -= mean_of_stream(mirror)
    return unit_rows(centred)


def mean_of_stream(mirror: Mirror) -> Vector:
    """The stream's mean (d,), of its first questions, that directions have taken off."""
    mean: Vector = mirror.mean_sum / np.float32(mirror.mean_questions + MEAN_PRIOR_QUESTIONS)
    return mean


def unit_rows(vectors: Matrix) -> Matrix:
    """The vectors (n, d) at length 1."""
    unit: Matrix = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), _SHORTEST)
    return unit


def load_libraries() -> None:
    """Import what `regroup` needs (35 MB), so that no stream waits for it at its first run."""
    import graspologic_native  # noqa: F401
    import scipy.sparse.csgraph  # noqa: F401


def regroup(
    leaves: Leaves,
    former: Levels,
    rules: LevelRules,
    kept: Mapping[Node, Node] = MappingProxyType({}),
    opened: int | None = None,
) -> Regrouped:
    """Find the communities anew, beginning with the `former` ones. The order of the leaves does not matter.

    Leaves that `former` does not know are new, and so are those above the id `opened`: where it has these they have
    only been placed, and an id does not go with them. Those that it alone knows are gone. `kept` says of leaves the
    intent, and of intents the topic, that people keep them in, whether `former` knows it or not.
    """
    order = np.argsort(leaves.ids, kind="stable")
    ids = leaves.ids[order].tolist()
    paths = [former.path(number) for number in ids]
    parents: dict[Node, Node] = {}
    next_numbers = [
        max([following, *(into.number + 1 for into in kept.values() if into.level == level)])
        for level, following in enumerate(former.next_numbers, start=1)
    ]
    nodes = [leaf(number) for number in ids]
    of_leaf = np.arange(len(ids))
    leaf_sizes = leaves.sizes[order]
    unit, sizes = leaves.directions[order], leaf_sizes
    is_new = np.zeros(len(ids), np.bool_) if opened is None else leaves.ids[order] > opened
    weights = np.where(is_new, _HARDLY * leaf_sizes, leaf_sizes)
    for level, resolution in enumerate(rules.resolutions, start=1):
        former_of = _majority([path[level] for path in paths], of_leaf, weights, len(nodes), level)
        kept_in = np.array([kept[node].number if node in kept else 0 for node in nodes], np.int64).reshape(-1)
        former_of = np.where(kept_in > 0, kept_in, former_of)
        new = np.bincount(of_leaf, ~is_new, len(nodes)) == 0
        # A topic may be wide.
        near = rules.least_mean_cosine if level == 1 else None
        ties = TieRules(rules.neighbours, rules.least_cosine, rules.one_from, near, rules.inertia * level)
        found = LevelGraph(unit, sizes, former_of, kept_in, new, resolution, ties).communities()
        if level > 1 and rules.inertia > 0.0:
            found = _accompanied(found, former_of)
        named = _name(found, former_of, level, next_numbers[level - 1])
        next_numbers[level - 1] = max([next_numbers[level - 1], *(node.number + 1 for node in named.values())])
        for row, community in enumerate(found.tolist()):
            if community in named:
                parents[nodes[row]] = named[community]
        merged = [parents.get(node, node) for node in nodes]
        nodes = sorted(set(merged))
        place = {node: at for at, node in enumerate(nodes)}
        row_of = np.array([place[node] for node in merged], np.int64).reshape(-1)
        unit, sizes = _sums(unit, sizes, row_of, len(nodes))
        of_leaf = row_of[of_leaf]
    in_intents = frozenset(number for number in ids if leaf(number) in kept)
    levels = Levels(parents, tuple(next_numbers), in_intents)
    return Regrouped(levels, _ended(former, levels, ids, leaf_sizes))


def _accompanied(found: Numbers, former: Numbers) -> Numbers:
    """The communities (n,) with each node that would be alone in its former one, if it had any.

    A leaf is an intent by itself; a topic of one intent says no more than that intent.
    """
    _, place, counts = np.unique(found, return_inverse=True, return_counts=True)
    alone = counts[place.ravel()] == 1
    return np.where(alone & (former > 0), former, found)


def _name(found: Numbers, former: Numbers, level: int, next_number: int) -> dict[int, Node]:
    """The nodes of the communities; a new one of a single node is none, that node is alone."""
    named = {}
    current = set(former[former > 0].tolist())
    numbers, first, counts = np.unique(found, return_index=True, return_counts=True)
    for at in np.argsort(first, kind="stable").tolist():
        community = int(numbers[at])
        if community in current:
            named[community] = Node(level, community)
        elif counts[at] > 1:
            named[community] = Node(level, next_number)
            next_number += 1
    return named


def _majority(former: Sequence[Node], of_leaf: Numbers, sizes: Floats, count: int, level: int) -> Numbers:
    """The number (count,) of the former community that most questions of each row were in; 0 where in none."""
    known = [at for at, node in enumerate(former) if node.level == level]
    numbers = np.array([former[at].number for at in known], np.int64)
    return most_shared(of_leaf[known], numbers, sizes[known], count) if known else np.zeros(count, np.int64)


def _sums(unit: Matrix, sizes: Floats, row_of: Numbers, count: int) -> tuple[Matrix, Floats]:
    """Directions (count, d) and sizes (count,) of communities."""
    sums, totals = sums_of(unit, sizes, row_of, count)
    return unit_rows(sums.astype(np.float32)), totals


def _ended(former: Levels, levels: Levels, ids: Iterable[int], sizes: Floats) -> dict[Node, Node | None]:
    """The former communities that are no more, and where most questions of each are."""
    current = set(levels.parents.values())
    questions: dict[Node, dict[Node, float]] = {}
    for number, size in zip(ids, sizes.tolist(), strict=True):
        before, after = former.path(number), levels.path(number)
        for level in range(1, len(LEVEL_NAMES) + 1):
            if before[level].level == level and before[level] not in current:
                went = questions.setdefault(before[level], {})
                went[after[level]] = went.get(after[level], 0.0) + size
    gone = {node for node in former.parents.values() if node not in current}
    return {
        node: min(questions[node], key=lambda to: (-questions[node][to], to)) if node in questions else None
        for node in sorted(gone)
    }
