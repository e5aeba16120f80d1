"""Known intents as a file: one JSON object an intent, or a table with one example a row."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import orjson

from questream.errors import QuestreamError
from questream.records.paths import ABSENT
from questream.records.rows import Row, at_line, read_rows
from questream.tools.naming_files import cell_of, shown_cell, text_at, text_of_cell

_MOST_INTENTS = 10_000
_MOST_EXAMPLES = 20_000
_LONGEST_NAME = 200


class _TextFile(Protocol):
    def write(self, text: str, /) -> int: ...


@dataclass(slots=True)
class GivenIntent:
    """An intent of a file: `route` None where the file has no such column; its examples with their lines."""

    name: str
    route: str | None
    examples: list[tuple[int, str]] = field(default_factory=list)


def read_intents(path: Path) -> list[GivenIntent]:
    """The intents of a file in their order; rows of one name are one intent.

    Fields are `name`, `route` and `examples`: a list, or a text with an example a line. Raises QuestionFileError with
    the line of a row without a name, with another route than one before, or with a field that is of another type.
    """
    found: dict[str, GivenIntent] = {}
    for line, row in read_rows(path, [["name", "examples"], ["name"]], optional=["route", "examples"]):
        name = (text_at(path, line, row, "name") or "").strip()
        if not name or len(name) > _LONGEST_NAME:
            raise at_line(path, line, f"an intent has a name of {_LONGEST_NAME} characters at most")
        if cell_of(row, "threshold") not in (ABSENT, None, ""):
            raise at_line(path, line, "an intent has no threshold of its own: set that of the namespace")
        route = text_at(path, line, row, "route")
        intent = found.setdefault(name, GivenIntent(name, route))
        if intent.route != route:
            raise at_line(path, line, "the intent has another route in a line before")
        intent.examples.extend((line, text) for text in _examples(path, line, row))
        if len(found) > _MOST_INTENTS:
            raise QuestreamError(f"the file has more than {_MOST_INTENTS:,} intents", "import it in parts")
    if sum(len(intent.examples) for intent in found.values()) > _MOST_EXAMPLES:
        raise QuestreamError(f"the file has more than {_MOST_EXAMPLES:,} examples", "import it in parts")
    return list(found.values())


def write_jsonl(file: _TextFile, intents: Iterable[tuple[str, str | None, Sequence[str]]]) -> None:
    """An object a line, as `read_intents` reads it."""
    for name, route, examples in intents:
        file.write(orjson.dumps({"name": name, "route": route, "examples": list(examples)}).decode() + "\n")


def write_csv(file: _TextFile, intents: Iterable[tuple[str, str | None, Sequence[str]]]) -> None:
    """A table with an example a row, where no text is a formula to a spreadsheet."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["name", "route", "examples"])
    for name, route, examples in intents:
        writer.writerows([shown_cell(name), shown_cell(route or ""), shown_cell(one)] for one in examples)


def _examples(path: Path, line: int, row: Row) -> list[str]:
    given = cell_of(row, "examples")
    if given is ABSENT or given is None:
        return []
    texts = text_of_cell(given).splitlines() if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        raise at_line(path, line, "examples must be texts")
    return [one.strip() for one in texts if one.strip()]
