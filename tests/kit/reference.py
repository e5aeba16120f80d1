"""Online clustering the plain way: one question at a time, in float64, straight from the formulas of DESIGN."""

from __future__ import annotations

import math
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
    threshold: float | None = None


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
        # Lists of members only grow: by their lengths it is known whether a result still holds.
        self._mean: tuple[int, Floats] = (0, np.zeros(dimension))
        self._rows: dict[tuple[tuple[int, int], ...], Floats] = {}

    def mean(self) -> Floats:
        """What is subtracted."""
        return self.stream_mean() if self.rules.similarity == "centred" else np.zeros(self.dimension)

    def stream_mean(self) -> Floats:
        count = len(self.mean_members)
        if self._mean[0] != count:
            total: Floats = np.sum(self.mean_members, axis=0)
            self._mean = count, np.asarray(total / (count + MEAN_PRIOR_QUESTIONS))
            self._rows.clear()
        return self._mean[1]

    def row(self, *clusters: Cluster) -> Floats:
        """Of the members of all of them."""
        m = self.mean()
        key = tuple((cluster.id, len(cluster.centroid_members)) for cluster in clusters)
        if key not in self._rows:
            members = np.array([member for cluster in clusters for member in cluster.centroid_members])
            s = np.mean(members, axis=0)
            if self.rules.linkage in ("adaptive", "average"):
                weight = np.sqrt(np.mean(np.sum((members - m) ** 2, axis=1)))
            else:
                weight = np.linalg.norm(s - m)
            self._rows[key] = np.asarray((s - m) / weight)
        return self._rows[key]

    def score(self, question: Floats, cluster: Cluster) -> float:
        m = self.mean()
        q = (question - m) / np.linalg.norm(question - m)
        row = self.row(cluster)
        return float(q @ row + self.leeway(row, cluster))

    def threshold(self, cluster: Cluster) -> float:
        return self.rules.threshold if cluster.threshold is None else cluster.threshold

    def has_own_thresholds(self) -> bool:
        return any(cluster.threshold is not None for cluster in self.clusters)

    def merge_threshold(self, *clusters: Cluster) -> float:
        return max([self.rules.merge_threshold, *(one.threshold for one in clusters if one.threshold is not None)])

    def leeway(self, row: Floats, cluster: Cluster) -> float:
        """In adaptive linkage as much as makes the score 1 - |q - row|^2 / 2, within two bounds; else the second alone.

        A cluster counts as no looser than members at the threshold. And with the mean subtracted, a question has to the
        cluster's direction a cosine of the mean's length at least, or of the threshold. On the plain cosine half as
        much again as the threshold is asked for, a half at the most, of a question like the mean of questions.
        """
        if self.rules.linkage not in ("adaptive", "average"):
            return 0.0
        threshold, cohesion = max(self.threshold(cluster), 0.0), float(row @ row)
        m = self.stream_mean()
        length = float(np.linalg.norm(m))
        if self.rules.similarity == "centred":
            least = min(threshold, length) * math.sqrt(cohesion)
        else:
            asked = min(1.5 * threshold, 0.5, length)
            least = float(row @ m) + asked * math.sqrt(1.0 - length**2) * float(np.linalg.norm(row - m))
        leeway = (1 - max(cohesion, threshold**2)) / 2 if self.rules.linkage == "adaptive" else 0.0
        return min(leeway, threshold - least)

    def pair_score(self, one: Cluster, other: Cluster) -> float:
        """The mean of what the members of each score against the other, up to their lengths."""
        a, b = self.row(one), self.row(other)
        return float(a @ b + self.leeway(a, one) / 2 + self.leeway(b, other) / 2)

    def makes_a_heap(self, one: Cluster, other: Cluster) -> bool:
        """True if both as one would be looser than the threshold asks, and than the larger of the two is."""
        if self.rules.linkage != "adaptive":
            return False
        largest = max(len(one.centroid_members), len(other.centroid_members))
        own = [
            float(np.sum(self.row(cluster) ** 2))
            for cluster in (one, other)
            if len(cluster.centroid_members) == largest
        ]
        needed = min(self.merge_threshold(one, other), *own)
        cohesion = float(np.sum(self.row(one, other) ** 2))
        if self.pair_score(one, other) >= self.merge_threshold(one, other) - 1e-3:
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
        threshold = self.threshold(cluster)
        score = max([score, *(one for one in pulls if one >= threshold)])
        for one in [*pulls, *bars]:
            self.closest_call = min(self.closest_call, abs(one - threshold))
        for one in bars:
            self.closest_call = min(self.closest_call, abs(one - score + HALF_PRECISION))
        turned_away = any(one >= max(score - HALF_PRECISION, threshold) for one in bars)
        return -np.inf if turned_away else score

    def takes_rejected(self, taker: Cluster, rejecter: Cluster) -> bool:
        scores = [self.score(one, taker) for one in rejecter.cannot]
        scores += [self.between(one, other) for one in rejecter.cannot for other in taker.must]
        for one in scores:
            self.closest_call = min(self.closest_call, abs(one - self.threshold(taker)))
        return any(one >= self.threshold(taker) for one in scores)

    def assign(self, question: Floats) -> Answer:
        scored = self.scores(question)
        cluster: Cluster | None
        for (better, _), (worse, _) in pairwise(scored[:3]):
            self.closest_call = min(self.closest_call, better - worse)
        for score, one in scored if self.has_own_thresholds() else scored[:1]:
            self.closest_call = min(self.closest_call, abs(score - self.threshold(one)))
        near = [pair for pair in scored if pair[0] >= self.threshold(pair[1])]
        for (better, _), (worse, _) in pairwise(near[:2]):
            self.closest_call = min(self.closest_call, better - worse)
        if near:
            similarity, found = near[0]
            created = False
            others = [pair for pair in scored if pair[1] is not found]
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
        if len(self.mean_members) < self.rules.mean_questions:
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
        for score, one, other in pairs if self.has_own_thresholds() else pairs[:1]:
            self.closest_call = min(self.closest_call, abs(score - self.merge_threshold(one, other)))
        pairs = [pair for pair in pairs if pair[0] >= self.merge_threshold(*pair[1:])]
        for (better, *_), (worse, *_) in pairwise(pairs[:2]):
            self.closest_call = min(self.closest_call, better - worse)
        return pairs[0][1:] if pairs else None
