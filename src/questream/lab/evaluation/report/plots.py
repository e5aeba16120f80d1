"""The plots of a report as SVG that takes its colours and its font from the page, in light and in dark."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from questream.errors import MissingExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from questream.lab.evaluation.agreement import SizeAgreement
    from questream.lab.evaluation.decisions import PairDecisions
    from questream.lab.evaluation.groups import CurvePoint
    from questream.operations.confidence import Reliability

# Colours that nothing else has, each in place of one of the page's.
_INK, _LINE, _ONE, _TWO, _THREE = "#010101", "#020202", "#030303", "#040404", "#050505"
_OF_PAGE = {_INK: "--ink", _LINE: "--line", _ONE: "--one", _TWO: "--two", _THREE: "--three"}
_STYLE = {
    "font.size": 9.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": _LINE,
    "axes.labelcolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.labelcolor": _INK,
    "text.color": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelcolor": _INK,
    "ytick.labelcolor": _INK,
    "lines.linewidth": 2.0,
    # Text stays text, and ids are the same at each run.
    "svg.fonttype": "none",
    "svg.hashsalt": "questream",
}
_INCHES = (4.4, 3.1)
_BINS = 60
_WITHOUT = {"Date": None, "Creator": None, "Format": None, "Type": None}


def require_matplotlib() -> None:
    """Raises MissingExtra, which says how to install it, where matplotlib is not."""
    try:
        import matplotlib.figure  # noqa: F401 - asked for, not used
    except ImportError:
        raise MissingExtra("--report", "matplotlib", "plots") from None


def threshold_curve(points: Sequence[CurvePoint], setting: float) -> str:
    """BCubed F1, precision and recall after the stream over thresholds, and F1 as published."""
    lines = {
        "precision": ([p.bcubed_precision for p in points], _TWO, "-"),
        "recall": ([p.bcubed_recall for p in points], _THREE, "-"),
        "F1": ([p.bcubed_f1 for p in points], _ONE, "-"),
        "F1 as published": ([p.published_f1 for p in points], _ONE, ":"),
    }
    return _curve([p.threshold for p in points], lines, setting)


def pair_curve(points: Sequence[PairDecisions], setting: float) -> str:
    """Precision, recall and F1 of pairs over thresholds."""
    lines = {
        "precision": ([p.precision for p in points], _TWO, "-"),
        "recall": ([p.recall for p in points], _THREE, "-"),
        "F1": ([p.f1 for p in points], _ONE, "-"),
    }
    return _curve([p.threshold for p in points], lines, setting)


def cluster_count(points: Sequence[CurvePoint], setting: float, groups: int) -> str:
    """A plot of the number of clusters at each threshold, beside the number of gold groups."""

    def draw(axes: Axes) -> None:
        axes.plot([p.threshold for p in points], [p.clusters for p in points], color=_ONE, label="clusters")
        axes.axhline(groups, color=_TWO, linestyle="--", linewidth=1.4, label="gold groups")
        axes.set_ylim(bottom=0)
        axes.set_xlabel("threshold")
        _mark(axes, {"setting": setting})

    return _drawn(draw)


def similarities(same: NDArray[np.float32], different: NDArray[np.float32], marks: Mapping[str, float]) -> str:
    """A plot of the similarities of same and of different pairs, each kind as a density; `marks` are thresholds."""

    def draw(axes: Axes) -> None:
        both = np.concatenate([same, different])
        bins = np.linspace(float(both.min()), float(both.max()) + 1e-6, _BINS).tolist()
        for scores, colour, label in ((different, _TWO, "different"), (same, _ONE, "same question")):
            if len(scores):
                axes.hist(scores, bins=bins, density=True, color=colour, alpha=0.55, label=label)
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        axes.set_xlabel("similarity")
        _mark(axes, marks)

    return _drawn(draw)


def sizes(by_size: Sequence[SizeAgreement]) -> str:
    """A plot of the numbers of clusters and of gold groups of each size."""

    def draw(axes: Axes) -> None:
        places = np.arange(len(by_size))
        for shift, name, colour, label in ((-0.2, "groups", _TWO, "gold groups"), (0.2, "clusters", _ONE, "clusters")):
            counts = [getattr(one, name) for one in by_size]
            bars = axes.bar(places + shift, counts, 0.38, color=colour, label=label)
            axes.bar_label(bars, [f"{count:,}" if count else "" for count in counts], fontsize=8, padding=1)
        axes.set_yscale("symlog", linthresh=10)
        axes.set_ylim(bottom=0)
        axes.yaxis.set_visible(False)
        axes.spines["left"].set_visible(False)
        axes.grid(visible=False)
        axes.set_xticks(places, [size_name(one) for one in by_size])
        axes.set_xlabel("questions in it")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5)

    return _drawn(draw)


def reliability_diagram(found: Reliability) -> str:
    """A plot of the share of right joins at each confidence; on the diagonal the two are equal."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=_INK, linestyle=":", linewidth=1.2, label="as it says")
        axes.plot([one.confidence for one in found.bins], [one.right for one in found.bins], color=_ONE, zorder=2)
        largest = max(one.decisions for one in found.bins)
        areas = [12 + 120 * one.decisions / largest for one in found.bins]
        axes.scatter(
            [one.confidence for one in found.bins],
            [one.right for one in found.bins],
            s=areas,
            color=_ONE,
            zorder=3,
            label="joins, by how many",
        )
        axes.set_xlim(0, 1.02)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("confidence")
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=2, fontsize=8.5)

    return _drawn(draw)


def size_name(one: SizeAgreement) -> str:
    """The sizes of a row in words: `3-5`, `over 100`."""
    if one.most is None:
        return f"over {one.least - 1}"
    return str(one.least) if one.least == one.most else f"{one.least}-{one.most}"


def _curve(thresholds: Sequence[float], lines: Mapping[str, tuple[list[float], str, str]], setting: float) -> str:
    def draw(axes: Axes) -> None:
        for label, (values, colour, style) in lines.items():
            axes.plot(thresholds, values, color=colour, linestyle=style, label=label)
        axes.set_ylim(0, 1.02)
        axes.set_xlabel("threshold")
        _mark(axes, {"setting": setting})

    return _drawn(draw)


def _mark(axes: Axes, marks: Mapping[str, float]) -> None:
    for (label, threshold), style in zip(marks.items(), ("-", "--", ":"), strict=False):
        axes.axvline(threshold, color=_INK, linestyle=style, linewidth=1.2, label=f"{label} {threshold:.3f}")
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8.5, columnspacing=1.2)


def _drawn(draw: Any) -> str:
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=_INCHES, layout="constrained")
        draw(figure.subplots())
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata=_WITHOUT)
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].replace("<svg", '<svg role="img"', 1)
    return re.sub("#0[1-5]0[1-5]0[1-5]", lambda colour: f"var({_OF_PAGE[colour[0]]})", svg)
