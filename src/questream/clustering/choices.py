"""The assignment of a micro-batch: a choice for each question, and the changes of the clusters by them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from questream.clustering.may_merge import MayMerge
from questream.clustering.second_look.conflict import Reason
from questream.clustering.second_look.kept import Kept
from questream.domain import CheckedBy, RunnerUp


@dataclass(frozen=True, slots=True)
class Choice:
    """The choice for one question. `rank` counts the batch's questions in the same cluster, from 1.

    For a created cluster `similarity` is 1 (to itself) and the runner-up is the nearest that was not near enough. A
    question without a cluster has rank 0; the runner-up is the nearest cluster, if there is any, and `similarity` that
    to it, else -1.
    `checked_by` is what gave a near cluster a second look. Where it was passed over, `reason` says why, and it is the
    runner-up.
    """

    cluster_id: int | None
    similarity: float
    created: bool
    rank: int
    runner_up: RunnerUp | None
    checked_by: CheckedBy | None = None
    reason: Reason | None = None

    @property
    def is_unmatched(self) -> bool:
        """True if it is in no cluster."""
        return self.cluster_id is None

    @property
    def joins(self) -> bool:
        """True if it goes to a cluster that was there."""
        return not self.created and not self.is_unmatched


class Call(NamedTuple):
    """A question of the batch beside a cluster that it is near to: one that was there, or one that the batch opened.

    `cluster_id` is 0 for a cluster that the batch's question `founder` opened, whose id may still change.
    """

    question: int
    cluster_id: int
    founder: int | None = None


def strongest(looks: Iterable[CheckedBy | None]) -> CheckedBy | None:
    """The check of a choice that took several looks: the judge, where it was asked at all."""
    return max((look for look in looks if look), key=("features", "judge").index, default=None)


@dataclass(slots=True)
class Touched:
    """A cluster that the batch touches: who joined, what it keeps for a second look, and the centroid after it."""

    cluster_id: int
    expected_members: int
    kept: Kept = ()
    questions: list[int] = field(default_factory=list)
    learned: list[int] = field(default_factory=list)

    @property
    def created(self) -> bool:
        """True if the batch opened this cluster."""
        return self.expected_members == 0

    @property
    def members(self) -> int:
        """Centroid members after the batch."""
        return self.expected_members + len(self.learned)


@dataclass(frozen=True, slots=True)
class Plan:
    """The decisions for a batch against the mirror at one `seq`, and what they do to the clusters.

    `mean_learned` is how many of the batch's first questions the mean learns from; `may_merge` has the
    clusters that may merge with those that moved, where that is known.
    """

    choices: list[Choice]
    touched: dict[int, Touched]
    mean_learned: int
    may_merge: MayMerge | None

    @property
    def creates(self) -> bool:
        """True if any cluster is opened."""
        return any(choice.created for choice in self.choices)

    @property
    def moves_log(self) -> bool:
        """True if any centroid or the mean moves."""
        return bool(self.mean_learned) or any(touched.learned for touched in self.touched.values())

    @property
    def needs_head(self) -> bool:
        """True if it holds only while nobody else moves the log: what a question did not find may be there by now."""
        return self.moves_log or any(choice.is_unmatched for choice in self.choices)

    @property
    def moved(self) -> list[int]:
        """Clusters that existed for at least one question before they learned: those which may now be one with another.

        A cluster of one question was below the threshold of all others when it was opened.
        """
        return [t.cluster_id for t in self.touched.values() if t.learned and t.members > 1]


@dataclass(frozen=True, slots=True)
class Found:
    """The row that a question goes to, the next one to open it, None for no cluster; and the rest of its choice."""

    row: int | None
    similarity: float
    runner_up: RunnerUp | None
    checked_by: CheckedBy | None
    reason: Reason | None
