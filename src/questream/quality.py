"""How well clusters agree with gold groups: BCubed and the adjusted Rand index."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a clustering with gold groups. The BCubed figures lie in (0, 1], the adjusted Rand index below 1.

    `bcubed_precision`: for a mean question, the share of its cluster that is of its gold group; `bcubed_recall`: the
    share of its gold group that is in its cluster; `bcubed_f1`: their harmonic mean. `adjusted_rand_index` is 0 for a
    random clustering and 1 for a perfect one.
    """

    questions: int
    clusters: int
    groups: int
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f1: float
    adjusted_rand_index: float


def agreement(clusters: Sequence[Hashable], gold: Sequence[Hashable]) -> Agreement:
    """Compare the cluster of each question with its gold group; `clusters[i]` and `gold[i]` are of question i.

    BCubed after Bagga and Baldwin, "Entity-Based Cross-Document Coreferencing Using the Vector Space Model" (1998);
    Amigó et al., "A comparison of extrinsic clustering evaluation metrics based on formal constraints" (2009), show why
    of the common measures it is the one to take.

    Raises ValueError if the two differ in length or are empty.
    """
    if len(clusters) != len(gold):
        raise ValueError(f"{len(clusters)} clusters for {len(gold)} gold groups; one of each per question is needed")
    if not clusters:
        raise ValueError("the agreement of no questions is undefined")
    cluster_of, group_of = _numbered(clusters), _numbered(gold)
    cluster_sizes, group_sizes = np.bincount(cluster_of), np.bincount(group_of)

    # Questions of one cluster and one group count alike, so each cell of the contingency table is visited once.
    pairs, shared = np.unique(np.stack([cluster_of, group_of]), axis=1, return_counts=True)
    precision = float(np.sum(shared**2 / cluster_sizes[pairs[0]]) / len(clusters))
    recall = float(np.sum(shared**2 / group_sizes[pairs[1]]) / len(clusters))

    from sklearn.metrics import adjusted_rand_score  # costs a second, which only those who ask for it should pay

    return Agreement(
        questions=len(clusters),
        clusters=len(cluster_sizes),
        groups=len(group_sizes),
        bcubed_precision=precision,
        bcubed_recall=recall,
        bcubed_f1=2 * precision * recall / (precision + recall),
        adjusted_rand_index=float(adjusted_rand_score(group_of, cluster_of)),
    )


def _numbered(labels: Sequence[Hashable]) -> NDArray[np.int64]:
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)
