"""A figure of matplotlib's, and the file that it is written to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from questream.errors import MissingExtra, QuestreamError

_INCHES_WIDE = 12


@contextmanager
def picture(path: Path, height: float) -> Iterator[Any]:
    """A figure of so many inches in height to draw into, written at the end; the suffix of `path` says its format.

    Raises QuestreamError without matplotlib, or where the format is not one of its.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtra("--plot", "matplotlib", "plots") from None
    figure = Figure(figsize=(_INCHES_WIDE, height), layout="constrained")
    yield figure
    try:
        figure.savefig(path)
    except ValueError as error:
        raise QuestreamError(f"matplotlib cannot write {path.name}: {error}") from error
