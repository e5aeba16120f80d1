"""Errors of a clustering: clusters that mix groups, groups that were split, questions that joined wrongly.

Clusters that look like two are found without the groups, as for people who may split one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from questream.clustering.mirror import MeanMoved, Mirror
from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.lab.evaluation.agreement import Labels, falsely_joined
from questream.operations.mixed_clusters import FEWEST_QUESTIONS, looks_like_two, smaller_group

_LARGEST_PARTS = 4
_EXAMPLES = 2
# All pairs of so many questions of a cluster are compared; a larger one is looked at by these, evenly drawn.
_MOST_LOOKED_AT = 1000


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
        """The number of questions in parts that are not named."""
        return self.questions - sum(part.questions for part in self.largest)


@dataclass(frozen=True, slots=True)
class FalseJoin:
    """A question that joined a cluster without any of its group, the nearest one there before it, and their cosine."""

    question: int
    beside: int
    similarity: float


@dataclass(frozen=True, slots=True)
class MixedCluster:
    """A cluster that looks like two, how many questions it has, and which of them are of either part."""

    cluster: int
    questions: int
    larger: list[int]
    smaller: list[int]


def mixed_clusters(clusters: Labels, vectors: Matrix, rules: Rules) -> list[MixedCluster]:
    """The clusters of unit vectors (n, d) that fall into two groups which nothing would merge, the largest first."""
    mirror = Mirror(vectors.shape[1])
    learned = vectors[: rules.mean_questions]
    mirror.apply([MeanMoved(len(learned), learned.sum(axis=0))])
    sizes = np.bincount(clusters)
    found = []
    for cluster in np.argsort(-sizes, kind="stable")[: int(np.sum(sizes >= FEWEST_QUESTIONS))].tolist():
        members = np.flatnonzero(clusters == cluster)
        looked_at = members[:: -(-len(members) // _MOST_LOOKED_AT)]
        of_cluster = vectors[looked_at]
        apart = smaller_group(of_cluster)
        if looks_like_two(mirror, rules, (of_cluster[~apart], of_cluster[apart])):
            parts = (looked_at[~apart].tolist(), looked_at[apart].tolist())
            found.append(MixedCluster(int(cluster), len(members), *parts))
    return found


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
