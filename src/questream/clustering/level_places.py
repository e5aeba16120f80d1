"""Where a new leaf falls between two runs of the levels: to those nearest to it, in their intent or beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

import numpy as np

from questream.clustering.level_graph import Floats, least_mean_cosine, mean_of
from questream.clustering.levels import LevelRules, Levels, Node, directions, leaf, mean_of_stream, unit_rows
from questream.clustering.mirror import Mirror
from questream.clustering.rules import MEAN_PRIOR_QUESTIONS
from questream.domain import Matrix

_SHORTEST = 1e-9


def place(mirror: Mirror, levels: Levels, rules: LevelRules, new: Sequence[int]) -> dict[int, Node]:
    """The communities that new leaves of the mirror fall into between two runs: where the leaves nearest to each are.

    An intent has to be near to the new leaf as a whole, as in a run; if it is not, the next one of those leaves is
    asked. If none is, the leaf is in the topic of most of them, as one that leaves its intent in a run stays in its
    topic. A leaf that is not in the result has none near enough, or only such as are in no community that it may be in.
    """
    rows = mirror.rows(new)
    if not rows:
        return {}
    directed = directions(mirror, np.array(rows))
    cosines = _cosines(mirror, directed)
    for column in range(len(rows)):
        # A leaf sees those that came before it.
        cosines[rows[column:], column] = -np.inf
    communities = _Communities(mirror, levels, rules, directed, cosines, set(rows))
    placed: dict[int, Node] = {}
    for column, row in enumerate(rows):
        parent = communities.around(column)
        if parent is not None:
            communities.add(column, row, parent)
            placed[int(mirror.ids[row])] = parent
    return placed


def place_new(mirror: Mirror, levels: Levels, rules: LevelRules, vectors: Matrix) -> list[Node | None]:
    """As `place` for leaves that each begin with one of the vectors (n, d), of length 1; they see the mirror alone."""
    if not mirror.count:
        return [None] * len(vectors)
    directed = unit_rows((vectors - mean_of_stream(mirror)).astype(np.float32))
    communities = _Communities(mirror, levels, rules, directed, _cosines(mirror, directed), set())
    return [communities.around(column) for column in range(len(vectors))]


class _Communities:
    """The communities around new leaves of directions (n, d); `cosines` (m, n) are those of m clusters to each.

    Of the clusters in the rows `new` none is in a community until it is added.
    """

    def __init__(
        self,
        mirror: Mirror,
        levels: Levels,
        rules: LevelRules,
        directed: Matrix,
        cosines: Floats,
        new: Set[int],
    ) -> None:
        self._mirror = mirror
        self._least_mean_cosine = rules.least_mean_cosine
        self._directed = directed
        self._cosines = cosines
        self._nearest = [_nearest(mirror, rules, of) for of in cosines.T]
        near = {row for rows in self._nearest for row in rows}.difference(new)
        parents = {row: levels.parents.get(leaf(int(mirror.ids[row]))) for row in near}
        self._parents = {row: parent for row, parent in parents.items() if parent is not None}
        self._rows: dict[Node, list[int]] = {parent: [] for parent in self._parents.values()}
        # Of an intent that was asked for, all that is in it and what people do not keep there: the sums of directions
        # (2, d), and questions (2,).
        self._sums: dict[Node, tuple[Floats, Floats]] = {}
        self._kept = np.array(sorted(levels.kept), np.int64)
        self._topics = {parent: levels.parents.get(parent) for parent in self._rows}
        if self._rows:
            for node, parent in levels.parents.items():
                if parent in self._rows and not node.level:
                    row = mirror.row_of.get(node.number)
                    if row is not None and row not in new:
                        self._rows[parent].append(row)

    def around(self, column: int) -> Node | None:
        """The community of the leaves nearest to a new one, weighed as their ties would be."""
        votes: dict[Node, float] = {}
        for row in self._nearest[column]:
            parent = self._parents.get(row)
            if parent is not None:
                weight = float(self._cosines[row, column]) * float(self._mirror.members[row]) ** 0.5
                votes[parent] = votes.get(parent, 0.0) + weight
        near = (node for node in _ranked(votes) if node.level > 1 or self._is_near(node, column))
        return next(near, None) or self._topic(votes)

    def add(self, column: int, row: int, parent: Node) -> None:
        """The new leaf of this row is in that community."""
        self._parents[row] = parent
        if parent in self._sums:
            sums, questions = self._sums[parent]
            members = float(self._mirror.members[row])
            self._sums[parent] = sums + members * self._directed[column], questions + members

    def _topic(self, votes: Mapping[Node, float]) -> Node | None:
        """The topic of most of the votes for intents."""
        above: dict[Node, float] = {}
        for intent, weight in votes.items():
            topic = self._topics.get(intent)
            if topic is not None:
                above[topic] = above.get(topic, 0.0) + weight
        return next(iter(_ranked(above)), None)

    def _is_near(self, intent: Node, column: int) -> bool:
        """True if the new leaf is near to all that is in the intent, or to what people do not keep there."""
        if intent not in self._sums:
            self._sums[intent] = self._sums_of(self._rows[intent])
        sums, questions = self._sums[intent]
        asked = least_mean_cosine(sums[0], float(questions[0]), self._least_mean_cosine)
        return bool((mean_of(sums @ self._directed[column], questions) >= asked).any())

    def _sums_of(self, rows: Sequence[int]) -> tuple[Floats, Floats]:
        members = self._mirror.members[rows].astype(np.float64)
        is_kept = np.isin(self._mirror.ids[rows], self._kept)
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
