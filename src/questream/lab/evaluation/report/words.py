"""The figures in plain words."""

from __future__ import annotations

from questream.lab.evaluation.evaluate import PairFigures
from questream.lab.evaluation.groups import GroupFigures

# A gain below this is within what another order of the same questions moves.
_WORTH = 0.01
_WORTH_OF_PAIRS = 0.05
# A threshold with more of the questions in heaps suits nobody who routes by clusters, whatever its F1.
_MOST_IN_HEAPS = 0.03


def group_verdict(figures: GroupFigures, threshold: float) -> list[str]:
    """The verdict on a stream clustered at `threshold`, for a support lead, a sentence each."""
    first, after = figures.first, figures.first.after
    spread = sum(one.clusters_per_group * one.groups for one in figures.by_size if one.groups) / after.groups
    return [
        f"Take any question: of its cluster, {after.bcubed_precision:.0%} on average are of its own group;"
        f" of its group, {after.bcubed_recall:.0%} are in that cluster.",
        f"Of 100 questions, {100 * first.published.falsely_joined:.1f} were put into a cluster in which nobody before"
        " had asked what they ask.",
        f"A group is spread over {spread:.1f} clusters on average: {after.clusters:,.0f} clusters"
        f" for {after.groups:,.0f} groups.",
        *_heaps(figures, threshold),
        _of_level(threshold, figures) or _advice(threshold, figures),
    ]


def pair_verdict(figures: PairFigures) -> list[str]:
    """The verdict on pairs classified at the worker's threshold, for a support lead, a sentence each."""
    worker, best = figures.worker, figures.best
    return [
        f"Of the pairs that mean the same, {worker.recall:.1%} are found;"
        f" of those taken for the same, {worker.precision:.1%} mean the same.",
        f"{worker.falsely_joined:,} pairs would be joined wrongly and {worker.missed:,} kept apart wrongly,"
        f" of {figures.metrics.pairs:,}.",
        f"Among these pairs F1 is highest at {best.threshold:.3f}: {best.f1:.3f}, at the setting of"
        f" {worker.threshold:.3f} it is {worker.f1:.3f}. But {figures.metrics.same / figures.metrics.pairs:.0%} of them"
        " are the same, and of the pairs in a stream hardly any: what is best here may join too much there."
        " Gold groups show better where the threshold belongs.",
    ]


def _heaps(figures: GroupFigures, setting: float) -> list[str]:
    """The share of questions in heaps, and the threshold from which on there are hardly any."""
    share = figures.first.after.heap_share
    if share == 0:
        return []
    said = [
        f"{share:.0%} of the questions are in heaps, clusters more than twice as large as the largest group:"
        " no team can be the one for such a cluster."
    ]
    finer = [point for point in figures.curve if point.threshold > setting and point.heap_share <= _MOST_IN_HEAPS]
    if share > _MOST_IN_HEAPS and finer:
        said.append(
            f"From {finer[0].threshold:.3f} on it is {finer[0].heap_share:.0%}, at F1 {finer[0].bcubed_f1:.3f}."
        )
    return said


def _of_level(setting: float, figures: GroupFigures) -> str:
    """That the labels are of a level above the clusters, where it comes as near to them as any threshold does."""
    f1, best = figures.first.after.bcubed_f1, figures.best
    nearest = max(figures.levels, key=lambda level: level.after.bcubed_f1, default=None)
    if nearest is None or setting < best.threshold or nearest.after.bcubed_f1 - max(f1, best.bcubed_f1) < -_WORTH:
        return ""
    if nearest.after.bcubed_f1 - f1 < _WORTH or nearest.after.heap_share > _MOST_IN_HEAPS:
        return ""
    return (
        f"These labels are as wide as {nearest.level}s: those above the clusters of {setting:.3f} reach F1"
        f" {nearest.after.bcubed_f1:.3f}, where clusters alone reach {f1:.3f} and at most {best.bcubed_f1:.3f}, at"
        f" {best.threshold:.3f}{_end(figures)}. Leave the threshold as it is, and compare the {nearest.level}s with"
        " your labels."
    )


def _advice(setting: float, figures: GroupFigures) -> str:
    after, best = figures.first.after, figures.best
    if best.bcubed_f1 - after.bcubed_f1 < _WORTH:
        if after.heap_share > _MOST_IN_HEAPS:
            return f"F1 would be no higher at another threshold than {setting:.3f}, but it does not see the heaps."
        alike = [
            point
            for point in figures.curve
            if best.bcubed_f1 - point.bcubed_f1 < _WORTH and point.heap_share <= _MOST_IN_HEAPS
        ]
        of_pairs = max(alike, key=lambda point: point.adjusted_rand_index, default=best)
        if of_pairs.adjusted_rand_index - after.adjusted_rand_index > _WORTH_OF_PAIRS:
            return (
                f"F1 would be hardly higher at another threshold than {setting:.3f}, but where most questions are alone"
                f" it hardly sees pairs: at {of_pairs.threshold:.3f} the adjusted Rand index would be"
                f" {of_pairs.adjusted_rand_index:.3f} instead of {after.adjusted_rand_index:.3f}, at F1"
                f" {of_pairs.bcubed_f1:.3f}."
            )
        return f"The threshold of {setting:.3f} suits these labels: no other would give noticeably more."
    strict = setting > best.threshold
    how = "strict: it keeps apart what belongs together" if strict else "loose: it joins what does not belong"
    but = f", with {best.heap_share:.0%} of the questions in heaps" if best.heap_share > _MOST_IN_HEAPS else ""
    return (
        f"For these labels the threshold of {setting:.3f} is too {how}."
        f" At {best.threshold:.3f}{_end(figures)} F1 would be {best.bcubed_f1:.3f} instead of"
        f" {after.bcubed_f1:.3f}{but}.{_level_instead(figures) if strict else ''}"
    )


def _level_instead(figures: GroupFigures) -> str:
    """That a level above the clusters comes nearer to the labels, and what proposes its width."""
    nearest = max(figures.levels, key=lambda level: level.after.bcubed_f1, default=None)
    if nearest is None or nearest.after.bcubed_f1 - figures.first.after.bcubed_f1 < _WORTH:
        return ""
    return (
        f" But {nearest.level}s above these clusters already have {nearest.after.bcubed_f1:.3f}: questream calibrate"
        f" --level {nearest.level} proposes a resolution for your labels, and clusters stay as they are."
    )


def _end(figures: GroupFigures) -> str:
    """That the best threshold is the first or last of those tried, beyond which a better one may be."""
    if len(figures.curve) < 2 or figures.best not in (figures.curve[0], figures.curve[-1]):
        return ""
    return f" (the {'lowest' if figures.best == figures.curve[0] else 'highest'} tried)"
