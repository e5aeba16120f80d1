"""The peers as a picture: rate, processor time and what a kill did, a bar for each way."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from questream.lab.bench.peers.measure import PeerFigures
from questream.lab.bench.pictures import picture

# Each with its title and the format of its bars' labels.
_FIGURES = {
    "questions_per_second": ("Questions a second", "{:,.0f}"),
    "cpu_microseconds": ("Processor time a question, us", "{:,.0f}"),
    "repeated": ("Answered twice around a kill -9", "{:,.0f}"),
    "other_id": ("Another id for the same text after it", "{:.1%}"),
}
_OWN = "questream"


def draw(figures: Sequence[PeerFigures], path: Path) -> None:
    """Write the picture of the ways that were measured to their end; the suffix of `path` says its format.

    Raises QuestreamError without matplotlib, or where the format is not one of its.
    """
    measured = [one for one in figures if one.questions is not None]
    names = [f"{one.name}\n({one.guarantee})" for one in measured]
    colours = ["C0" if one.name == _OWN else "0.7" for one in measured]
    with picture(path, 2.2 + 0.5 * len(measured)) as figure:
        for axes, (name, (title, form)) in zip(figure.subplots(1, len(_FIGURES)), _FIGURES.items(), strict=True):
            values = [getattr(one, name) for one in measured]
            bars = axes.barh(names, [value or 0 for value in values], color=colours)
            labels = ["?" if value is None else form.format(value) for value in values]
            axes.bar_label(bars, labels, padding=2, fontsize=8)
            axes.set_title(title, fontsize=9)
            axes.margins(x=0.25)
            axes.invert_yaxis()
            axes.tick_params(labelsize=8, labelleft=name == next(iter(_FIGURES)))
