"""The effect of an operator's right corrections on later questions.

The first half of a stream is clustered. Then an operator who knows the gold groups corrects questions, those of the
largest clusters first: one that is in another cluster than its group's is moved there, one whose group has none is
rejected. The second half is clustered with that, and only the second half is scored, as it was published.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from questream.clustering.rules import Rules
from questream.lab.evaluation.agreement import agreement
from questream.lab.evaluation.online import options_of
from questream.lab.evaluation.stream import Stream
from questream.library import BATCH_QUESTIONS, QuestionClusterer
from questream.operations import By, Decisions, KnownQuestion
from questream.store.reference.store import MemoryStore

_NAMESPACE = "default"
_OPERATOR = By("gold")


@dataclass(frozen=True, slots=True)
class Corrected:
    """The later questions after so many corrections, `moved` and `rejected` ones: BCubed as published, in [0, 1]."""

    corrections: int
    moved: int
    rejected: int
    questions: int
    bcubed_f1: float
    bcubed_precision: float
    bcubed_recall: float


@dataclass(frozen=True, slots=True)
class Correction:
    """A question of the first half, the cluster it is in, and the one that it belongs to; None for none."""

    question: int
    cluster_id: int
    target: int | None


def correction_curve(stream: Stream, rules: Rules, budgets: Sequence[int]) -> list[Corrected]:
    """The later half after each number of corrections, or as many as there are to make."""
    half = len(stream) // 2
    store = MemoryStore()
    clusterer = _clusterer(store, stream, rules)
    published = list(_assign(clusterer, stream, 0, half))
    corrections = right_corrections(clusterer.survivors(published), stream.gold[:half].tolist())
    return [_corrected(stream, rules, copy.deepcopy(store), corrections[:budget]) for budget in budgets]


def right_corrections(clusters: Sequence[int], gold: Sequence[int]) -> list[Correction]:
    """All that an operator who knows the gold groups would correct, the questions of the largest clusters first."""
    sizes = Counter(clusters)
    inside: dict[int, Counter[int]] = {}
    for cluster_id, group in zip(clusters, gold, strict=True):
        inside.setdefault(cluster_id, Counter())[group] += 1
    # A group is at home in the cluster that has most of it, among those that have more of it than of any other.
    home: dict[int, tuple[int, int]] = {}
    for cluster_id, groups in inside.items():
        group, count = groups.most_common(1)[0]
        home[group] = max(home.get(group, (0, 0)), (count, cluster_id))
    found = [
        Correction(at, cluster_id, home[group][1] if group in home else None)
        for at, (cluster_id, group) in enumerate(zip(clusters, gold, strict=True))
        if home.get(group, (0, 0))[1] != cluster_id
    ]
    return sorted(found, key=lambda one: (-sizes[one.cluster_id], one.question))


def _corrected(stream: Stream, rules: Rules, store: MemoryStore, corrections: Sequence[Correction]) -> Corrected:
    decisions = Decisions(store, _NAMESPACE, _OPERATOR)
    for one in corrections:
        question = KnownQuestion(one.cluster_id, stream.vectors[one.question])
        decisions.commit(decisions.reject([question]) if one.target is None else decisions.move([question], one.target))
    half = len(stream) // 2
    later = list(_assign(_clusterer(store, stream, rules), stream, half, len(stream)))
    found = agreement(later, stream.gold[half:].tolist())
    moved = sum(one.target is not None for one in corrections)
    return Corrected(
        len(corrections),
        moved,
        len(corrections) - moved,
        len(later),
        found.bcubed_f1,
        found.bcubed_precision,
        found.bcubed_recall,
    )


def mean_of_orders(curves: Sequence[Sequence[Corrected]]) -> list[Corrected]:
    """The mean over several orders of a stream, for each number of corrections."""
    return [
        Corrected(
            *(round(float(np.mean([getattr(one, name) for one in points]))) for name in _COUNTS),
            *(float(np.mean([getattr(one, name) for one in points])) for name in _SHARES),
        )
        for points in zip(*curves, strict=True)
    ]


_COUNTS = ("corrections", "moved", "rejected", "questions")
_SHARES = ("bcubed_f1", "bcubed_precision", "bcubed_recall")


def _clusterer(store: MemoryStore, stream: Stream, rules: Rules) -> QuestionClusterer:
    return QuestionClusterer(dimension=stream.vectors.shape[1], store=store, **options_of(rules))


def _assign(clusterer: QuestionClusterer, stream: Stream, start: int, end: int) -> Iterator[int]:
    for first in range(start, end, BATCH_QUESTIONS):
        batch = slice(first, min(first + BATCH_QUESTIONS, end))
        yield from clusterer.assign(stream.vectors[batch], stream.texts[batch]).ids
