"""Labels and routes from a file as `questream clusters export` writes it, looked through and changed by somebody."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from questream.domain import parse_cluster_id
from questream.errors import QuestreamError
from questream.records.paths import ABSENT
from questream.records.rows import Row, at_line, read_rows

# First characters of a formula in a spreadsheet, in both widths: the export puts an apostrophe before it.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_MOST_ROWS = 100_000


def read_namings(path: Path, namespace: str) -> dict[int, tuple[str | None, str | None]]:
    """Label and route by cluster id: empty where the file has none, None where it has no such column.

    Raises QuestionFileError with the line of a row that names no cluster of `namespace`, or one that was named before.
    """
    namings: dict[int, tuple[str | None, str | None]] = {}
    for line, row in read_rows(path, [["cluster_id"]], optional=["label", "route", "namespace"]):
        try:
            cluster_id = parse_cluster_id(str(cell_of(row, "cluster_id")))
        except ValueError as error:
            raise at_line(path, line, str(error)) from None
        if cell_of(row, "namespace") not in (ABSENT, namespace):
            raise at_line(path, line, "the cluster is of another namespace: give that as --namespace")
        if cluster_id in namings:
            raise at_line(path, line, "the cluster was named in a line before")
        label, route = text_at(path, line, row, "label"), text_at(path, line, row, "route")
        if label is None and route is None:
            raise at_line(path, line, "there must be a label, a route or both")
        namings[cluster_id] = (label, route)
        if len(namings) > _MOST_ROWS:
            raise QuestreamError(f"the file has more than {_MOST_ROWS:,} clusters", "name them in parts")
    return namings


def shown_cell(text: str) -> str:
    """A text as a spreadsheet shows it: one that would be a formula there has an apostrophe before it."""
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def text_of_cell(text: str) -> str:
    """The inverse of `shown_cell`."""
    return text[1:] if text.startswith("'") and text[1:].lstrip().startswith(FORMULA) else text


def cell_of(row: Row, name: str) -> Any:
    """The value of a row under a name, ABSENT if there is none; capitals do not count."""
    if name in row:
        return row[name]
    return next((value for given, value in row.items() if given.lower() == name), ABSENT)


def text_at(path: Path, line: int, row: Row, name: str) -> str | None:
    """The text under a name: empty for a null, None where the row has no such name. Raises QuestionFileError."""
    text = cell_of(row, name)
    if text is ABSENT:
        return None
    if text is None:
        return ""
    if not isinstance(text, str):
        raise at_line(path, line, f"the {name} must be a text")
    return text_of_cell(text).strip()
