"""Files of questions: text lines, CSV or JSON Lines, as `questream produce FILE` and the demo read them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import orjson

from questream.errors import QuestreamError

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SNIFFED_BYTES = 4096


class FileQuestion(NamedTuple):
    """A question of a file; `gold` is the group that the file says it belongs to, if it says so."""

    id: str
    text: str
    gold: str | None


class QuestionFileError(QuestreamError):
    """A file of questions cannot be read; the message names file and line, never what stands there."""


def read_questions(path: Path) -> Iterator[FileQuestion]:
    """The questions of a UTF-8 file, one by one, in its order; blank lines are passed over.

    The suffix tells the format: `.jsonl`, `.ndjson` and `.json` hold one JSON object a line, `.csv` and `.tsv` a table
    with a header (comma, semicolon or tab), `.txt` a question a line. With another suffix a first `{` means JSON Lines,
    anything else text lines. Objects and tables need `text` and may have `id` and `gold`; a question without an id gets
    the file's name and its line: `questions-17`. An empty text is yielded as it is: the stream dead-letters it.

    Raises QuestionFileError, on iteration, if the file cannot be opened or a line does not fit the format.
    """
    try:
        with path.open("rb") as file:
            head = file.peek(_SNIFFED_BYTES)[:_SNIFFED_BYTES].removeprefix(_BYTE_ORDER_MARK).lstrip()
            yield from _reader(path.suffix.lower(), head)(path, _decoded(path, file))
    except OSError as error:
        raise QuestionFileError(f"{path}: {error.strerror or 'cannot be read'}") from error


def _reader(suffix: str, head: bytes) -> Callable[[Path, Iterator[str]], Iterator[FileQuestion]]:
    match suffix:
        case ".jsonl" | ".ndjson" | ".json":
            return _read_json_lines
        case ".csv" | ".tsv":
            return _read_table
        case ".txt":
            return _read_text_lines
        case _:
            return _read_json_lines if head.startswith(b"{") else _read_text_lines


def _decoded(path: Path, lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            # Not chained: its message carries the line.
            raise _error(path, number, "not UTF-8") from None


def _read_text_lines(path: Path, lines: Iterator[str]) -> Iterator[FileQuestion]:
    for number, line in enumerate(lines, start=1):
        if text := line.strip():
            yield FileQuestion(f"{path.stem}-{number}", text, None)


def _read_json_lines(path: Path, lines: Iterator[str]) -> Iterator[FileQuestion]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            # Not chained: its `doc` is the line.
            raise _error(path, number, "not a JSON object on one line") from None
        if not isinstance(row, dict):
            raise _error(path, number, "not a JSON object; one object a line is needed")
        if not isinstance(row.get("text"), str):
            raise _error(path, number, 'no string "text"')
        yield FileQuestion(
            _name(path, number, row, "id") or f"{path.stem}-{number}", row["text"], _name(path, number, row, "gold")
        )


def _name(path: Path, number: int, row: dict[str, object], field: str) -> str | None:
    value = row.get(field)
    if value is None or value == "":
        return None
    # bool is an int to Python, but no name.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _error(path, number, f'"{field}" is neither a string nor a whole number')
    return str(value)


def _read_table(path: Path, lines: Iterator[str]) -> Iterator[FileQuestion]:
    header = next(lines, "")
    delimiter = max(",;\t", key=header.count)
    columns = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if "text" not in columns:
        raise _error(path, 1, 'no column "text" in the header')
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        # The header was read before the csv module counted; a quoted text may hold more than one line.
        number = rows.line_num + 2
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            raise _error(path, number, "not a valid row; is a quote missing?") from None
        if not row:
            continue
        if len(row) != len(columns):
            raise _error(path, number, f"{len(row)} values for {len(columns)} columns")
        values = dict(zip(columns, row, strict=True))
        yield FileQuestion(values.get("id") or f"{path.stem}-{number}", values["text"], values.get("gold") or None)


def _error(path: Path, line: int, problem: str) -> QuestionFileError:
    return QuestionFileError(f"{path}, line {line}: {problem}")
