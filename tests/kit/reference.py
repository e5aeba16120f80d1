"""Online clustering the plain way: one question at a time, in float64, straight from the formulas of DESIGN."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from questream.clustering.rules import MEAN_PRIOR_QUESTIONS, Rules

Floats = NDArray[np.float64]

# What an exemplar that is kept in half precision may score too little.
HALF_PRECISION = 1e-3


@dataclass
class Cluster:
    id: int
    centroid_members: list[Floats]
    size: int
    must: list[Floats] = field(default_factory=list)
    cannot: list[Floats] = field(default_factory=list)


@dataclass
class Answer:
    cluster_id: int | None
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
            return float(q @ row + self.leeway(float(row @ row)))
        return float(q @ row)

    def leeway(self, cohesion: float) -> float:
        """As much as makes the score 1 - |q - row|^2 / 2, but for a cluster looser than members at the threshold."""
        return (1 - max(cohesion, max(self.rules.threshold, 0) ** 2)) / 2

    def pair_score(self, one: Cluster, other: Cluster) -> float:
        """For adaptive linkage the mean of what the members of each score against the other, up to their lengths."""
        a, b = self.row(one), self.row(other)
        if self.rules.linkage == "adaptive":
            return float(a @ b + self.leeway(float(a @ a)) / 2 + self.leeway(float(b @ b)) / 2)
        return float(a @ b)

    def makes_a_heap(self, one: Cluster, other: Cluster) -> bool:
        """Whether both as one would be looser than the threshold asks, and than the larger of the two is."""
        if self.rules.linkage != "adaptive":
            return False
        both = Cluster(0, one.centroid_members + other.centroid_members, 0)
        largest = max(len(one.centroid_members), len(other.centroid_members))
        own = [
            float(np.sum(self.row(cluster) ** 2))
            for cluster in (one, other)
            if len(cluster.centroid_members) == largest
        ]
        needed = min(self.rules.merge_threshold, *own)
        cohesion = float(np.sum(self.row(both) ** 2))
        if self.pair_score(one, other) >= self.rules.merge_threshold - 1e-3:
            self.closest_call = min(self.closest_call, abs(cohesion - needed))
        return cohesion < needed

    def scores(self, question: Floats) -> list[tuple[float, Cluster]]:
        scored = [(self.bound_score(question, cluster), cluster) for cluster in self.clusters]
        return sorted([pair for pair in scored if pair[0] > -np.inf], key=lambda pair: -pair[0])

    def between(self, one: Floats, other: Floats) -> float:
        """What two single questions score."""
        m = self.mean()
        return float((one - m) @ (other - m) / (np.linalg.norm(one - m) * np.linalg.norm(other - m)))

    def bound_score(self, question: Floats, cluster: Cluster) -> float:
        """The score with what people decided; -inf where the question is turned away."""
        score = self.score(question, cluster)
        pulls = [self.between(question, exemplar) for exemplar in cluster.must]
        bars = [self.between(question, exemplar) for exemplar in cluster.cannot]
        score = max([score, *(one for one in pulls if one >= self.rules.threshold)])
        for one in [*pulls, *bars]:
            self.closest_call = min(self.closest_call, abs(one - self.rules.threshold))
        for one in bars:
            self.closest_call = min(self.closest_call, abs(one - score + HALF_PRECISION))
        turned_away = any(one >= max(score - HALF_PRECISION, self.rules.threshold) for one in bars)
        return -np.inf if turned_away else score

    def takes_rejected(self, taker: Cluster, rejecter: Cluster) -> bool:
        scores = [self.score(one, taker) for one in rejecter.cannot]
        scores += [self.between(one, other) for one in rejecter.cannot for other in taker.must]
        for one in scores:
            self.closest_call = min(self.closest_call, abs(one - self.rules.threshold))
        return any(one >= self.rules.threshold for one in scores)

    def assign(self, question: Floats) -> Answer:
        scored = self.scores(question)
        cluster: Cluster | None
        for (better, _), (worse, _) in pairwise(scored[:3]):
            self.closest_call = min(self.closest_call, better - worse)
        if scored:
            self.closest_call = min(self.closest_call, abs(scored[0][0] - self.rules.threshold))
        if scored and scored[0][0] >= self.rules.threshold:
            similarity, found = scored[0]
            created = False
            others = scored[1:]
            found.size += 1
            if len(found.centroid_members) < self.rules.learning_members:
                found.centroid_members.append(question)
                self.moved.add(found.id)
            cluster = found
        elif self.rules.mode == "known-only":
            similarity, created, others, cluster = scored[0][0] if scored else -1.0, False, scored, None
        else:
            similarity, created, others = 1.0, True, scored
            cluster = Cluster(self.next_id, [question], 1)
            self.next_id += 1
            self.clusters.append(cluster)
        if len(self.mean_members) < self.rules.learning_questions:
            self.mean_members.append(question)
        runner_up = (others[0][1].id, others[0][0]) if others else None
        if cluster is None:
            return Answer(None, False, similarity, runner_up, 0)
        return Answer(cluster.id, created, similarity, runner_up, cluster.size)

    def merge(self) -> list[tuple[int, int]]:
        """(survivor, loser), best pair first, for the clusters that moved since the last call."""
        merges = []
        while pair := self.best_pair():
            survivor, loser = sorted(pair, key=lambda cluster: cluster.id)
            survivor.centroid_members += loser.centroid_members
            survivor.size += loser.size
            survivor.must += loser.must
            survivor.cannot += loser.cannot
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
            if not self.makes_a_heap(one, other)
            if not self.takes_rejected(one, other) and not self.takes_rejected(other, one)
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
