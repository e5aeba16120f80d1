"""The levels above the leaves of one mirror: found anew from time to time, and followed in between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from questream.clustering.level_places import PlacedLevels, place
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
        self._placed = PlacedLevels(Levels())
        self._questions = 0

    @property
    def levels(self) -> Levels:
        """The present levels."""
        return self._placed.levels

    def path(self, cluster_id: int) -> tuple[Node, ...]:
        """A leaf with its intent and its topic."""
        return self.levels.path(cluster_id)

    def add(self, mirror: Mirror, created: Sequence[int]) -> None:
        """Leaves that were opened since the last run."""
        place(mirror, self._placed, self.rules, created)

    def merge(self, merged: Iterable[tuple[int, int]]) -> None:
        """Leaves became one, each pair (survivor, loser); one that was alone comes to the place of the other."""
        for survivor, loser in merged:
            parent = self._placed.remove(loser)
            if parent is not None and leaf(survivor) not in self.levels.parents:
                self._placed.add(survivor, parent)

    def is_due(self, questions: int) -> bool:
        """True if the levels should be found anew, at so many questions since the beginning."""
        return questions >= self._questions + max(_NEW_QUESTIONS, _NEW_SHARE * self._questions)

    def run(self, leaves: Leaves, questions: int) -> Mapping[Node, Node | None]:
        """Find the levels anew at so many questions; returns the communities that are no more, as `Regrouped.ended`."""
        found = regroup(leaves, self.levels, self.rules)
        self._placed = PlacedLevels(found.levels)
        self._questions = questions
        return found.ended
