"""The comparison as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from questream.lab.bench.quality.goals import Goal, goals_of, reference_f1
from questream.lab.bench.quality.measure import Figures
from questream.settings import Granularity

_COLUMNS = [
    "method",
    "setting",
    "orders#",
    "F1 published#",
    "F1 after#",
    "to offline#",
    "P#",
    "R#",
    "ARI#",
    "V#",
    "clusters#",
    "false joins#",
    "in heaps#",
    "s#",
    "MiB#",
]


def print_quality(
    title: str,
    figures: Sequence[Figures],
    granularity: Granularity,
    line: Callable[[str], None],
    table: Callable[[Sequence[str], Sequence[Sequence[str]]], None],
) -> None:
    """One data set: BCubed F1 as published, then the figures after the stream; an oracle setting bears an asterisk.

    "to offline" is the difference in points to the better of both rows of offline average linkage. Below the table:
    what was stopped or is absent, and whether the goals hold.
    """
    line(f"\n{title}")
    reference = reference_f1(figures)
    table(_COLUMNS, [_row(one, reference) for one in figures])
    for one in figures:
        if one.remark is not None:
            line(f"{one.method}: {one.remark}")
    for goal in goals_of(figures, granularity):
        line(_goal_line(goal))


def _goal_line(goal: Goal) -> str:
    value = f"{goal.value:.1%}" if "%" in goal.bound else f"{goal.value:+.1f}"
    return f"{'holds' if goal.holds else 'falls short'}: {goal.method}: {goal.bound}: {value}"


def _row(figures: Figures, reference: float | None) -> list[str]:
    after = figures.after
    if after is None:
        return [figures.method, *[""] * (len(_COLUMNS) - 1)]
    joins = (figures.published or after).falsely_joined
    return [
        figures.method,
        figures.setting,
        str(figures.orders),
        "" if figures.published is None else f"{figures.published.bcubed_f1:.3f}",
        f"{after.bcubed_f1:.3f}" + (f" ±{figures.spread:.3f}" if figures.orders > 1 else ""),
        "" if reference is None else f"{100 * (after.bcubed_f1 - reference):+.1f}",
        f"{after.bcubed_precision:.3f}",
        f"{after.bcubed_recall:.3f}",
        f"{after.adjusted_rand_index:.3f}",
        f"{after.v_measure:.3f}",
        f"{after.clusters:,.0f}",
        f"{joins:.1%}",
        f"{after.heap_share:.1%}",
        f"{figures.seconds:.1f}",
        "?" if figures.peak_mib is None else f"{figures.peak_mib:,.0f}",
    ]
