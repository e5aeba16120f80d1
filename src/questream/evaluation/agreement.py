"""How well clusters agree with gold groups."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a clustering with gold groups; all but the counts and the adjusted Rand index lie in [0, 1].

    `bcubed_precision`: for a mean question, the share of its cluster that is of its gold group; `bcubed_recall`: the
    share of its gold group that is in its cluster; `bcubed_f1`: their harmonic mean. `adjusted_rand_index` is 0 for a
    random clustering and 1 for a perfect one. `v_measure` is the harmonic mean of homogeneity and completeness.
    `pairwise_*` are of the pairs of questions in one cluster; large clusters rule them. `falsely_joined`: the share of
    questions that joined a cluster in which no question before was of their group.
    Counts are floats because a mean over several orders has them too.
    """

    questions: float
    clusters: float
    groups: float
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f1: float
    adjusted_rand_index: float
    v_measure: float
    pairwise_precision: float
    pairwise_recall: float
    pairwise_f1: float
    falsely_joined: float


def agreement(clusters: Sequence[Hashable], gold: Sequence[Hashable]) -> Agreement:
    """Compare the cluster of each question with its gold group; `clusters[i]` and `gold[i]` are of the i-th question.

    BCubed after Bagga and Baldwin, "Entity-Based Cross-Document Coreferencing Using the Vector Space Model" (1998);
    Amigó et al., "A comparison of extrinsic clustering evaluation metrics based on formal constraints" (2009), show why
    of the common measures it is the one to take. V-measure after Rosenberg and Hirschberg (2007).

    Raises ValueError if the two differ in length or are empty.
    """
    if len(clusters) != len(gold):
        raise ValueError(f"{len(clusters)} clusters for {len(gold)} gold groups; one of each per question is needed")
    if not len(clusters):
        raise ValueError("the agreement of no questions is undefined")
    cluster_of, group_of = numbered(clusters), numbered(gold)
    cluster_sizes, group_sizes = np.bincount(cluster_of), np.bincount(group_of)

    # Questions of one cluster and one group count alike, so each cell of the contingency table is visited once.
    pairs, shared = np.unique(np.stack([cluster_of, group_of]), axis=1, return_counts=True)
    precision = float(np.sum(shared**2 / cluster_sizes[pairs[0]]) / len(clusters))
    recall = float(np.sum(shared**2 / group_sizes[pairs[1]]) / len(clusters))
    together, in_clusters, in_groups = (float(np.sum(n * (n - 1)) / 2) for n in (shared, cluster_sizes, group_sizes))
    # Where no two belong together and none were put together, nothing is wrong.
    pairwise_precision = together / in_clusters if in_clusters else 1.0
    pairwise_recall = together / in_groups if in_groups else 1.0

    from sklearn.metrics import adjusted_rand_score, v_measure_score  # costs a second, for those who ask alone

    return Agreement(
        questions=len(clusters),
        clusters=len(cluster_sizes),
        groups=len(group_sizes),
        bcubed_precision=precision,
        bcubed_recall=recall,
        bcubed_f1=2 * precision * recall / (precision + recall),
        adjusted_rand_index=float(adjusted_rand_score(group_of, cluster_of)),
        v_measure=float(v_measure_score(group_of, cluster_of)),
        pairwise_precision=pairwise_precision,
        pairwise_recall=pairwise_recall,
        pairwise_f1=2 * together / (in_clusters + in_groups) if in_clusters + in_groups else 1.0,
        falsely_joined=_falsely_joined(cluster_of, group_of),
    )


def mean_agreement(figures: Sequence[Agreement]) -> Agreement:
    """Each figure's mean over several orders."""
    names = [field.name for field in fields(Agreement)]
    return Agreement(*(float(np.mean([getattr(one, name) for one in figures])) for name in names))


def numbered(labels: Sequence[Hashable]) -> Labels:
    """Labels as numbers from 0 without gaps, in the order in which they first appear."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


def _falsely_joined(clusters: Labels, gold: Labels) -> float:
    groups: dict[int, set[int]] = {}
    false = 0
    for cluster, group in zip(clusters.tolist(), gold.tolist(), strict=True):
        seen = groups.setdefault(cluster, set())
        false += bool(seen) and group not in seen
        seen.add(group)
    return false / len(gold)
