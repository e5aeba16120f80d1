"""The plain fields of a `Ruling`, an entry each: their JSON, their flags in the store, and their words for people.

Names, separations, exemplars and the representative question have forms of their own where they are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from questream.domain import DISMISSIBLE, THRESHOLD_DIGITS, UNRULED, Dismissible, Ruling

# The largest integer that any reader of JSON keeps exactly.
_LARGEST = 2**53


@dataclass(frozen=True, slots=True)
class RulingField:
    """A field of a ruling that JSON holds as it is.

    `read` validates a JSON value and raises ValueError. `flags` writes the value as letters of the flags that the store
    keeps of a cluster, `parse_flags` reads it from them. `describe` words it for people.
    """

    name: str
    read: Callable[[Any], Any]
    flags: Callable[[Any], str]
    parse_flags: Callable[[str], Any]
    describe: Callable[[Any], str]


def threshold_text(threshold: float | None) -> str:
    """A cluster's own threshold, '' for none."""
    return "" if threshold is None else f"{threshold:.{THRESHOLD_DIGITS}f}"


def _boolean(name: str, letter: str) -> RulingField:
    """A field that is true or false."""

    def read(value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError(f"{name} is true or false")
        return value

    return RulingField(
        name,
        read,
        lambda is_on: letter * is_on,
        lambda flags: letter in flags,
        lambda is_on: name if is_on else f"not {name}",
    )


def _number(
    name: str, letter: str, of: type[int] | type[float], text: Callable[[Any], str], describe: Callable[[Any], str]
) -> RulingField:
    """A number, or None."""
    written = re.compile(rf"{letter}([\d.]+)")

    def read(value: Any) -> float | None:
        if value is not None and (type(value) not in (int, of) or not 0 <= value <= _LARGEST):
            raise ValueError(f"{name} is a number, or null")
        return None if value is None else of(value)

    def parse_flags(flags: str) -> float | None:
        found = written.search(flags)
        return None if found is None else of(found[1])

    return RulingField(name, read, lambda value: "" if value is None else letter + text(value), parse_flags, describe)


_DISMISSED: dict[Dismissible, str] = {"name": "n", "split": "s"}


def _read_dismissed(value: Any) -> tuple[Dismissible, ...]:
    """The fields that this release knows."""
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ValueError("dismissed is a list of texts")
    return tuple(one for one in DISMISSIBLE if one in value)


# In the order of their flags: the store compares what it keeps as a text.
RULING_FIELDS = (
    _boolean("pinned", "p"),
    _boolean("muted", "m"),
    RulingField(
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


def write_ruling_fields(ruling: Ruling) -> dict[str, Any]:
    """These fields in JSON."""
    return {one.name: getattr(ruling, one.name) for one in RULING_FIELDS}


def read_ruling_fields(document: Mapping[str, Any]) -> dict[str, Any]:
    """The inverse of `write_ruling_fields`; a field that an earlier release did not write has its default.

    Raises ValueError.
    """
    return {
        one.name: one.read(document[one.name]) if one.name in document else getattr(UNRULED, one.name)
        for one in RULING_FIELDS
    }


def flags_of(ruling: Ruling) -> str:
    """These fields as the flags that the store keeps of a cluster, '-' for none."""
    return "".join(one.flags(getattr(ruling, one.name)) for one in RULING_FIELDS) or "-"


def read_flags(flags: str) -> dict[str, Any]:
    """The inverse of `flags_of`. Raises ValueError."""
    return {one.name: one.parse_flags(flags) for one in RULING_FIELDS}


def describe_ruling(ruling: Ruling) -> list[str]:
    """The fields that differ from their defaults, in words."""
    found = [(one, getattr(ruling, one.name)) for one in RULING_FIELDS]
    return [one.describe(value) for one, value in found if value != getattr(UNRULED, one.name)]
