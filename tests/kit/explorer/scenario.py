"""What the model runs on: a few questions as unit vectors, and how many faults may strike."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

import numpy as np

from questream.clustering.rules import Rules
from questream.domain import Matrix, Question, Record, Source, Vector
from questream.store.protocol import Identity

NAMESPACE, INPUT = "default", "input"


# Its texts are names of vectors, not questions.
_RULES = Rules(threshold=0.7, merge_threshold=0.6, similarity="cosine", judge_features=False)


@dataclass(frozen=True)
class Faults:
    """How many of each may strike in one run. A worker is `hasty` that sweeps while others are still at work."""

    crashes: int = 0
    rebalances: int = 0
    resets: int = 0
    expiries: int = 0
    hasty_sweeps: int = 0
    losses: int = 0
    # Clusters that an operator gives a label and a route.
    namings: int = 0
    # How many of its last writes a store may lose that does not lose all.
    lost_writes: int = 3

    @functools.cached_property
    def meaning(self) -> bytes:
        """Equal for equal faults."""
        return repr(self).encode()

    def less(self, kind: str) -> Faults:
        """One of this kind has struck."""
        return replace(self, **{kind: getattr(self, kind) - 1})


@dataclass(frozen=True)
class Scenario:
    """Questions as directions in the plane (degrees), by partition and offset, taken in batches of `batch_questions`.

    `fine` makes every call a step; else what a worker reads, it reads in one step with what came before.
    `topic_is_compared` asks that the cluster topic end as the store is.
    `interruptions` bounds how often a thread that could go on has to wait for another to come first.
    `together` takes a batch from all partitions of a worker, and lets a second one wait behind the batch that is being
    decided; `owners` are those of the partitions at the beginning, by turns where there are none.
    """

    angles: tuple[tuple[float, ...], ...]
    faults: Faults = Faults()
    batch_questions: int = 1
    fine: bool = False
    interruptions: float = math.inf
    topic_is_compared: bool = False
    workers: tuple[str, ...] = ("ada", "bob")
    rules: Rules = _RULES
    together: bool = False
    owners: tuple[str, ...] = ()

    @functools.cached_property
    def ends(self) -> tuple[int, ...]:
        """The end offset of each partition."""
        return tuple(map(len, self.angles))

    @property
    def identity(self) -> Identity:
        """What the namespace is built with."""
        return Identity("model", "1", 2, self.rules.similarity, self.rules.linkage, self.rules.threshold)

    def vector(self, partition: int, offset: int) -> Vector:
        """The unit vector (2,) of a question."""
        radians = np.deg2rad(self.angles[partition][offset])
        return np.array([np.cos(radians), np.sin(radians)], np.float32)

    def vectors(self, places: list[tuple[int, int]]) -> Matrix:
        """The unit vectors (n, 2) of the questions at these places."""
        return np.array([self.vector(*place) for place in places], np.float32).reshape(-1, 2)

    def question(self, partition: int, offset: int) -> Question:
        """The question at a place."""
        record = Record(Source(INPUT, partition, offset, 1000 + offset), None, b"")
        return Question(f"{partition}/{offset}", f"question {partition}/{offset}", NAMESPACE, record)


# One centroid pulls the other into it: 0 and 58 degrees are two clusters until 30 degrees joins the first.
MERGE = Scenario(angles=((0.0, 30.0), (58.0,)))
# Two workers see the same new question at the same moment.
TWINS = Scenario(angles=((0.0, 90.0), (2.0,)))
# Two workers decide in one cluster, and publish its states in either order.
SAME = Scenario(angles=((0.0,), (2.0,)))
# One more joins the second cluster while it is merged away.
MERGE_AND_JOIN = Scenario(angles=((0.0, 30.0), (58.0, 60.0)), interruptions=2)
# Batches of two partitions: one of these goes to another worker, who decides, publishes and forgets its questions.
TWO_PARTITIONS = Scenario(angles=((0.0, 2.0), (90.0, 180.0)), together=True, owners=("ada", "ada"))
