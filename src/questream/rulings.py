"""What people say of a cluster, each by itself: an entry for each such field of a `Ruling`, how it is written and told.

Names, separations, exemplars and the question that stands for a cluster have forms of their own where they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from questream.domain import DISMISSIBLE, THRESHOLD_DIGITS, UNRULED, Dismissible, Ruling

# What JSON has without loss wherever it is read.
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class Said:
    """A field of a ruling that JSON has as it is.

    `read` takes it from there; it raises ValueError for a value that is none. `flags` are its letters among the flags
    that the store keeps of a cluster, and `of_flags` finds it in them all. `told` are words for people.
    """

    name: str
    read: Callable[[Any], Any]
    flags: Callable[[Any], str]
    of_flags: Callable[[str], Any]
    told: Callable[[Any], str]


def threshold_text(threshold: float | None) -> str:
    """A cluster's own threshold, '' for none."""
    return "" if threshold is None else f"{threshold:.{THRESHOLD_DIGITS}f}"


def _switch(name: str, letter: str) -> Said:
    """Whether people said it."""

    def read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is true or false")
        return value

    return Said(
        name,
        read,
        lambda is_on: letter * is_on,
        lambda flags: letter in flags,
        lambda is_on: name if is_on else f"not {name}",
    )


def _number(
    name: str, letter: str, of: type[int] | type[float], text: Callable[[Any], str], told: Callable[[Any], str]
) -> Said:
    """A number, or None."""
    written = re.compile(rf"{letter}([\d.]+)")

    def read(value: Any) -> float | None:
        if value is not None and (type(value) not in (int, of) or not 0 <= value <= _LARGEST):
            raise ValueError(f"{name} is a number, or null")
        return None if value is None else of(value)

    def of_flags(flags: str) -> float | None:
        found = written.search(flags)
        return None if found is None else of(found[1])

    return Said(name, read, lambda value: "" if value is None else letter + text(value), of_flags, told)


_DISMISSED: dict[Dismissible, str] = {"name": "n", "split": "s"}


def _read_dismissed(value: Any) -> tuple[Dismissible, ...]:
    """Those that this release knows."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("dismissed is a list of texts")
    return tuple(one for one in DISMISSIBLE if one in value)


# In the order of their flags: the store compares what it keeps as a text.
SAID = (
    _switch("pinned", "p"),
    _switch("muted", "m"),
    Said(
        "dismissed",
        _read_dismissed,
        lambda dismissed: "".join(_DISMISSED[one] for one in dismissed),
        lambda flags: tuple(one for one in DISMISSIBLE if _DISMISSED[one] in flags),
        lambda dismissed: f"suggestions dismissed: {', '.join(dismissed) or 'none'}",
    ),
    _number(
        "threshold",
        "t",
        float,
        threshold_text,
        lambda own: "threshold of the namespace" if own is None else f"threshold {own:g}",
    ),
    _number(
        "resolved_size",
        "r",
        int,
        str,
        lambda size: "open" if size is None else f"resolved at {size:,} questions",
    ),
)


def said_document(ruling: Ruling) -> dict[str, Any]:
    """These fields in JSON."""
    return {one.name: getattr(ruling, one.name) for one in SAID}


def read_said(document: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `said_document`; a field that an earlier release did not write is as nobody said it.

    Raises ValueError.
    """
    return {
        one.name: one.read(document[one.name]) if one.name in document else getattr(UNRULED, one.name) for one in SAID
    }


def flags_of(ruling: Ruling) -> str:
    """These fields as the flags that the store keeps of a cluster, '-' for none."""
    return "".join(one.flags(getattr(ruling, one.name)) for one in SAID) or "-"


def read_flags(flags: str) -> dict[str, Any]:
    """The inverse of `flags_of`. Raises ValueError."""
    return {one.name: one.of_flags(flags) for one in SAID}


def told_of(ruling: Ruling) -> list[str]:
    """What people said of a cluster, in words."""
    found = [(one, getattr(ruling, one.name)) for one in SAID]
    return [one.told(value) for one, value in found if value != getattr(UNRULED, one.name)]
