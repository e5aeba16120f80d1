"""Agreement of clusters with gold groups."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Labels = NDArray[np.int64]

# A cluster so many times larger than the largest gold group is a heap: no group can be what it is about.
_HEAP = 2

# Least and most questions of a group, None for any more.
_SIZES = ((1, 1), (2, 2), (3, 5), (6, 20), (21, 100), (101, None))


@dataclass(frozen=True, slots=True)
class Agreement:
    """Agreement of a clustering with gold groups; all but the counts and the adjusted Rand index lie in [0, 1].

    `bcubed_precision`: for a mean question, the share of its cluster that is of its gold group; `bcubed_recall`: the
    share of its gold group that is in its cluster; `bcubed_f1`: their harmonic mean. `adjusted_rand_index` is 0 for a
    random clustering and 1 for a perfect one. `v_measure` is the harmonic mean of homogeneity and completeness.
    `pairwise_*` are of the pairs of questions in one cluster; large clusters rule them. `falsely_joined`: the share of
    questions that joined a cluster in which no question before was of their group. `heap_share`: the share of questions
    in heaps, clusters more than twice as large as the largest gold group, which BCubed F1 hardly notices.
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
    heap_share: float


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

    shared_of_question, shared = _shared(cluster_of, group_of)
    precision = float(np.mean(shared_of_question / cluster_sizes[cluster_of]))
    recall = float(np.mean(shared_of_question / group_sizes[group_of]))
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
        falsely_joined=float(falsely_joined(cluster_of, group_of).mean()),
        heap_share=float(np.mean(cluster_sizes[cluster_of] > _HEAP * group_sizes.max())),
    )


def mean_agreement(figures: Sequence[Agreement]) -> Agreement:
    """Each figure's mean over several orders."""
    return Agreement(*np.mean([_values(one) for one in figures], axis=0).tolist())


def spread_agreement(figures: Sequence[Agreement]) -> Agreement:
    """Each figure's standard deviation over several orders; zero of one alone."""
    return Agreement(*np.std([_values(one) for one in figures], axis=0, ddof=min(1, len(figures) - 1)).tolist())


@dataclass(frozen=True, slots=True)
class SizeAgreement:
    """BCubed agreement of the questions whose gold group has `least` to `most` questions (None: any more).

    `clusters_per_group` is in how many clusters a mean group of that size is; `clusters` how many have that size.
    """

    least: int
    most: int | None
    groups: int
    clusters: int
    questions: int
    bcubed_precision: float
    bcubed_recall: float
    bcubed_f1: float
    clusters_per_group: float


def agreement_by_size(clusters: Labels, gold: Labels) -> list[SizeAgreement]:
    """Agreement apart for small and large gold groups; sizes that neither a group nor a cluster has are left out."""
    cluster_of, group_of = numbered(clusters.tolist()), numbered(gold.tolist())
    cluster_sizes, group_sizes = np.bincount(cluster_of), np.bincount(group_of)
    shared, _ = _shared(cluster_of, group_of)
    cells = np.unique(np.stack([cluster_of, group_of]), axis=1)
    parts = np.bincount(cells[1])
    found = []
    for least, most in _SIZES:
        groups = (group_sizes >= least) & (group_sizes <= (most or len(gold)))
        as_large = int(np.sum((cluster_sizes >= least) & (cluster_sizes <= (most or len(gold)))))
        if not groups.any() and not as_large:
            continue
        of = groups[group_of]
        precision = float(np.mean(shared[of] / cluster_sizes[cluster_of[of]])) if of.any() else math.nan
        recall = float(np.mean(shared[of] / group_sizes[group_of[of]])) if of.any() else math.nan
        found.append(
            SizeAgreement(
                least=least,
                most=most,
                groups=int(groups.sum()),
                clusters=as_large,
                questions=int(of.sum()),
                bcubed_precision=precision,
                bcubed_recall=recall,
                bcubed_f1=2 * precision * recall / (precision + recall),
                clusters_per_group=float(parts[groups].mean()) if groups.any() else math.nan,
            )
        )
    return found


def shared_counts(
    clusters: Labels, others: Labels
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Of each question (n,): those that share both its groups, those in its cluster, those in its other one.

    Itself counts in each. Both number groups from 0.
    """
    cells = clusters * (int(others.max()) + 1) + others
    _, cell, shared = np.unique(cells, return_inverse=True, return_counts=True)
    return (
        shared[cell].astype(np.float64),
        np.bincount(clusters)[clusters].astype(np.float64),
        np.bincount(others)[others].astype(np.float64),
    )


def numbered(labels: Sequence[Hashable]) -> Labels:
    """Labels as numbers from 0 without gaps, in the order in which they first appear."""
    numbers: dict[Hashable, int] = {}
    return np.array([numbers.setdefault(label, len(numbers)) for label in labels], dtype=np.int64)


def falsely_joined(clusters: Labels, gold: Labels) -> NDArray[np.bool_]:
    """Which questions joined a cluster in which no question before was of their group, (n,)."""
    groups: dict[int, set[int]] = {}
    false = []
    for cluster, group in zip(clusters.tolist(), gold.tolist(), strict=True):
        seen = groups.setdefault(cluster, set())
        false.append(bool(seen) and group not in seen)
        seen.add(group)
    return np.array(false, bool)


def _shared(cluster_of: Labels, group_of: Labels) -> tuple[Labels, Labels]:
    """With how many questions, itself included, each question shares both cluster and group; and such sets' sizes."""
    _, cell_of, sizes = np.unique(np.stack([cluster_of, group_of]), axis=1, return_inverse=True, return_counts=True)
    return sizes[cell_of.ravel()], sizes


def _values(figures: Agreement) -> list[float]:
    return [getattr(figures, field.name) for field in fields(Agreement)]
