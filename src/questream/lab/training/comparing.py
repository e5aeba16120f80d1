"""Two models on the same held-out questions: what each is worth, and how sure the difference is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.lab.evaluation.agreement import Labels, numbered, shared_counts
from questream.lab.evaluation.online import cluster_online
from questream.lab.evaluation.stream import orders_of
from questream.lab.training.corpus import Corpus, Pairs

THRESHOLDS = tuple(round(0.5 + 0.025 * step, 3) for step in range(19))

_SHUFFLES = 2
_RESAMPLES = 300
_TAIL = 0.025
_SMALLEST_PRECISION = 1e-12

Weights = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Change:
    """A figure before and after, and the 95 % interval of what it gained, both resampled together.

    `at` says at which threshold, before and after, where there is one; `oracle` that it was chosen to suit these very
    questions, for each model, and flatters both.
    """

    figure: str
    before: float
    after: float
    low: float
    high: float
    at: tuple[float, float] | None = None
    oracle: bool = False

    @property
    def verdict(self) -> str:
        """In words: whether the interval leaves zero out, and on which side."""
        if self.low > 0:
            return "improved"
        return "worse" if self.high < 0 else "no difference that is sure"


@dataclass(frozen=True, eq=False)
class Subject:
    """A model on the held-out questions: their unit vectors (n, d), and how a worker with it would cluster them."""

    vectors: Matrix
    rules: Rules


def compare(held_out: Corpus, before: Subject, after: Subject, seed: int) -> list[Change]:
    """The gain of a training on held-out questions.

    Average precision of the pairs that somebody labelled, where both labels occur, and of all pairs of the questions;
    BCubed F1 of online clustering in three orders, as published and after the stream, at each model's threshold and at
    the best of `THRESHOLDS`. The intervals come from the bootstrap over groups (for labelled pairs: over those), the
    same draws for both models; clusterings are not made anew for a draw.
    """
    random = np.random.default_rng(seed)
    subjects = (before, after)
    changes = _labelled_precision(held_out, subjects, random)
    draws = _draws(int(held_out.groups.max()) + 1, random)
    ranked = [_AllPairs(subject.vectors, held_out.groups) for subject in subjects]
    changes.append(
        _change("average precision of all pairs", *([pairs.precision(w) for w in draws] for pairs in ranked))
    )
    streams = [_Clusterings(subject, held_out.groups, seed) for subject in subjects]
    for moment, name in enumerate(("BCubed F1 as published", "BCubed F1 after the stream")):
        for oracle in (False, True):
            at = [stream.best(moment) if oracle else stream.threshold for stream in streams]
            figures = [stream.f1(threshold, moment, draws) for stream, threshold in zip(streams, at, strict=True)]
            changes.append(_change(name, *figures, at=(at[0], at[1]), oracle=oracle))
    return changes


def worth(held_out: Corpus, subject: Subject) -> dict[str, float]:
    """In short what one model is worth: average precision of all pairs, and BCubed F1 after the stream as it lies."""
    everything = np.ones(int(held_out.groups.max()) + 1)
    precision, recall = bcubed_of_each(cluster_online(subject.vectors, subject.rules).after, held_out.groups)
    return {
        "average_precision": _AllPairs(subject.vectors, held_out.groups).precision(everything),
        "bcubed_f1": _f1(precision.mean(), recall.mean()),
    }


def bcubed_of_each(clusters: Labels, groups: Labels) -> tuple[Weights, Weights]:
    """BCubed precision and recall of each question (n,), of which `agreement` takes the means."""
    shared, in_cluster, in_group = shared_counts(numbered(clusters.tolist()), numbered(groups.tolist()))
    return shared / in_cluster, shared / in_group


def average_precision(right: NDArray[np.bool_], weights: Weights) -> float:
    """Average precision of weighted pairs, the most similar first; `right` marks those of the same question."""
    classified, found = np.cumsum(weights), np.cumsum(weights * right)
    if not len(found) or found[-1] == 0:
        return 0.0
    return float((weights * right) @ (found / np.maximum(classified, _SMALLEST_PRECISION)) / found[-1])


class _AllPairs:
    """All pairs of questions, the most similar first, down to the last that is the same question."""

    def __init__(self, vectors: Matrix, groups: Labels) -> None:
        one, other = np.triu_indices(len(vectors), 1)
        scores = (vectors @ vectors.T)[one, other]
        order = np.argsort(-scores, kind="stable")
        right = (groups[one] == groups[other])[order]
        order = order[: int(np.flatnonzero(right)[-1]) + 1]
        self._right = right[: len(order)]
        self._one, self._other = groups[one[order]], groups[other[order]]

    def precision(self, drawn: Weights) -> float:
        """Average precision where each group was drawn so many times (groups,)."""
        # Two draws of a group are two groups: their pairs are neither same nor different, so they are not counted.
        weights = np.where(self._right, drawn[self._one], drawn[self._one] * drawn[self._other])
        return average_precision(self._right, weights)


class _Clusterings:
    """BCubed precision and recall of each question at each threshold, means over three orders."""

    def __init__(self, subject: Subject, groups: Labels, seed: int) -> None:
        self._subject = subject
        self._groups = groups
        self._orders = orders_of(len(groups), _SHUFFLES, seed)
        self._measured: dict[float, list[tuple[Weights, Weights]]] = {}

    @property
    def threshold(self) -> float:
        """The threshold that a worker would take."""
        return self._subject.rules.threshold

    def best(self, moment: int) -> float:
        """The threshold of the highest F1 as published (0) or after the stream (1)."""
        everything = [np.ones(int(self._groups.max()) + 1)]
        return max(THRESHOLDS, key=lambda threshold: self.f1(threshold, moment, everything)[0])

    def f1(self, threshold: float, moment: int, draws: Sequence[Weights]) -> list[float]:
        """F1 for each draw of groups."""
        precision, recall = self._at(threshold)[moment]
        by_group = [np.bincount(self._groups, figures) for figures in (precision, recall)]
        sizes = np.bincount(self._groups)
        return [_f1(*(float(drawn @ sums) / float(drawn @ sizes) for sums in by_group)) for drawn in draws]

    def _at(self, threshold: float) -> list[tuple[Weights, Weights]]:
        if threshold not in self._measured:
            sums = np.zeros((2, 2, len(self._groups)))
            rules = self._subject.rules
            if threshold != rules.threshold:
                rules = replace(rules, threshold=threshold, merge_threshold=threshold)
            for order in self._orders:
                clustering = cluster_online(np.ascontiguousarray(self._subject.vectors[order]), rules)
                for moment, clusters in enumerate((clustering.as_published, clustering.after)):
                    sums[moment][:, order] += bcubed_of_each(clusters, self._groups[order])
            means = sums / len(self._orders)
            self._measured[threshold] = [(means[0, 0], means[0, 1]), (means[1, 0], means[1, 1])]
        return self._measured[threshold]


def _labelled_precision(held_out: Corpus, subjects: Sequence[Subject], random: np.random.Generator) -> list[Change]:
    """Of pairs that somebody labelled; nothing to say where they are all the same or all different."""
    if not len(held_out.same) or not len(held_out.different):
        return []
    pairs: Pairs = np.concatenate([held_out.same, held_out.different])
    right = np.arange(len(pairs)) < len(held_out.same)
    before, after = (
        np.einsum("ij,ij->i", vectors[pairs[:, 0]], vectors[pairs[:, 1]])
        for vectors in (subject.vectors for subject in subjects)
    )
    return [compare_scores("average precision of labelled pairs", right, before, after, random)]


def compare_scores(
    figure: str, right: NDArray[np.bool_], before: Weights, after: Weights, random: np.random.Generator
) -> Change:
    """The gain in average precision of scored pairs: scores (k,) before and after, and which are the same (k,)."""
    draws = _draws(len(right), random)
    figures = []
    for scores in (before, after):
        order = np.argsort(-scores, kind="stable")
        figures.append([average_precision(right[order], drawn[order]) for drawn in draws])
    return _change(figure, *figures)


def _draws(things: int, random: np.random.Generator) -> list[Weights]:
    """The number of draws of each element: first each once, then samples with replacement."""
    drawn = (np.bincount(random.integers(things, size=things), minlength=things) for _ in range(_RESAMPLES))
    return [np.ones(things), *(counts.astype(np.float64) for counts in drawn)]


def _change(
    figure: str,
    before: Sequence[float],
    after: Sequence[float],
    *,
    at: tuple[float, float] | None = None,
    oracle: bool = False,
) -> Change:
    gained = np.array(after) - np.array(before)
    low, high = np.quantile(gained[1:], [_TAIL, 1 - _TAIL]).tolist()
    return Change(figure, float(before[0]), float(after[0]), low, high, at, oracle)


def _f1(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
