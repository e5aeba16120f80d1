"""What went wrong in a clustering: clusters that mix groups, groups that were split, questions that joined wrongly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from questream.domain import Matrix
from questream.lab.evaluation.agreement import Labels, falsely_joined

_LARGEST_PARTS = 4
_EXAMPLES = 2


@dataclass(frozen=True, slots=True)
class Part:
    """Questions that share a cluster and a gold group: the number of the other one, how many, and some of them."""

    of: int
    questions: int
    examples: list[int]


@dataclass(frozen=True, slots=True)
class Breakdown:
    """A cluster by gold groups, or a gold group by clusters: its largest parts first, `parts` in all."""

    of: int
    questions: int
    parts: int
    largest: list[Part]

    @property
    def rest(self) -> int:
        """How many questions are in parts that are not named."""
        return self.questions - sum(part.questions for part in self.largest)


@dataclass(frozen=True, slots=True)
class FalseJoin:
    """A question that joined a cluster without any of its group, the nearest one there before it, and their cosine."""

    question: int
    beside: int
    similarity: float


def largest(wholes: Labels, limit: int) -> list[int]:
    """The numbers of the `limit` largest clusters (or groups), single questions left out."""
    sizes = np.bincount(wholes)
    return [int(whole) for whole in np.argsort(-sizes, kind="stable")[:limit] if sizes[whole] > 1]


def most_broken(wholes: Labels, parts: Labels, limit: int) -> list[int]:
    """The numbers of the `limit` groups (or clusters) with most questions outside their largest part, if any are."""
    cells, shared = np.unique(np.stack([wholes, parts]), axis=1, return_counts=True)
    main = np.zeros(int(wholes.max()) + 1, np.int64)
    np.maximum.at(main, cells[0], shared)
    outside = np.bincount(wholes) - main
    return [int(whole) for whole in np.argsort(-outside, kind="stable")[:limit] if outside[whole] > 0]


def broken_down(wholes: Labels, parts: Labels, chosen: Sequence[int]) -> list[Breakdown]:
    """Each of the `chosen` clusters by gold groups, or of the chosen gold groups by clusters."""
    found = []
    for whole in chosen:
        members = np.flatnonzero(wholes == whole)
        numbers, sizes = np.unique(parts[members], return_counts=True)
        order = np.argsort(-sizes, kind="stable")[:_LARGEST_PARTS]
        shown = [
            Part(int(numbers[i]), int(sizes[i]), members[parts[members] == numbers[i]][:_EXAMPLES].tolist())
            for i in order
        ]
        found.append(Breakdown(whole, len(members), len(numbers), shown))
    return found


def worst_false_joins(published: Labels, gold: Labels, centred: Matrix, limit: int) -> list[FalseJoin]:
    """The false joins with the highest cosine between `centred` rows (n, d): where the model itself is surest."""
    members: dict[int, list[int]] = {}
    found = []
    false = falsely_joined(published, gold)
    for question, cluster in enumerate(published.tolist()):
        before = members.setdefault(cluster, [])
        if false[question]:
            cosines = centred[before] @ centred[question]
            best = int(np.argmax(cosines))
            found.append(FalseJoin(question, before[best], float(cosines[best])))
        before.append(question)
    return sorted(found, key=lambda join: -join.similarity)[:limit]
