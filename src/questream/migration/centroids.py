"""The clusters of a namespace in another model's space, under the ids that they have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from questream.clustering.merging import Merge, propose_merges
from questream.clustering.mirror import ClusterMoved, ClusterRemoved, MeanMoved, Mirror
from questream.clustering.nearest import Neighbour, nearest_clusters
from questream.clustering.rules import Rules
from questream.clustering.scores import ScoreTerms
from questream.domain import Matrix, Vector


class Centroids:
    """Raw sums by cluster, as a worker with this model would hold them had it taken the same decisions."""

    def __init__(self, dimension: int, rules: Rules) -> None:
        self._rules = rules
        self._mirror = Mirror(dimension)

    def __contains__(self, cluster_id: int) -> bool:
        return cluster_id in self._mirror.row_of

    def __len__(self) -> int:
        return self._mirror.count

    @property
    def mirror(self) -> Mirror:
        """The centroids as a worker's mirror has them."""
        return self._mirror

    def set_mean(self, vectors: Matrix, weights: Iterable[float] | None = None) -> None:
        """The stream's mean, of a sample of its questions (n, d), as if of `mean_questions` of them at most.

        With `weights` each vector represents so many questions.
        """
        stands_for = np.ones(len(vectors)) if weights is None else np.array(list(weights), np.float64)
        total = float(stands_for.sum())
        questions = min(round(total), self._rules.mean_questions)
        vector_sum = (stands_for @ vectors) * (questions / total) if total else np.zeros(self._mirror.dimension)
        self._mirror.apply([MeanMoved(questions, vector_sum.astype(np.float32))])

    def learn(self, cluster_id: int, vector: Vector) -> None:
        """A question (d,) joins a cluster, or opens it; one that has learned all it learns stays as it is."""
        members, vector_sum = self._raw_sum(cluster_id)
        if members < self._rules.learning_members:
            self._mirror.apply([ClusterMoved(cluster_id, members + 1, vector_sum + vector)])

    def learn_mean(self, vector: Vector) -> None:
        """A question (d,) more of the stream, as long as the mean is young."""
        questions = self._mirror.mean_questions
        if questions < self._rules.mean_questions:
            self._mirror.apply([MeanMoved(questions + 1, self._mirror.mean_sum + vector)])

    def follow(self, survivors: Mapping[int, int | None]) -> None:
        """Apply changes of clusters: the one that each was merged into, or None for one that is gone."""
        for cluster_id, survivor in survivors.items():
            if cluster_id not in self:
                continue
            members, vector_sum = self._raw_sum(cluster_id)
            self._mirror.apply([ClusterRemoved(cluster_id)])
            if survivor is not None:
                kept, its_sum = self._raw_sum(survivor)
                self._mirror.apply([ClusterMoved(survivor, kept + members, its_sum + vector_sum)])

    def nearest(self, vector: Vector) -> Neighbour | None:
        """The nearest cluster if it is near enough to join."""
        found = nearest_clusters(self._mirror, self._rules, vector, 1)
        return found[0] if found and found[0].similarity >= self._rules.threshold else None

    def merges(self) -> list[Merge]:
        """Which clusters would merge in this space, best pair first."""
        return propose_merges(self._mirror, self._mirror.ids.tolist(), self._rules)

    def loose(self) -> list[tuple[int, float]]:
        """Clusters that their members would not join on average, and the score of such a member, loosest first.

        Each of them holds questions that this model keeps apart.
        """
        products = ScoreTerms(self._mirror, self._rules, room=0)
        members = self._mirror.members
        dot_mean = self._mirror.dot_mean / products.mean_weight if products.centred else np.zeros(self._mirror.count)
        # The mean score of members is that of the cluster's own sum, each member's length taken as the mean one.
        centre = self._mirror.dot_self / members**2 - 2 * dot_mean / members + products.mean_norm_square
        length = np.maximum(1 - 2 * dot_mean / members + products.mean_norm_square, 1e-9)
        score = centre / length + products.leeway
        loose = np.flatnonzero((members > 1) & (score < self._rules.threshold))
        return sorted(((int(self._mirror.ids[row]), float(score[row])) for row in loose), key=lambda one: one[1])

    def _raw_sum(self, cluster_id: int) -> tuple[int, Vector]:
        if cluster_id in self:
            return self._mirror.member_count(cluster_id), self._mirror.vector_sum(cluster_id).copy()
        return 0, np.zeros(self._mirror.dimension, np.float32)
