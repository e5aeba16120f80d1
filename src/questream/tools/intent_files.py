"""Known intents as a file: one JSON object an intent, or a table with one example a row."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from questream.domain import LABEL_OR_ROUTE_CHARACTERS, THRESHOLD_DIGITS
from questream.errors import QuestreamError
from questream.operations.intents import ExportedIntent
from questream.records.paths import ABSENT
from questream.records.rows import Row, at_line, read_rows
from questream.tools.naming_files import cell_of, shown_cell, text_at, text_of_cell

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

_MOST_INTENTS = 10_000
_MOST_EXAMPLES = 20_000
LONGEST_NAME = 200


@dataclass(slots=True)
class GivenIntent:
    """An intent of a file: `route` and `threshold` None where the file has no such column, `threshold` 0 for none.

    Its examples with their lines.
    """

    name: str
    route: str | None
    threshold: float | None = None
    examples: list[tuple[int, str]] = field(default_factory=list)


def read_intents(path: Path) -> list[GivenIntent]:
    """The intents of a file in their order; rows of one name are one intent.

    Fields are `name`, `route`, `threshold` and `examples`: a list, or a text with an example a line. Raises
    QuestionFileError with the line of a row without a name, with another route or threshold than one before, or with a
    field that is of another type.
    """
    found: dict[str, GivenIntent] = {}
    for line, row in read_rows(path, [["name", "examples"], ["name"]], optional=["route", "threshold", "examples"]):
        name = (text_at(path, line, row, "name") or "").strip()
        if not name or len(name) > LONGEST_NAME:
            raise at_line(path, line, f"an intent has a name of {LONGEST_NAME} characters at most")
        route, threshold = text_at(path, line, row, "route"), _threshold(path, line, row)
        if len(route or "") > LABEL_OR_ROUTE_CHARACTERS:
            raise at_line(path, line, f"a route has {LABEL_OR_ROUTE_CHARACTERS} characters at most")
        intent = found.setdefault(name, GivenIntent(name, route, threshold))
        if intent.route != route:
            raise at_line(path, line, "the intent has another route in a line before")
        if intent.threshold != threshold:
            raise at_line(path, line, "the intent has another threshold in a line before")
        intent.examples.extend((line, text) for text in _examples(path, line, row))
        if len(found) > _MOST_INTENTS:
            raise QuestreamError(f"the file has more than {_MOST_INTENTS:,} intents", "import it in parts")
    if sum(len(intent.examples) for intent in found.values()) > _MOST_EXAMPLES:
        raise QuestreamError(f"the file has more than {_MOST_EXAMPLES:,} examples", "import it in parts")
    return list(found.values())


def write_jsonl(file: SupportsWrite[str], intents: Sequence[ExportedIntent]) -> None:
    """An object a line, as `read_intents` reads it; thresholds are there where any intent has one."""
    has_thresholds = _have_thresholds(intents)
    for one in intents:
        threshold = {"threshold": one.threshold} if has_thresholds else {}
        document = {"name": one.name, "route": one.route, **threshold, "examples": one.examples}
        file.write(orjson.dumps(document).decode() + "\n")


def write_csv(file: SupportsWrite[str], intents: Sequence[ExportedIntent]) -> None:
    """A table with an example a row, where no text is a formula to a spreadsheet; thresholds as in `write_jsonl`."""
    writer = csv.writer(file, lineterminator="\n")
    has_thresholds = _have_thresholds(intents)
    writer.writerow(["name", "route", *["threshold"] * has_thresholds, "examples"])
    for one in intents:
        own = [shown_cell(one.name), shown_cell(one.route or "")]
        own += ["" if one.threshold is None else f"{one.threshold:g}"] * has_thresholds
        writer.writerows([*own, shown_cell(example)] for example in one.examples)


def _have_thresholds(intents: Sequence[ExportedIntent]) -> bool:
    return any(one.threshold is not None for one in intents)


def _threshold(path: Path, line: int, row: Row) -> float | None:
    """The threshold of a row, 0 for none; None where it has no such field."""
    given = cell_of(row, "threshold")
    if given is ABSENT:
        return None
    if given is None or given == "":
        return 0.0
    try:
        threshold = round(float(given), THRESHOLD_DIGITS) if isinstance(given, str | int | float) else 0.0
    except ValueError:
        threshold = 0.0
    if isinstance(given, bool) or not 0 < threshold <= 1:
        raise at_line(path, line, "the threshold of an intent is a number above 0, and 1 at most, or empty for none")
    return threshold


def _examples(path: Path, line: int, row: Row) -> list[str]:
    given = cell_of(row, "examples")
    if given is ABSENT or given is None:
        return []
    texts = text_of_cell(given).splitlines() if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise at_line(path, line, "examples must be texts")
    return [one.strip() for one in texts if one.strip()]
