"""The comparison as a table for people."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from questream.bench.quality.measure import Figures

_COLUMNS = [
    "method",
    "setting",
    "F1 published#",
    "F1 after#",
    "P#",
    "R#",
    "ARI#",
    "V#",
    "clusters#",
    "false joins#",
    "s#",
    "MiB#",
]


def print_quality(
    title: str,
    figures: Sequence[Figures],
    line: Callable[[str], None],
    table: Callable[[Sequence[str], Sequence[Sequence[str]]], None],
) -> None:
    """One data set: BCubed F1 as published, then the figures after the stream; an oracle setting bears an asterisk."""
    line(f"\n{title}")
    table(_COLUMNS, [_row(one) for one in figures])


def _row(figures: Figures) -> list[str]:
    after = figures.after
    if after is None:
        return [figures.method, figures.absent or "", *[""] * (len(_COLUMNS) - 2)]
    joins = (figures.published or after).falsely_joined
    return [
        figures.method,
        figures.setting + "*" * (figures.settings_tried > 1),
        "" if figures.published is None else f"{figures.published.bcubed_f1:.3f}",
        f"{after.bcubed_f1:.3f}" + (f" ±{figures.spread:.3f}" if figures.orders > 1 else ""),
        f"{after.bcubed_precision:.3f}",
        f"{after.bcubed_recall:.3f}",
        f"{after.adjusted_rand_index:.3f}",
        f"{after.v_measure:.3f}",
        f"{after.clusters:,.0f}",
        f"{joins:.1%}",
        f"{figures.seconds:.1f}",
        "?" if figures.peak_mib is None else f"{figures.peak_mib:,.0f}",
    ]
