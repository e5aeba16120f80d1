"""Paths of decisions: the topic and the intent of each question's cluster, as the levels were last read."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from questream.clustering.level_places import PlacedLevels, place, place_new
from questream.clustering.levels import LevelRules, Node, leaf, parse_node
from questream.clustering.mirror import Mirror
from questream.clustering.stored_levels import Within
from questream.domain import Matrix
from questream.guarded import Guarded
from questream.store.protocol import LedgerRow, LevelsMark, StoredLevels

# Clusters that are new since the last run, of one namespace: with more, where they are is found again.
_MOST_PLACED = 50_000


class LevelSnapshots(Guarded):
    """The levels of namespaces in use, `most` at most, as last read from the store; safe from any thread.

    A namespace whose levels are asked for is one to read; so the first questions after a start have no path.
    """

    def __init__(self, most: int | None = None) -> None:
        super().__init__()
        self._most = most
        self._levels: dict[str, StoredLevels | None] = {}

    def of(self, namespace: str) -> StoredLevels | None:
        """The levels of a namespace, None where none were read yet or there are none."""
        with self._lock:
            found = self._levels[namespace] = self._levels.pop(namespace, None)
            if self._most is not None and len(self._levels) > self._most:
                del self._levels[next(iter(self._levels))]
            return found

    def outdated(self, marks: Mapping[str, LevelsMark]) -> list[str]:
        """The namespaces in use whose levels the store has in another version."""
        with self._lock:
            known = {name: 0 if levels is None else levels.version for name, levels in self._levels.items()}
        return [name for name, mark in marks.items() if known.get(name, mark.version) != mark.version]

    def note(self, namespace: str, levels: StoredLevels) -> None:
        """Take the levels of the store; a namespace that is no longer in use is forgotten."""
        with self._lock:
            if namespace in self._levels:
                self._levels[namespace] = levels if levels.version else None


class LevelsNow(NamedTuple):
    """The levels of a namespace in the store, and these with the clusters that were placed since."""

    stored: StoredLevels
    placed: PlacedLevels

    @classmethod
    def of(cls, stored: StoredLevels) -> LevelsNow:
        """Those in the store alone; it costs what all clusters cost."""
        return cls(stored, PlacedLevels(stored.levels))


def clusters_within(
    levels: LevelsNow, mirror: Mirror, cluster_ids: Collection[int], rules: LevelRules
) -> dict[int, Within]:
    """The paths of clusters, as a decision would have them now; a new cluster has to be in the mirror.

    Those that have no path are left out, as all are before levels were found.
    """
    stored, placed = levels
    if not stored.version:
        return {}
    place(mirror, placed, rules, sorted(i for i in cluster_ids if not stored.knows(i)))
    paths = {i: _path(stored, placed, i) for i in cluster_ids}
    return {i: stored.within(path) for i, path in paths.items() if path is not None}


def new_cluster_within(levels: LevelsNow, mirror: Mirror, vector: Matrix, rules: LevelRules) -> Within | None:
    """The path of the cluster that a question with this unit vector (1, d) would open; None where near to none."""
    stored, placed = levels
    if not stored.version:
        return None
    number = max(mirror.next_id, stored.opened + 1)
    (parent,) = place_new(mirror, placed, rules, vector)
    return None if parent is None else stored.within(_path_in(placed, number, parent))


class Paths:
    """Gives rows of the ledger their paths; it belongs to the thread that decides."""

    def __init__(self, snapshots: LevelSnapshots, rules: LevelRules | None = None) -> None:
        self._snapshots = snapshots
        self._rules = rules or LevelRules()
        # By namespace: the levels in force.
        self._placed: dict[str, LevelsNow] = {}

    def forget(self, namespace: str) -> None:
        """Forget a namespace until a question comes to it."""
        self._placed.pop(namespace, None)

    def with_paths(self, namespace: str, mirror: Mirror, rows: Sequence[LedgerRow], vectors: Matrix) -> list[LedgerRow]:
        """The rows of a batch with their paths; `vectors` (n, d) are of its questions, of length 1.

        A cluster that is new since the levels were found is where the clusters nearest to it are, those of the same
        batch left out. It has no path where none is near, nor has any where the namespace has no levels.
        """
        stored = self._snapshots.of(namespace)
        if stored is None:
            self.forget(namespace)
            return list(rows)
        placed = self._with_new(namespace, stored)
        clusters = {row.cluster_id for row in rows if row.cluster_id is not None}
        opened = {row.cluster_id: at for at, row in enumerate(rows) if row.created and row.cluster_id is not None}
        place(mirror, placed, self._rules, sorted(i for i in clusters if not stored.knows(i)))
        # Of this plan alone: another may open other clusters under these numbers.
        paths = {i: _path(stored, placed, i) for i in clusters - opened.keys()}
        if opened:
            parents = place_new(mirror, placed, self._rules, vectors[list(opened.values())])
            for i, parent in zip(opened, parents, strict=True):
                paths[i] = None if parent is None else _path_in(placed, i, parent)
        return [_on_path(row, stored, None if row.cluster_id is None else paths[row.cluster_id]) for row in rows]

    def note_committed(self, namespace: str, rows: Sequence[LedgerRow]) -> None:
        """Rows that `with_paths` gave are in the ledger: the clusters that they open stay where these paths say."""
        _, placed = self._placed.get(namespace, (None, None))
        if placed is not None:
            for row in rows:
                if row.created and row.cluster_id is not None:
                    placed.add(row.cluster_id, _parent_in(row.path))

    def _with_new(self, namespace: str, stored: StoredLevels) -> PlacedLevels:
        """The levels of a namespace with the clusters that were found new since."""
        known, placed = self._placed.get(namespace, (None, None))
        if placed is None or known is not stored or len(placed.seen) > _MOST_PLACED:
            placed = PlacedLevels(stored.levels)
            self._placed[namespace] = LevelsNow(stored, placed)
        return placed


def _on_path(row: LedgerRow, stored: StoredLevels, path: tuple[Node, ...] | None) -> LedgerRow:
    """The row with its path, and with label and route of what its cluster is in."""
    if path is None:
        return row
    own, intent, topic = path
    return replace(row, path=(str(topic), str(intent), str(own)), inherited=stored.naming(path))


def _path(stored: StoredLevels, placed: PlacedLevels, cluster_id: int) -> tuple[Node, ...] | None:
    """The cluster, its intent and its topic; None for one that is new and near to none."""
    if stored.knows(cluster_id) or leaf(cluster_id) in placed.levels.parents:
        return placed.levels.path(cluster_id)
    return None


def _parent_in(path: tuple[str, ...] | None) -> Node | None:
    """The intent or topic that a cluster of this path is in; None for one that is alone."""
    above = [] if path is None else [node for node in map(parse_node, path) if node.level]
    return min(above, default=None)


def _path_in(placed: PlacedLevels, cluster_id: int, parent: Node) -> tuple[Node, ...]:
    """The path of a cluster that would be in this intent or topic."""
    # A cluster may be alone among intents and be in a topic: then it is its own intent.
    intent = parent if parent.level == 1 else leaf(cluster_id)
    return leaf(cluster_id), intent, placed.levels.parents.get(parent, parent)
