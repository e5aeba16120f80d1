"""Quality of a stream's clusters against gold groups: in several orders, by size of group, at other thresholds."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from questream.clustering.levels import LevelRules
from questream.clustering.rules import Rules
from questream.deciding.close_calls import Judge
from questream.lab.evaluation.agreement import (
    Agreement,
    Labels,
    SizeAgreement,
    agreement,
    agreement_by_size,
    mean_agreement,
    spread_agreement,
)
from questream.lab.evaluation.levels import cluster_in_levels
from questream.lab.evaluation.online import cluster_online
from questream.lab.evaluation.stream import Clustering, Stream
from questream.operations.confidence import Reliability, cross_fitted, reliability

Order = Literal["time", "file"]

# What `questream calibrate` tries too: wide groups may have their best far below those of granularities.
_GRID = tuple(round(0.2 + 0.025 * step, 3) for step in range(32))
# A threshold below the grid, such as a model card's raw cosine, is seen with so much on either side.
_AROUND = 0.25
LEVEL_RULES = LevelRules()


@dataclass(frozen=True, slots=True)
class OrderFigures:
    """Agreement of each question's id as it was published, and of what it is after the stream."""

    published: Agreement
    after: Agreement


@dataclass(frozen=True, slots=True)
class LevelFigures:
    """Agreement of intents or topics, in the first order.

    `changed` is the share of the questions of the stream's second half whose id of the level became another later.
    """

    level: str
    published: Agreement
    after: Agreement
    changed: float


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """The result of another threshold in the first order; all but `published_f1` and `falsely_joined` after it."""

    threshold: float
    published_f1: float
    bcubed_f1: float
    bcubed_precision: float
    bcubed_recall: float
    clusters: int
    falsely_joined: float
    adjusted_rand_index: float
    heap_share: float


@dataclass(frozen=True, slots=True)
class GroupFigures:
    """The figures of one stream.

    `first` is of the order that `order` names: by time where each question says when it was asked, else of the file.
    `shuffled` holds one for each shuffle; mean and spread (standard deviation) of them are None without any.
    `by_size` is after the stream in the first order, `levels` are the intents and topics above the clusters in that
    order. `reliability` is that of a confidence that is fitted to some of the questions that joined and applied to the
    others, None where all of them went right, or all wrong. `seconds` is how long clustering took in it.
    """

    order: Order
    first: OrderFigures
    shuffled: list[OrderFigures]
    shuffled_mean: OrderFigures | None
    shuffled_spread: OrderFigures | None
    by_size: list[SizeAgreement]
    curve: list[CurvePoint]
    levels: list[LevelFigures]
    reliability: Reliability | None
    seconds: float

    @property
    def best(self) -> CurvePoint:
        """The point of the curve with the highest BCubed F1."""
        return max(self.curve, key=lambda point: point.bcubed_f1)


def time_order(asked_at: NDArray[np.float64] | None, questions: int) -> tuple[Order, NDArray[np.intp]]:
    """The first order: by time where that is known, else of the file."""
    if asked_at is None:
        return "file", np.arange(questions)
    return "time", np.argsort(asked_at, kind="stable")


def group_figures(
    stream: Stream,
    order: Order,
    rules: Rules,
    shuffles: Sequence[NDArray[np.intp]],
    announce: Callable[[str], None] = lambda _: None,
    judge: Judge | None = None,
    level_rules: LevelRules = LEVEL_RULES,
) -> tuple[GroupFigures, Clustering]:
    """Cluster the stream in its own order (`order` names it) and in `shuffles`, then at other thresholds.

    A `judge` is asked about close calls, and must be where the rules have a margin for one.
    Also returns the clustering of the stream in its own order.
    """
    announce(f"clustering {len(stream):,} questions")
    started = time.perf_counter()
    clustering = cluster_online(stream.vectors, rules, stream.texts, judge=judge)
    seconds = time.perf_counter() - started
    shuffled = []
    for number, shuffle in enumerate(shuffles, start=1):
        announce(f"shuffle {number} of {len(shuffles)}")
        other = stream.in_order(shuffle)
        shuffled.append(_figures(cluster_online(other.vectors, rules, other.texts, judge=judge), other))
    announce("intents and topics")
    levels = level_figures(stream, rules, level_rules, judge)
    announce("other thresholds")
    figures = GroupFigures(
        order=order,
        first=_figures(clustering, stream),
        shuffled=shuffled,
        shuffled_mean=_over(shuffled, mean_agreement),
        shuffled_spread=_over(shuffled, spread_agreement),
        by_size=agreement_by_size(clustering.after, stream.gold),
        curve=_curve(stream, rules, judge),
        levels=levels,
        reliability=reliability_of_joins(clustering, stream),
        seconds=seconds,
    )
    return figures, clustering


def level_figures(
    stream: Stream, rules: Rules, level_rules: LevelRules = LEVEL_RULES, judge: Judge | None = None
) -> list[LevelFigures]:
    """Intents and topics above the clusters of `rules`, in the order of the stream."""
    found = []
    for level, clustering in cluster_in_levels(stream.vectors, rules, level_rules, stream.texts, judge).items():
        figures = _figures(clustering, stream)
        half = len(stream) // 2
        changed = clustering.changed[half:]
        found.append(LevelFigures(level, figures.published, figures.after, float(changed.mean())))
    return found


def reliability_of_joins(clustering: Clustering, stream: Stream) -> Reliability | None:
    """The reliability of a confidence in the joins of a stream; a join is right in a cluster mostly of its group."""
    if clustering.similarity is None or clustering.published is None:
        return None
    right = joined_their_group(clustering.published, stream.gold)
    joined = ~np.isnan(clustering.similarity)
    outcomes = right[joined]
    if not outcomes.any() or outcomes.all():
        return None
    return reliability(cross_fitted(clustering.similarity[joined], outcomes), outcomes)


def joined_their_group(published: Labels, gold: Labels) -> NDArray[np.bool_]:
    """True (n,) if most of the questions that were in a question's cluster before are of its group."""
    right = np.zeros(len(gold), bool)
    groups_in: dict[int, Counter[int]] = {}
    for at, (cluster, group) in enumerate(zip(published.tolist(), gold.tolist(), strict=True)):
        before = groups_in.setdefault(cluster, Counter())
        right[at] = bool(before) and before[group] == max(before.values())
        before[group] += 1
    return right


def _curve(stream: Stream, rules: Rules, judge: Judge | None) -> list[CurvePoint]:
    around = np.linspace(rules.threshold - _AROUND, rules.threshold + _AROUND, 21).round(3).tolist()
    grid = _GRID if rules.threshold >= _GRID[0] else around
    points = []
    for threshold in sorted({*grid, rules.threshold}):
        merge_threshold = threshold + (rules.merge_threshold - rules.threshold)
        clustering = cluster_online(
            stream.vectors,
            replace(rules, threshold=threshold, merge_threshold=merge_threshold),
            stream.texts,
            judge=judge,
        )
        found = _figures(clustering, stream)
        points.append(
            CurvePoint(
                threshold=threshold,
                published_f1=found.published.bcubed_f1,
                bcubed_f1=found.after.bcubed_f1,
                bcubed_precision=found.after.bcubed_precision,
                bcubed_recall=found.after.bcubed_recall,
                clusters=int(found.after.clusters),
                falsely_joined=found.published.falsely_joined,
                adjusted_rand_index=found.after.adjusted_rand_index,
                heap_share=found.after.heap_share,
            )
        )
    return points


def _figures(clustering: Clustering, stream: Stream) -> OrderFigures:
    gold = stream.gold.tolist()
    return OrderFigures(agreement(clustering.as_published.tolist(), gold), agreement(clustering.after.tolist(), gold))


def _over(figures: Sequence[OrderFigures], reduce: Callable[[Sequence[Agreement]], Agreement]) -> OrderFigures | None:
    if not figures:
        return None
    return OrderFigures(reduce([one.published for one in figures]), reduce([one.after for one in figures]))
