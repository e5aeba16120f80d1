"""The possible centroids of older clusters and of the mean when a question opened a cluster.

A batch is decided one question after another, so a founder was scored against what the questions before it had made of
the older clusters and of the mean. Of a batch, whose decisions bear one time, the order is known within a partition (by
offset) and within a cluster (by size); the order across partitions is not known.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from tests.kit.checker.published import Decision, Run
from tests.kit.checker.rules import Floats, Rules
from tests.kit.checker.rulings import TurnedAway
from tests.kit.checker.scores import Centroid

# Each other partition of a batch is taken to have come so far before the founder.
_SHARES = (0.0, 0.5, 1.0)
_MOST_COMBINATIONS = 243


class Openings:
    """The batches of one namespace by the time that their decisions bear."""

    def __init__(self, run: Run, namespace: str, decisions: Iterable[Decision], rules: Rules) -> None:
        assert rules.embed is not None
        self._run = run
        self._embed: Callable[[str], NDArray[np.float32]] = rules.embed
        self._rules = rules
        self.turned_away = TurnedAway(run, namespace, rules)
        self._batches: dict[str, list[Decision]] = defaultdict(list)
        for decision in decisions:
            if decision.place in run.asked:
                self._batches[decision.value["decided_at"]].append(decision)

    def batch(self, founder: Decision) -> Sequence[Decision]:
        """The decisions that were made together with a founder's, by partition and offset."""
        return self._batches[founder.value["decided_at"]]

    def vector(self, decision: Decision) -> Floats:
        """The unit vector (d,) of a question."""
        return np.asarray(self._embed(self._run.text(decision.place)), np.float64)

    def joined(self, founder: Decision, number: int) -> list[Decision]:
        """The questions of the founder's batch that got a cluster's id, in the order in which they got it."""
        return sorted((d for d in self.batch(founder) if d.number == number), key=lambda d: d.size)

    def opened_together(self, founder: Decision, number: int) -> bool:
        """True if a cluster was opened in the founder's batch."""
        return any(d.number == number and d.outcome == "created" for d in self.batch(founder))

    def centroids(self, founder: Decision, number: int, before: Centroid | None) -> Iterator[Centroid]:
        """The possible centroids of an older cluster that had this one before the batch, or was opened in it.

        None of the batch, or its first, its first two, ...: as many as leave the founder its place in its partition.
        """
        joined = self.joined(founder, number)
        came = [d.place[0] == founder.place[0] and d.place < founder.place for d in joined]
        later = [d.place[0] == founder.place[0] and d.place > founder.place for d in joined]
        least = max((at + 1 for at, before_founder in enumerate(came) if before_founder), default=0)
        most = min((at for at, behind_founder in enumerate(later) if behind_founder), default=len(joined))
        if least > most:
            # What was counted anew after a loss bears sizes that show no order.
            least, most = 0, len(joined)
        known = before or Centroid(0, np.zeros_like(self.vector(founder)))
        room = max(0, self._rules.centroid_members - known.members)
        vectors = [self.vector(d) for d in joined[:most]]
        for count in range(least, most + 1):
            centroid = known.plus(vectors[: min(count, room)])
            if centroid.members:
                yield centroid

    def means(self, founder: Decision, before: Centroid) -> list[Centroid]:
        """The possible means from this one before the batch."""
        room = self._rules.mean_questions - before.members
        if room <= 0:
            return [before]
        partitions: Mapping[int, list[Decision]] = _by_partition(self.batch(founder))
        own = [self.vector(d) for d in partitions[founder.place[0]] if d.place < founder.place]
        others = [[self.vector(d) for d in of_one] for p, of_one in partitions.items() if p != founder.place[0]]
        shares = _SHARES if len(_SHARES) ** len(others) <= _MOST_COMBINATIONS else (0.0, 1.0)
        means = []
        for taken in product(shares, repeat=len(others)):
            came = zip(taken, others, strict=True)
            learned = [v for share, of_one in came for v in of_one[: round(share * len(of_one))]]
            means.append(before.plus([*own, *learned][:room]))
            if own and len(own) + len(learned) > room:
                # Not all of them were learned: those of the other partitions, where they came first.
                means.append(before.plus([*learned, *own][:room]))
        return means

    def mean_before(self, founder: Decision, after: Centroid) -> Centroid | None:
        """The mean before the batch from this one after it; None if that is unknown."""
        batch = self.batch(founder)
        learned = after.members - len(batch)
        if after.members >= self._rules.mean_questions or learned < 0:
            return None
        return Centroid(learned, after.vector_sum - np.sum([self.vector(d) for d in batch], axis=0))


def _by_partition(decisions: Iterable[Decision]) -> dict[int, list[Decision]]:
    found: dict[int, list[Decision]] = defaultdict(list)
    for decision in sorted(decisions, key=lambda d: d.place):
        found[decision.place[0]].append(decision)
    return found
