"""Intents and topics of many clusters, in columns, so that a page of them costs no more than it shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from questream.clustering.levels import LEVEL_NAMES, Levels, Node, leaf
from questream.clustering.stored_levels import StoredLevels
from questream.domain import UNNAMED, ClusterState, Naming
from questream.errors import QuestreamError
from questream.tools.sorting import Level

T = TypeVar("T")
Numbers = NDArray[np.int64]
_NEVER = 2**62
# So that the sum of a million fits into 64 bits.
LARGEST_SIZE = 2**40
_LEVELS = (Level.INTENT, Level.TOPIC)


class NoSuchCommunity(QuestreamError):
    """A namespace has no intent or topic of that id, or no longer."""


class Lazy(Sequence[T]):
    """Things that are made when they are looked at, from their places in a column."""

    def __init__(self, places: Numbers, make: Callable[[int], T]) -> None:
        self._places = places
        self._make = make

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[T]: ...
    def __getitem__(self, at: int | slice) -> T | Sequence[T]:
        if isinstance(at, slice):
            return Lazy(self._places[at], self._make)
        return self._make(int(self._places[at]))


@dataclass(frozen=True, slots=True)
class Clusters:
    """Live clusters in rows, with their ids, sizes and labels in columns, all (n,).

    A size is 2^40 at most; equal labels have equal numbers.
    """

    states: Sequence[ClusterState]
    ids: Numbers
    sizes: Numbers
    labels: Numbers

    @classmethod
    def of(cls, states: Iterable[ClusterState]) -> Clusters:
        """The columns of these."""
        rows, numbers = list(states), {"": 0}
        labels = [numbers.setdefault(state.label or "", len(numbers)) for state in rows]
        sizes = [min(state.size, LARGEST_SIZE) for state in rows]
        ids = [state.cluster_id for state in rows]
        return cls(rows, *(np.array(column, np.int64) for column in (ids, sizes, labels)))


@dataclass(frozen=True, slots=True)
class Places:
    """The intents and topics of clusters: by ids in ascending order, the numbers of intent and topic of each, all (n,).

    `nodes` are the intents and the topics by these numbers; one that is alone on a level is the node of the level below
    there, too. `numbers_of` are the numbers by these nodes.
    """

    ids: Numbers
    numbers: tuple[Numbers, Numbers]
    nodes: tuple[list[Node], list[Node]]
    numbers_of: tuple[dict[Node, int], dict[Node, int]]

    @classmethod
    def of(cls, levels: Levels) -> Places:
        """The places of all clusters that the levels know."""
        numbers_of: tuple[dict[Node, int], dict[Node, int]] = ({}, {})
        # The clusters of one intent have one path above it.
        of_intent: dict[Node, tuple[int, ...]] = {}
        rows = []
        for node, parent in levels.parents.items():
            if node.level:
                continue
            found = of_intent.get(parent)
            if found is None:
                path = levels.path(node.number)
                intent, topic = (
                    known.setdefault(at, len(known)) for known, at in zip(numbers_of, path[1:], strict=True)
                )
                found = intent, topic
                if parent.level == 1:
                    of_intent[parent] = found
            rows.append((node.number, *found))
        table = np.array(sorted(rows), np.int64).reshape(len(rows), 3)
        ids, intents, topics = table.T.copy()
        return cls(ids, (intents, topics), (list(numbers_of[0]), list(numbers_of[1])), numbers_of)

    def with_new(self, placed: Mapping[int, Node], levels: Levels) -> Places:
        """The same with clusters that are new since, each in the intent or the topic that it is placed in."""
        paths = {}
        for cluster_id, into in placed.items():
            intent = into if into.level == 1 else leaf(cluster_id)
            topic = levels.parents.get(into, into) if into.level == 1 else into
            paths[cluster_id] = (leaf(cluster_id), intent, topic)
        return self._with(paths) if paths else self

    def rows(self, ids: Numbers) -> tuple[Numbers, NDArray[np.bool_]]:
        """The positions of these clusters in `ids`, and a mask of those that are there, both (m,)."""
        if not len(self.ids):
            return np.zeros(len(ids), np.int64), np.zeros(len(ids), bool)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return at, self.ids[at] == ids

    def _with(self, paths: Mapping[int, tuple[Node, ...]]) -> Places:
        numbers_of = dict(self.numbers_of[0]), dict(self.numbers_of[1])
        added = np.array(
            [
                [known.setdefault(node, len(known)) for known, node in zip(numbers_of, path[1:], strict=True)]
                for path in paths.values()
            ],
            np.int64,
        ).reshape(len(paths), 2)
        ids = np.concatenate([self.ids, np.fromiter(paths, np.int64, len(paths))])
        order = np.argsort(ids, kind="stable")
        intents, topics = (np.concatenate([self.numbers[at], added[:, at]])[order] for at in (0, 1))
        return Places(ids[order], (intents, topics), (list(numbers_of[0]), list(numbers_of[1])), numbers_of)


@dataclass(frozen=True, slots=True)
class Community:
    """An intent or a topic with its live clusters, the largest first; a cluster alone on a level has its own node.

    `within` is the topic of an intent, None of a topic; `parts` are the intents of a topic, the largest first. `ids`
    and `labels` are those of its clusters, a label once, `part_nodes` those of its parts. `naming` is the label and
    route that people gave it, `inherited` that of the topic of an intent.
    """

    node: Node
    level: Level
    clusters: Sequence[ClusterState]
    ids: list[int]
    size: int
    labels: list[str]
    within: Node | None = None
    parts: Sequence[Community] = ()
    part_nodes: Sequence[Node] = ()
    naming: Naming = UNNAMED
    inherited: Naming = UNNAMED

    @property
    def label(self) -> str | None:
        """Its own label, or else that of its topic."""
        return self.naming[0] or self.inherited[0]

    @property
    def route(self) -> str | None:
        """As `label`."""
        return self.naming[1] or self.inherited[1]

    @property
    def title(self) -> str | None:
        """The label that people gave it, which is its display name; without one that of its largest cluster is."""
        return self.naming[0]


@dataclass(frozen=True, slots=True)
class _Column:
    """A level: the number of each cluster's community (n,), and by these numbers their sizes and oldest clusters."""

    number_of: Numbers
    sizes: Numbers
    oldest: Numbers

    @classmethod
    def of(cls, number_of: Numbers, clusters: Clusters) -> _Column:
        count = int(number_of.max(initial=-1)) + 1
        sizes, oldest = np.zeros(count, np.int64), np.full(count, _NEVER, np.int64)
        np.add.at(sizes, number_of, clusters.sizes)
        np.minimum.at(oldest, number_of, clusters.ids)
        return cls(number_of, sizes, oldest)

    def __contains__(self, number: int) -> bool:
        """True if it has a cluster."""
        return bool(number < len(self.oldest) and self.oldest[number] < _NEVER)

    def first(self, numbers: Numbers) -> Numbers:
        """These numbers, each once, the largest first."""
        there = np.zeros(len(self.sizes), bool)
        there[numbers] = True
        found = np.flatnonzero(there)
        return found[np.lexsort((self.oldest[found], -self.sizes[found]))]


class Communities:
    """The intents and topics of clusters, the largest first, and of equal ones that of the oldest cluster."""

    def __init__(self, stored: StoredLevels, clusters: Clusters, places: Places) -> None:
        """`places` has clusters that are new since `stored`, as far as they are in one."""
        self._stored = stored
        self._clusters = clusters
        self._places = places
        self._columns = {level: _Column.of(self._numbers(at), clusters) for at, level in enumerate(_LEVELS)}

    def count(self, level: Level) -> int:
        """The number of communities."""
        return int(np.count_nonzero(self._columns[level].oldest < _NEVER))

    def of(self, level: Level) -> Sequence[Community]:
        """The communities of a level, the largest first, each built when it is accessed."""
        column = self._columns[level]
        return Lazy(column.first(column.number_of), lambda number: self._made(level, number))

    def get(self, node: Node) -> Community:
        """An intent or topic, or where most questions of one are that is no more. Raises NoSuchCommunity."""
        seen: set[Node] = set()
        at: Node | None = node
        while at is not None and at.level and at not in seen:
            seen.add(at)
            level = _LEVELS[at.level - 1]
            number = self._places.numbers_of[at.level - 1].get(at)
            if number is not None and number in self._columns[level]:
                return self._made(level, number)
            at = self._stored.ended.get(at)
        raise NoSuchCommunity(
            f"there is no {LEVEL_NAMES[node.level - 1]} {node}",
            "the list of intents and topics has those that are there",
        )

    def _numbers(self, level: int) -> Numbers:
        """Of each cluster the number of its community; one that is in none has a number of its own."""
        at, known = self._places.rows(self._clusters.ids)
        found = len(self._places.nodes[level]) + np.arange(len(at), dtype=np.int64)
        found[known] = self._places.numbers[level][at[known]]
        return found

    def _node(self, level: int, number: int) -> Node:
        nodes = self._places.nodes[level]
        return nodes[number] if number < len(nodes) else leaf(int(self._clusters.ids[number - len(nodes)]))

    def _made(self, level: Level, number: int, among: Numbers | None = None) -> Community:
        """The community of this number; `among` are the rows of the community around it, None for all rows."""
        clusters, number_of = self._clusters, self._columns[level].number_of
        rows = np.flatnonzero(number_of == number) if among is None else among[number_of[among] == number]
        rows = rows[np.lexsort((clusters.ids[rows], -clusters.sizes[rows]))]
        labelled = np.unique(clusters.labels[rows], return_index=True)[1]
        labels = sorted(filter(None, (clusters.states[row].label for row in rows[labelled].tolist())))
        intents, topics = (self._columns[one] for one in _LEVELS)
        node, topic = (self._node(at, int(one.number_of[rows[0]])) for at, one in enumerate((intents, topics)))
        parts = np.zeros(0, np.int64)
        if level is Level.TOPIC:
            node, parts = topic, intents.first(intents.number_of[rows])
        return Community(
            node,
            level,
            Lazy(rows, lambda row: clusters.states[row]),
            clusters.ids[rows].tolist(),
            int(self._columns[level].sizes[number]),
            labels,
            topic if level is Level.INTENT else None,
            Lazy(parts, lambda one: self._made(Level.INTENT, one, rows)),
            [self._node(0, one) for one in parts.tolist()],
            self._stored.naming_of(node),
            self._stored.naming_of(topic) if level is Level.INTENT else UNNAMED,
        )
