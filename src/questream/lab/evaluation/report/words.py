"""What the figures come to, in plain words."""

from __future__ import annotations

from questream.lab.evaluation.evaluate import PairFigures
from questream.lab.evaluation.groups import GroupFigures

# A gain below this is within what another order of the same questions moves.
_WORTH = 0.01


def group_verdict(figures: GroupFigures, threshold: float) -> list[str]:
    """What a support lead should know of a stream clustered at `threshold`, a sentence each."""
    first, best = figures.first, figures.best
    after = first.after
    spread = sum(one.clusters_per_group * one.groups for one in figures.by_size if one.groups) / after.groups
    return [
        f"Take any question: of its cluster, {after.bcubed_precision:.0%} on average are of its own group;"
        f" of its group, {after.bcubed_recall:.0%} are in that cluster.",
        f"Of 100 questions, {100 * first.published.falsely_joined:.1f} were put into a cluster in which nobody before"
        " had asked what they ask.",
        f"A group is spread over {spread:.1f} clusters on average: {after.clusters:,.0f} clusters"
        f" for {after.groups:,.0f} groups.",
        _advice(threshold, best.threshold, after.bcubed_f1, best.bcubed_f1),
    ]


def pair_verdict(figures: PairFigures) -> list[str]:
    """What a support lead should know of pairs told apart at the worker's threshold, a sentence each."""
    worker, best = figures.worker, figures.best
    return [
        f"Of the pairs that mean the same, {worker.recall:.1%} are found;"
        f" of those taken for the same, {worker.precision:.1%} mean the same.",
        f"{worker.falsely_joined:,} pairs would be joined wrongly and {worker.missed:,} kept apart wrongly,"
        f" of {figures.metrics.pairs:,}.",
        f"Among these pairs F1 is highest at {best.threshold:.3f}: {best.f1:.3f}, at the setting of"
        f" {worker.threshold:.3f} it is {worker.f1:.3f}. But {figures.metrics.same / figures.metrics.pairs:.0%} of them"
        " are the same, and of the pairs in a stream hardly any: what is best here may join too much there."
        " Gold groups tell better where the threshold belongs.",
    ]


def _advice(setting: float, best: float, f1: float, best_f1: float) -> str:
    if best_f1 - f1 < _WORTH:
        return f"The threshold of {setting:.3f} suits these labels: no other would give noticeably more."
    how = "strict: it keeps apart what belongs together" if setting > best else "loose: it joins what does not belong"
    return (
        f"For these labels the threshold of {setting:.3f} is too {how}."
        f" At {best:.3f} F1 would be {best_f1:.3f} instead of {f1:.3f}."
    )
