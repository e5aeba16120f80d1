"""Evaluations for a terminal and for a program."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from questream.lab.evaluation.agreement import Agreement, SizeAgreement
from questream.lab.evaluation.evaluate import GroupEvaluation, PairEvaluation
from questream.lab.evaluation.groups import CurvePoint, GroupFigures, LevelFigures
from questream.lab.evaluation.mixing import Breakdown, MixedCluster, broken_down, largest
from questream.lab.evaluation.report.page import Evaluation, Subject
from questream.lab.evaluation.report.plots import size_name
from questream.lab.evaluation.report.words import group_verdict, pair_verdict

Line = Callable[[str], None]
Table = Callable[[Sequence[str], Sequence[Sequence[str]]], None]

_MEASURES = ("cossim", "manhattan", "euclidean", "dot")
_FIGURES = {
    "bcubed_f1": "BCubed F1",
    "bcubed_precision": "BCubed precision",
    "bcubed_recall": "BCubed recall",
    "adjusted_rand_index": "adjusted Rand index",
    "v_measure": "V-measure",
    "pairwise_f1": "pairwise F1",
    "falsely_joined": "falsely joined",
    "heap_share": "in heaps",
    "clusters": "clusters",
}
_CURVE_STEP = 0.05
_BIG_CLUSTERS = 5
_NAME_CHARACTERS = 24


def figures_document(subject: Subject, evaluations: Mapping[str, Evaluation]) -> dict[str, Any]:
    """All figures, for a program; no question is in it."""
    return {
        "questream": subject.version,
        "model": subject.model,
        "revision": subject.revision,
        "granularity": subject.granularity,
        "rules": asdict(subject.rules),
        "files": [{"file": name} | _document(evaluation) for name, evaluation in evaluations.items()],
    }


def print_figures(evaluation: Evaluation, threshold: float, line: Line, table: Table) -> None:
    """One file's figures as tables, and what they come to in words; `threshold` is the setting."""
    if isinstance(evaluation, PairEvaluation):
        _print_pairs(evaluation, line, table)
    else:
        _print_groups(evaluation, threshold, line, table)


def _document(evaluation: Evaluation) -> dict[str, Any]:
    figures, file = evaluation.figures, evaluation.file
    if isinstance(evaluation, PairEvaluation):
        pairs = evaluation.figures
        return {
            "kind": "pairs",
            "pairs": pairs.metrics.pairs,
            "same": pairs.metrics.same,
            "empty": file.empty,
            "left_out": file.left_out,
            "metrics": pairs.metrics.named(),
            "intervals": {"cossim_ap": [*pairs.intervals.ap], "cossim_f1": [*pairs.intervals.f1]},
            "worker": asdict(pairs.worker),
            "best": asdict(pairs.best),
            "curve": [asdict(point) for point in pairs.curve],
            "encoding_seconds": pairs.encoding_seconds,
        }
    return {
        "kind": "groups",
        "empty": file.empty,
        "ungrouped": evaluation.file.ungrouped,
        "contradicted": evaluation.file.contradicted,
        "left_out": file.left_out,
        **asdict(figures),
        "best": asdict(evaluation.figures.best),
        "two_in_one": {
            "clusters": len(evaluation.mixed_clusters),
            "questions": sum(one.questions for one in evaluation.mixed_clusters),
        },
        "encoding_seconds": evaluation.encoding_seconds,
    }


def _print_pairs(evaluation: PairEvaluation, line: Line, table: Table) -> None:
    figures, file = evaluation.figures, evaluation.file
    line(
        f"{figures.metrics.pairs:,} pairs, {figures.metrics.same:,} of them the same question"
        + _passed_over({"with an empty text passed over": file.empty, "not drawn": file.left_out})
    )
    names = ["accuracy", "accuracy_threshold", "f1", "f1_threshold", "precision", "recall", "ap"]
    table(
        ["measure", *(f"{name.replace('_', ' ')}#" for name in names)],
        [[m, *(f"{getattr(getattr(figures.metrics, m), name):.4f}" for name in names)] for m in _MEASURES],
    )
    low, high = figures.intervals.ap
    line(f"Average precision of the cosine lies between {low:.3f} and {high:.3f} in 95 of 100 files like this one.")
    for sentence in pair_verdict(figures):
        line(sentence)


def _print_groups(evaluation: GroupEvaluation, threshold: float, line: Line, table: Table) -> None:
    figures, file = evaluation.figures, evaluation.file
    after = figures.first.after
    order = {"time": "by time", "file": "in the order of the file"}[figures.order]
    passed = {
        "without a text passed over": file.empty,
        "without a gold group passed over": file.ungrouped,
        "not drawn": file.left_out,
        "with a text that also is in another gold group": file.contradicted,
    }
    line(f"{after.questions:,.0f} questions in {after.groups:,.0f} gold groups, {order}{_passed_over(passed)}")
    columns = ["", "as published#", "after#"]
    if figures.shuffled:
        columns += [f"{len(figures.shuffled)} shuffles, published#", "after#"]
    table(columns, [[title, *_row(name, figures)] for name, title in _FIGURES.items()])
    line("\nBy size of gold group, after the stream")
    table(
        ["questions in it", "gold groups#", "clusters#", "F1#", "precision#", "recall#", "clusters per group#"],
        [_size_row(one) for one in figures.by_size],
    )
    line("\nThe biggest clusters, after the stream, and the gold groups in them")
    table(
        ["questions#", "gold groups#", "most of them"], [_big_cluster(one, file.groups) for one in _biggest(evaluation)]
    )
    if evaluation.mixed_clusters:
        share = sum(one.questions for one in evaluation.mixed_clusters) / after.questions
        count = len(evaluation.mixed_clusters)
        line(f"\nClusters that look like two: {count:,}, {share:.1%} of the questions; the first")
        table(
            ["questions#", "larger part", "smaller part"],
            [_halves(one, evaluation) for one in evaluation.mixed_clusters[:_BIG_CLUSTERS]],
        )
    line("\nIntents and topics, groups of these clusters")
    table(
        ["", "F1 published#", "F1 after#", "ARI published#", "ARI after#", "in heaps#", "groups#", "changed later#"],
        [_level_row(one) for one in figures.levels],
    )
    if figures.reliability is not None:
        line("\nConfidence, fitted to four fifths of the questions that joined a cluster, and measured on the others")
        table(
            ["confidence", "questions#", "mean#", "right#"],
            [
                [f"{one.low:.1f} to {one.high:.1f}", f"{one.decisions:,}", f"{one.confidence:.3f}", f"{one.right:.3f}"]
                for one in figures.reliability.bins
            ],
        )
        line(f"calibration error {figures.reliability.calibration_error:.3f}, Brier {figures.reliability.brier:.3f}")
    line("\nAt other thresholds")
    table(
        [
            "threshold#",
            "F1 published#",
            "F1 after#",
            "precision#",
            "recall#",
            "ARI#",
            "clusters#",
            "false joins#",
            "in heaps#",
            "",
        ],
        [_point(point, threshold, figures) for point in figures.curve if _is_shown(point, threshold, figures)],
    )
    for sentence in group_verdict(figures, threshold):
        line(sentence)


def _row(name: str, figures: GroupFigures) -> list[str]:
    cells = [_cell(name, figures.first.published), _cell(name, figures.first.after)]
    mean, spread = figures.shuffled_mean, figures.shuffled_spread
    if mean is not None and spread is not None:
        cells.append(f"{_cell(name, mean.published)} ±{_cell(name, spread.published)}")
        cells.append(f"{_cell(name, mean.after)} ±{_cell(name, spread.after)}")
    return cells


def _cell(name: str, figures: Agreement) -> str:
    value = getattr(figures, name)
    return f"{value:,.0f}" if name == "clusters" else f"{value:.3f}"


def _size_row(one: SizeAgreement) -> list[str]:
    counts = [size_name(one), f"{one.groups:,}", f"{one.clusters:,}"]
    if not one.groups:
        return [*counts, *[""] * 4]
    scores = (one.bcubed_f1, one.bcubed_precision, one.bcubed_recall)
    return [*counts, *(f"{score:.3f}" for score in scores), f"{one.clusters_per_group:.1f}"]


def _level_row(one: LevelFigures) -> list[str]:
    scores = [
        getattr(side, name) for name in ("bcubed_f1", "adjusted_rand_index") for side in (one.published, one.after)
    ]
    return [
        one.level,
        *(f"{score:.3f}" for score in scores),
        f"{one.after.heap_share:.1%}",
        f"{one.after.clusters:,.0f}",
        f"{one.changed:.1%}",
    ]


def _biggest(evaluation: GroupEvaluation) -> list[Breakdown]:
    after, gold = evaluation.clustering.after, evaluation.stream.gold
    return broken_down(after, gold, largest(after, _BIG_CLUSTERS))


def _big_cluster(one: Breakdown, groups: Sequence[str]) -> list[str]:
    parts = [f"{part.questions:,} {_shortened(groups[part.of])}" for part in one.largest]
    return [
        f"{one.questions:,}",
        f"{one.parts:,}",
        ", ".join(parts) + (f", {one.rest:,} of others" if one.rest else ""),
    ]


def _halves(one: MixedCluster, evaluation: GroupEvaluation) -> list[str]:
    def figures(rows: Sequence[int]) -> str:
        groups = Counter(evaluation.stream.gold[rows].tolist())
        group, shared = groups.most_common(1)[0]
        return f"{len(rows):,}, of them {shared:,} {_shortened(evaluation.file.groups[group])}"

    return [f"{one.questions:,}", figures(one.larger), figures(one.smaller)]


def _shortened(name: str) -> str:
    return name if len(name) <= _NAME_CHARACTERS else name[: _NAME_CHARACTERS - 1] + "…"


def _is_shown(point: CurvePoint, threshold: float, figures: GroupFigures) -> bool:
    steps = point.threshold / _CURVE_STEP
    return point.threshold in (threshold, figures.best.threshold) or abs(steps - round(steps)) < 1e-6


def _point(point: CurvePoint, threshold: float, figures: GroupFigures) -> list[str]:
    marks = ["the setting"] * (point.threshold == threshold) + ["best"] * (point == figures.best)
    return [
        f"{point.threshold:.3f}",
        f"{point.published_f1:.3f}",
        f"{point.bcubed_f1:.3f}",
        f"{point.bcubed_precision:.3f}",
        f"{point.bcubed_recall:.3f}",
        f"{point.adjusted_rand_index:.3f}",
        f"{point.clusters:,}",
        f"{point.falsely_joined:.1%}",
        f"{point.heap_share:.1%}",
        ", ".join(marks),
    ]


def _passed_over(counts: Mapping[str, int]) -> str:
    return "".join(f"; {count:,} {why}" for why, count in counts.items() if count)
