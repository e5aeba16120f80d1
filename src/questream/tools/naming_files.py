"""Labels and routes from a file as `questream clusters export` writes it, looked through and changed by somebody."""

from __future__ import annotations

from pathlib import Path

from questream.domain import parse_cluster_id
from questream.errors import QuestreamError
from questream.records.rows import Row, at_line, read_rows

# What a spreadsheet takes for the beginning of a formula, in both widths: the export puts an apostrophe before it.
FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_MOST_ROWS = 100_000


def read_namings(path: Path, namespace: str) -> dict[int, tuple[str | None, str | None]]:
    """Label and route by cluster id: empty where the file has none, None where it has no such column.

    Raises QuestionFileError with the line of a row that names no cluster of `namespace`, or one that was named before.
    """
    namings: dict[int, tuple[str | None, str | None]] = {}
    for line, row in read_rows(path, [["cluster_id"]]):
        try:
            cluster_id = parse_cluster_id(str(row.get("cluster_id")))
        except ValueError as error:
            raise at_line(path, line, str(error)) from None
        if row.get("namespace", namespace) != namespace:
            raise at_line(path, line, "the cluster is of another namespace: give that as --namespace")
        if cluster_id in namings:
            raise at_line(path, line, "the cluster was named in a line before")
        if "label" not in row and "route" not in row:
            raise at_line(path, line, "there must be a label, a route or both")
        namings[cluster_id] = (_text(path, line, row, "label"), _text(path, line, row, "route"))
        if len(namings) > _MOST_ROWS:
            raise QuestreamError(f"the file has more than {_MOST_ROWS:,} clusters", "name them in parts")
    return namings


def shown_cell(text: str) -> str:
    """A text as a spreadsheet shows it: one that would be a formula there has an apostrophe before it."""
    return f"'{text}" if text.lstrip().startswith(FORMULA) else text


def text_of_cell(text: str) -> str:
    """The inverse of `shown_cell`."""
    return text[1:] if text.startswith("'") and text[1:].lstrip().startswith(FORMULA) else text


def _text(path: Path, line: int, row: Row, name: str) -> str | None:
    if name not in row:
        return None
    text = row[name]
    if text is None:
        return ""
    if not isinstance(text, str):
        raise at_line(path, line, f"the {name} must be a text")
    return text_of_cell(text).strip()
