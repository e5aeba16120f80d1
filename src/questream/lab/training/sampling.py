"""The pairs that a model is trained on, out of groups of questions and of pairs that were labelled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.lab.evaluation.agreement import Labels
from questream.lab.training.corpus import Corpus, Pairs
from questream.lab.training.recipe import Recipe

_SCORES_AT_ONCE = 1 << 24
# How many of the nearest texts of other groups are looked at.
_CANDIDATES = 16
# Nearer than this share of the positive's similarity, what another group holds is likely the same question, which
# nobody has marked so (Moreira et al. 2024, "NV-Retriever": 95 % of the positive's score did best).
_SURE_SHARE = 0.95


@dataclass(frozen=True, eq=False)
class TrainingPairs:
    """Pairs (k, 2) of the same question for the ranking loss, and labelled pairs (m, 2) with 1 or 0 (m,) for the
    contrastive one; none of the latter where only one label is there."""

    positives: Pairs
    labelled: Pairs
    labels: NDArray[np.int64]


def draw_pairs(corpus: Corpus, vectors: Matrix, recipe: Recipe) -> TrainingPairs:
    """The training pairs of the recipe; `vectors` (n, d) are the texts' unit vectors by the model before training."""
    random = np.random.default_rng(recipe.seed)
    drawn = pairs_within(corpus.groups, recipe.pairs_per_group, random)
    positives = np.unique(np.concatenate([corpus.same, drawn]), axis=0)
    mined = hard_negatives(positives, vectors, corpus.groups, recipe.hard_negatives)
    negatives = np.unique(np.concatenate([corpus.different, mined]), axis=0)
    positives = random.permutation(positives)
    if not len(negatives):
        empty = np.empty(0, np.int64)
        return TrainingPairs(positives, empty.reshape(0, 2), empty)
    labelled = np.concatenate([positives, negatives])
    labels = np.concatenate([np.ones(len(positives), np.int64), np.zeros(len(negatives), np.int64)])
    order = random.permutation(len(labelled))
    return TrainingPairs(positives, labelled[order], labels[order])


def pairs_within(groups: Labels, most: int, random: np.random.Generator) -> Pairs:
    """Pairs (k, 2), the lower index first, of texts of one group: all, or `most` of a group drawn without repetition.

    A group of which not all pairs are taken is gone round in a random order first, so that none of its texts is left
    out while there is room for it.
    """
    found = [np.empty((0, 2), np.int64)]
    order = np.argsort(groups, kind="stable")
    for members in np.split(order, np.cumsum(np.bincount(groups))[:-1]):
        size = len(members)
        if size * (size - 1) // 2 <= most:
            found.append(np.stack(np.triu_indices(size, 1), axis=1))
        else:
            found.append(_drawn(size, most, random))
        found[-1] = members[found[-1]]
    return np.sort(np.concatenate(found), axis=1)


def hard_negatives(positives: Pairs, vectors: Matrix, groups: Labels, each: int) -> Pairs:
    """For each pair of the same question, the `each` nearest texts of other groups to its first text: (k, 2).

    Those nearer than 95 % of the pair's own similarity are passed over as likely the same question too.
    """
    found: list[Pairs] = [np.empty((0, 2), np.int64)]
    candidates = min(_CANDIDATES, len(vectors) - 1)
    if not each or candidates < 1:
        return found[0]
    anchors = np.unique(positives[:, 0])
    row_of = np.searchsorted(anchors, positives[:, 0])
    likely = _SURE_SHARE * np.einsum("ij,ij->i", vectors[positives[:, 0]], vectors[positives[:, 1]])
    limits = np.full(len(anchors), np.inf)
    np.minimum.at(limits, row_of, likely)
    rows_at_once = max(1, _SCORES_AT_ONCE // len(vectors))
    for start in range(0, len(anchors), rows_at_once):
        rows = anchors[start : start + rows_at_once]
        scores = vectors[rows] @ vectors.T
        scores[groups[rows][:, None] == groups[None, :]] = -np.inf
        scores[scores >= limits[start : start + len(rows), None]] = -np.inf
        nearest = np.argpartition(-scores, candidates - 1, axis=1)[:, :candidates]
        nearest = np.take_along_axis(nearest, np.argsort(-np.take_along_axis(scores, nearest, 1), axis=1), 1)[:, :each]
        there = np.isfinite(np.take_along_axis(scores, nearest, 1))
        found.append(np.stack([np.repeat(rows, there.sum(axis=1)), nearest[there]], axis=1))
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _drawn(size: int, most: int, random: np.random.Generator) -> Pairs:
    """`most` different pairs of `size` things, of fewer than there are: a round through all of them, then others."""
    ring = random.permutation(size)
    drawn = dict.fromkeys(
        (min(a, b), max(a, b)) for a, b in zip(ring.tolist(), np.roll(ring, 1).tolist(), strict=True) if a != b
    )
    while len(drawn) < most:
        a, b = random.integers(size, size=2).tolist()
        if a != b:
            drawn[min(a, b), max(a, b)] = None
    return np.array(list(drawn)[:most], np.int64)
