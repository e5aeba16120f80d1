"""The levels above the leaves of one mirror: found anew from time to time, and followed in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from questream.clustering.level_places import place
from questream.clustering.levels import Leaves, LevelRules, Levels, Node, leaf, regroup
from questream.clustering.mirror import Mirror

# A run costs what all leaves cost: of so many new questions, and of so large a share of all, the levels may change.
_NEW_QUESTIONS = 64
_NEW_SHARE = 0.2


class Grouping:
    """The intent and topic of each leaf; for one thread at a time.

    Between two runs a new leaf falls where its neighbours are, and what a merge makes is where the survivor was.
    """

    def __init__(self, rules: LevelRules) -> None:
        self.rules = rules
        self._parents: dict[Node, Node] = {}
        self._levels = Levels(self._parents)
        self._questions = 0

    @property
    def levels(self) -> Levels:
        """The present levels."""
        return self._levels

    def path(self, cluster_id: int) -> tuple[Node, ...]:
        """A leaf with its intent and its topic."""
        return self._levels.path(cluster_id)

    def add(self, mirror: Mirror, created: Sequence[int]) -> None:
        """Leaves that were opened since the last run."""
        for cluster_id, parent in place(mirror, self._levels, self.rules, created).items():
            self._parents[leaf(cluster_id)] = parent

    def merge(self, merged: Iterable[tuple[int, int]]) -> None:
        """Leaves became one, each pair (survivor, loser); one that was alone comes to the place of the other."""
        for survivor, loser in merged:
            parent = self._parents.pop(leaf(loser), None)
            if parent is not None:
                self._parents.setdefault(leaf(survivor), parent)

    def is_due(self, questions: int) -> bool:
        """True if the levels should be found anew, at so many questions since the beginning."""
        return questions >= self._questions + max(_NEW_QUESTIONS, _NEW_SHARE * self._questions)

    def run(self, leaves: Leaves, questions: int) -> Mapping[Node, Node | None]:
        """Find the levels anew at so many questions; returns the communities that are no more, as `Regrouped.ended`."""
        found = regroup(leaves, self._levels, self.rules)
        self._parents = dict(found.levels.parents)
        self._levels = Levels(self._parents, found.levels.next_numbers)
        self._questions = questions
        return found.ended
