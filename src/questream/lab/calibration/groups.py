"""A value of a sweep from questions whose gold groups are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from questream.errors import QuestreamError
from questream.lab.calibration.proposal import (
    BOOTSTRAP_ROUNDS,
    Mistakes,
    Proposal,
    edge_remarks,
    interval_of,
    middle_of_best,
    settings_of,
)
from questream.lab.calibration.sweep import Floats, Sweep, require_enough, weighted_f
from questream.lab.evaluation.agreement import Labels, shared_counts


def propose_from_groups(
    sweeps: Sequence[Sweep], golds: Sequence[Labels], false_join_cost: float = 1.0, seed: int = 0
) -> Proposal:
    """The value of the highest BCubed F after the stream, a mean over several orders of the same questions.

    `golds[i]` are the gold groups in the order of `sweeps[i]`. Precision weighs `false_join_cost` times what recall
    does. Mistakes are those of the moment of publishing: a question joined a cluster in which none before was of its
    group, or was not put where one was. The interval is from a bootstrap that draws gold groups.
    Raises QuestreamError as `require_groups` does.
    """
    require_groups(golds[0])
    sizes = np.unique(golds[0], return_counts=True)[1]
    values = sweeps[0].values
    # (orders, values, groups): sums over the questions of each group, so that a bootstrap need not cluster again.
    precision, recall = (np.stack(part).mean(axis=0) for part in zip(*map(_by_group, sweeps, golds), strict=True))
    scores = weighted_f(precision.sum(axis=1) / sizes.sum(), recall.sum(axis=1) / sizes.sum(), false_join_cost)
    best = middle_of_best(scores)
    draws = np.random.default_rng(seed).multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), BOOTSTRAP_ROUNDS)
    drawn = draws @ sizes
    rounds = weighted_f(precision @ draws.T / drawn, recall @ draws.T / drawn, false_join_cost)
    low, high = interval_of(values, [middle_of_best(column) for column in rounds.T])
    mistakes = [
        _mean_mistakes([_mistakes(sweep.published[row], gold) for sweep, gold in zip(sweeps, golds, strict=True)])
        for row in range(len(values))
    ]
    return Proposal(
        value=values[best],
        low=low,
        high=high,
        measure="BCubed F1" if false_join_cost == 1.0 else f"BCubed F, false joins weigh {false_join_cost:g}",
        settings=settings_of(sweeps[0], best, scores, mistakes),
        remarks=edge_remarks(sweeps[0], best),
    )


def require_groups(gold: Labels) -> None:
    """Raise QuestreamError where gold groups say nothing: too few questions, one group, or none of two questions."""
    require_enough(len(gold))
    sizes = np.unique(gold, return_counts=True)[1]
    if len(sizes) == 1:
        raise QuestreamError("all questions are of one gold group: no value is too low for it", "give others too")
    if sizes.max() == 1:
        raise QuestreamError("no two questions are of one gold group: no value is too high for it")


def _by_group(sweep: Sweep, gold: Labels) -> tuple[Floats, Floats]:
    """Sums of BCubed precision and recall over the questions of each gold group, (values, groups)."""
    _, groups = np.unique(gold, return_inverse=True)
    precision, recall = [], []
    for after in sweep.after:
        shared, cluster, group = shared_counts(after, groups)
        precision.append(np.bincount(groups, shared / cluster))
        recall.append(np.bincount(groups, shared / group))
    return np.array(precision), np.array(recall)


def _mistakes(published: Labels, gold: Labels) -> Mistakes:
    clusters_of: dict[int, set[int]] = {}
    groups_in: dict[int, set[int]] = {}
    false = missed = 0
    for cluster, group in zip(published.tolist(), gold.tolist(), strict=True):
        seen, homes = groups_in.setdefault(cluster, set()), clusters_of.setdefault(group, set())
        false += bool(seen) and group not in seen
        missed += bool(homes) and cluster not in homes
        seen.add(group)
        homes.add(cluster)
    return Mistakes(1000 * false / len(gold), 1000 * missed / len(gold), "questions")


def _mean_mistakes(mistakes: Sequence[Mistakes]) -> Mistakes:
    return Mistakes(
        float(np.mean([one.false_joins for one in mistakes])),
        float(np.mean([one.missed_joins for one in mistakes])),
        mistakes[0].per,
    )
