"""Drive the product's pure core over a stream in micro-batches, applying each plan to the mirror as a store would."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from questream.clustering.assignment import BatchAssigner
from questream.clustering.choices import Choice
from questream.clustering.merging import propose_merges
from questream.clustering.mirror import ClusterMoved, ClusterRemoved, MeanMoved, Mirror
from questream.clustering.rules import Rules
from questream.clustering.second_look.features import Features
from questream.clustering.second_look.kept import pack
from questream.domain import Exemplar, Matrix, joint_exemplars


@dataclass
class Stepper:
    rules: Rules
    dimension: int
    sizes: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.mirror = Mirror(self.dimension)

    def assign(self, vectors: Matrix, features: Sequence[Features] | None = None) -> tuple[list[Choice], list[int]]:
        """Choices of one batch, and each question's cluster size at its decision."""
        assigner = BatchAssigner(vectors, self.mirror, self.rules, features)
        plan = assigner.plan()
        sizes = [self.sizes.get(choice.cluster_id or 0, 0) + choice.rank for choice in plan.choices]
        mean = MeanMoved(self.mirror.mean_questions + plan.mean_learned, assigner.mean_sum(plan))
        moves = [
            ClusterMoved(cluster_id, plan.touched[cluster_id].members, vector_sum, pack(plan.touched[cluster_id].kept))
            for cluster_id, vector_sum in assigner.vector_sums(plan).items()
        ]
        self.mirror.apply([*moves, mean])
        for cluster in plan.touched.values():
            self.sizes[cluster.cluster_id] = self.sizes.get(cluster.cluster_id, 0) + len(cluster.questions)
        self.moved = plan.moved
        return plan.choices, sizes

    def constrain(self, cluster_id: int, exemplars: Sequence[Exemplar]) -> None:
        """What an operation leaves with a cluster."""
        members, vector_sum = self.mirror.member_count(cluster_id), self.mirror.vector_sum(cluster_id).copy()
        self.mirror.apply([ClusterMoved(cluster_id, members, vector_sum, exemplars=tuple(exemplars))])

    def set_threshold(self, cluster_id: int, threshold: float) -> None:
        """Give a cluster a threshold of its own, with 0 none."""
        members, vector_sum = self.mirror.member_count(cluster_id), self.mirror.vector_sum(cluster_id).copy()
        self.mirror.apply([ClusterMoved(cluster_id, members, vector_sum, threshold=threshold)])

    def merge(self) -> list[tuple[int, int]]:
        merges = propose_merges(self.mirror, self.moved, self.rules)
        for merge in merges:
            exemplars = joint_exemplars(self.mirror.exemplars(merge.survivor), self.mirror.exemplars(merge.loser))
            self.mirror.apply(
                [
                    ClusterRemoved(merge.loser),
                    ClusterMoved(merge.survivor, merge.members, merge.vector_sum, merge.kept, exemplars),
                ]
            )
            self.sizes[merge.survivor] += self.sizes.pop(merge.loser)
        return [(merge.survivor, merge.loser) for merge in merges]


def unit_rows(matrix: Matrix) -> Matrix:
    rows: Matrix = (matrix / np.linalg.norm(matrix, axis=1, keepdims=True)).astype(np.float32)
    return rows


def subjects_in_parts() -> Matrix:
    """Of 4 subjects 3 parts of 4 vectors each (48, 64): a cosine of .8 within a part, .5 between parts, else 0."""
    rows = np.arange(48)
    vectors = np.zeros((len(rows), 64), np.float32)
    for column, share in ((rows % 4, 0.5), (4 + rows % 12, 0.3), (16 + rows, 0.2)):
        vectors[rows, column] = share**0.5
    return vectors
