"""Online clustering the plain way: one question at a time, in float64, straight from the formulas of DESIGN."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from questream.clustering.rules import MEAN_PRIOR_QUESTIONS, Rules

Floats = NDArray[np.float64]


@dataclass
class Cluster:
    id: int
    centroid_members: list[Floats]
    size: int


@dataclass
class Answer:
    cluster_id: int
    created: bool
    similarity: float
    runner_up: tuple[int, float] | None
    size: int


class Reference:
    def __init__(self, rules: Rules, dimension: int) -> None:
        self.rules = rules
        self.clusters: list[Cluster] = []
        self.mean_members: list[Floats] = []
        self.dimension = dimension
        self.next_id = 1
        self.moved: set[int] = set()
        # How close any decision came to going the other way: equality is only meaningful away from a tie.
        self.closest_call = np.inf

    def mean(self) -> Floats:
        if not self.mean_members:
            return np.zeros(self.dimension)
        total: Floats = np.sum(self.mean_members, axis=0)
        return np.asarray(total / (len(self.mean_members) + MEAN_PRIOR_QUESTIONS))

    def row(self, cluster: Cluster) -> Floats:
        m = self.mean()
        s = np.mean(cluster.centroid_members, axis=0)
        if self.rules.linkage in ("adaptive", "average"):
            weight = np.sqrt(np.mean([np.sum((x - m) ** 2) for x in cluster.centroid_members]))
        else:
            weight = np.linalg.norm(s - m)
        return np.asarray((s - m) / weight)

    def score(self, question: Floats, cluster: Cluster) -> float:
        m = self.mean()
        q = (question - m) / np.linalg.norm(question - m)
        row = self.row(cluster)
        if self.rules.linkage == "adaptive":
            return float(1 - np.sum((q - row) ** 2) / 2)
        return float(q @ row)

    def pair_score(self, one: Cluster, other: Cluster) -> float:
        """For adaptive linkage the mean of what the members of each score against the other, up to their lengths."""
        a, b = self.row(one), self.row(other)
        if self.rules.linkage == "adaptive":
            return float(a @ b + (1 - a @ a) / 4 + (1 - b @ b) / 4)
        return float(a @ b)

    def scores(self, question: Floats) -> list[tuple[float, Cluster]]:
        scored = [(self.score(question, cluster), cluster) for cluster in self.clusters]
        return sorted(scored, key=lambda pair: -pair[0])

    def assign(self, question: Floats) -> Answer:
        scored = self.scores(question)
        for (better, _), (worse, _) in pairwise(scored[:3]):
            self.closest_call = min(self.closest_call, better - worse)
        if scored:
            self.closest_call = min(self.closest_call, abs(scored[0][0] - self.rules.threshold))
        if scored and scored[0][0] >= self.rules.threshold:
            similarity, cluster = scored[0]
            created = False
            others = scored[1:]
            cluster.size += 1
            if len(cluster.centroid_members) < self.rules.learning_members:
                cluster.centroid_members.append(question)
                self.moved.add(cluster.id)
        else:
            similarity, created, others = 1.0, True, scored
            cluster = Cluster(self.next_id, [question], 1)
            self.next_id += 1
            self.clusters.append(cluster)
        if len(self.mean_members) < self.rules.learning_questions:
            self.mean_members.append(question)
        runner_up = (others[0][1].id, others[0][0]) if others else None
        return Answer(cluster.id, created, similarity, runner_up, cluster.size)

    def merge(self) -> list[tuple[int, int]]:
        """(survivor, loser), best pair first, for the clusters that moved since the last call."""
        merges = []
        while pair := self.best_pair():
            survivor, loser = sorted(pair, key=lambda cluster: cluster.id)
            survivor.centroid_members += loser.centroid_members
            survivor.size += loser.size
            self.clusters.remove(loser)
            self.moved.discard(loser.id)
            self.moved.add(survivor.id)
            merges.append((survivor.id, loser.id))
        self.moved.clear()
        return merges

    def best_pair(self) -> tuple[Cluster, Cluster] | None:
        pairs = [
            (self.pair_score(one, other), one, other)
            for one in self.clusters
            for other in self.clusters
            if one.id in self.moved and one is not other and (other.id not in self.moved or one.id < other.id)
        ]
        pairs.sort(key=lambda pair: -pair[0])
        for (better, *_), (worse, *_) in pairwise(pairs[:2]):
            if better >= self.rules.merge_threshold - 1e-3:
                self.closest_call = min(self.closest_call, better - worse)
        if pairs:
            self.closest_call = min(self.closest_call, abs(pairs[0][0] - self.rules.merge_threshold))
        if pairs and pairs[0][0] >= self.rules.merge_threshold:
            return pairs[0][1], pairs[0][2]
        return None
