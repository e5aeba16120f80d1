"""Where a new leaf falls between two runs of the levels: to those nearest to it, in their intent or beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np

from questream.clustering.level_graph import Floats, least_mean_cosine, mean_of
from questream.clustering.levels import LevelRules, Levels, Node, directions, leaf, mean_of_stream, unit_rows
from questream.clustering.mirror import Mirror
from questream.clustering.rules import MEAN_PRIOR_QUESTIONS
from questream.domain import Matrix

_SHORTEST = 1e-9


class PlacedLevels:
    """The levels of a run, to which leaves are added that are new since; one thread at a time may change them.

    The leaves of the run are walked over once; what is placed later asks for the communities around it alone.
    """

    def __init__(self, levels: Levels) -> None:
        self._parents = dict(levels.parents)
        self.levels = replace(levels, parents=self._parents)
        # The new ones that were looked at, those that are near to none among them.
        self.seen: set[int] = set()

    def leaves(self, community: Node) -> Sequence[int]:
        """The clusters that are in a community with no other between."""
        return self._leaves.get(community, ())

    @cached_property
    def _leaves(self) -> dict[Node, list[int]]:
        found: dict[Node, list[int]] = {}
        for (level, number), parent in self._parents.items():
            if not level:
                found.setdefault(parent, []).append(number)
        return found

    def add(self, cluster_id: int, community: Node | None) -> None:
        """A cluster that is in no community is in this one, or near to none; one that is in one stays there."""
        self.seen.add(cluster_id)
        if community is not None and leaf(cluster_id) not in self._parents:
            self._leaves.setdefault(community, []).append(cluster_id)
            self._parents[leaf(cluster_id)] = community

    def remove(self, cluster_id: int) -> Node | None:
        """A cluster is in no community from now on. Returns the one that it was in."""
        community = self._parents.get(leaf(cluster_id))
        if community is not None:
            self._leaves[community].remove(cluster_id)
            del self._parents[leaf(cluster_id)]
        return community


def place(mirror: Mirror, placed: PlacedLevels, rules: LevelRules, new: Sequence[int]) -> None:
    """Add the new leaves of a mirror to the communities that they fall into: where the leaves nearest to each are.

    An intent has to be near to the new leaf as a whole, as in a run; if it is not, the next one of those leaves is
    asked. If none is, the leaf is in the topic of most of them, as one that leaves its intent in a run stays in its
    topic. A leaf to which none is near enough, or only such as are in no community that it may be in, is not added.
    None is looked at twice.
    """
    rows = mirror.rows([cluster_id for cluster_id in new if cluster_id not in placed.seen])
    if not rows:
        return
    directed = directions(mirror, np.array(rows))
    cosines = _cosines(mirror, directed)
    for column in range(len(rows)):
        # A leaf sees those that came before it.
        cosines[rows[column:], column] = -np.inf
    communities = _Communities(mirror, placed, rules, directed, cosines)
    for column, row in enumerate(rows):
        communities.add(column, row, communities.around(column))


def place_new(mirror: Mirror, placed: PlacedLevels, rules: LevelRules, vectors: Matrix) -> list[Node | None]:
    """Where `place` would add leaves that each begin with one of the vectors (n, d), of length 1.

    They see the mirror alone.
    """
    if not mirror.count:
        return [None] * len(vectors)
    directed = unit_rows((vectors - mean_of_stream(mirror)).astype(np.float32))
    communities = _Communities(mirror, placed, rules, directed, _cosines(mirror, directed))
    return [communities.around(column) for column in range(len(vectors))]


class _Communities:
    """The communities around new leaves of directions (n, d); `cosines` (m, n) are those of m clusters to each."""

    def __init__(
        self, mirror: Mirror, placed: PlacedLevels, rules: LevelRules, directed: Matrix, cosines: Floats
    ) -> None:
        self._mirror = mirror
        self._placed = placed
        self._rules = rules
        self._directed = directed
        self._cosines = cosines
        # Of an intent that was asked for, all that is in it and what people do not keep there: the sums of directions
        # (2, d), and questions (2,).
        self._sums: dict[Node, tuple[Floats, Floats]] = {}

    def around(self, column: int) -> Node | None:
        """The community of the leaves nearest to a new one, weighed as their ties would be."""
        votes: dict[Node, float] = {}
        cosines = self._cosines[:, column]
        for row in _nearest(self._mirror, self._rules, cosines):
            parent = self._placed.levels.parents.get(leaf(int(self._mirror.ids[row])))
            if parent is not None:
                weight = float(cosines[row]) * float(self._mirror.members[row]) ** 0.5
                votes[parent] = votes.get(parent, 0.0) + weight
        near = (node for node in _ranked(votes) if node.level > 1 or self._is_near(node, column))
        return next(near, None) or self._topic(votes)

    def add(self, column: int, row: int, parent: Node | None) -> None:
        """The new leaf of this row is in that community, or near to none."""
        self._placed.add(int(self._mirror.ids[row]), parent)
        if parent is not None and parent in self._sums:
            sums, questions = self._sums[parent]
            members = float(self._mirror.members[row])
            self._sums[parent] = sums + members * self._directed[column], questions + members

    def _topic(self, votes: Mapping[Node, float]) -> Node | None:
        """The topic of most of the votes for intents."""
        above: dict[Node, float] = {}
        for intent, weight in votes.items():
            topic = self._placed.levels.parents.get(intent)
            if topic is not None:
                above[topic] = above.get(topic, 0.0) + weight
        return next(iter(_ranked(above)), None)

    def _is_near(self, intent: Node, column: int) -> bool:
        """True if the new leaf is near to all that is in the intent, or to what people do not keep there."""
        if intent not in self._sums:
            self._sums[intent] = self._sums_of(self._mirror.rows(self._placed.leaves(intent)))
        sums, questions = self._sums[intent]
        asked = least_mean_cosine(sums[0], float(questions[0]), self._rules.least_mean_cosine)
        return bool((mean_of(sums @ self._directed[column], questions) >= asked).any())

    def _sums_of(self, rows: Sequence[int]) -> tuple[Floats, Floats]:
        members = self._mirror.members[rows].astype(np.float64)
        kept = self._placed.levels.kept
        is_kept = [number in kept for number in self._mirror.ids[rows].tolist()]
        counted = np.stack([members, np.where(is_kept, 0.0, members)])
        return counted @ directions(self._mirror, np.array(rows)).astype(np.float64), counted.sum(axis=1)


def _ranked(votes: Mapping[Node, float]) -> list[Node]:
    return sorted(votes, key=lambda node: (-votes[node], node))


def _nearest(mirror: Mirror, rules: LevelRules, cosines: Floats) -> list[int]:
    """The rows of the clusters that say where a leaf with these cosines (m,) falls, the nearest first."""
    near = np.flatnonzero(cosines >= rules.least_cosine)
    order = np.lexsort((mirror.ids[near], -cosines[near]))
    rows: list[int] = near[order][: rules.voters].tolist()
    return rows


def _cosines(mirror: Mirror, directed: Matrix) -> Floats:
    """Cosines (m, n) between the centred centroids of a mirror's m clusters and n directions (n, d).

    As `directions` of all rows would give them, from the products that the mirror has.
    """
    mean = mean_of_stream(mirror)
    members = mirror.members.astype(np.float64)
    dots = (mirror.sums @ directed.T) / members[:, None] - directed @ mean
    dot_mean = mirror.dot_mean / (members * (mirror.mean_questions + MEAN_PRIOR_QUESTIONS))
    squares = mirror.dot_self / members**2 - 2.0 * dot_mean + float(mean @ mean)
    cosines: Floats = dots / np.sqrt(np.maximum(squares, _SHORTEST))[:, None]
    return cosines
