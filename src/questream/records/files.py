"""Files of questions and of labelled pairs: text lines, CSV or JSON Lines."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, NamedTuple

import orjson

from questream.errors import QuestreamError

Row = Mapping[str, object]

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SNIFFED_BYTES = 4096


# How published data sets call what is here `text_a`, `text_b` and `label`.
_PAIR_COLUMNS = [
    ("text_a", "text_b"),
    ("a", "b"),
    ("text1", "text2"),
    ("question1", "question2"),
    ("sentence1", "sentence2"),
    ("anchor", "positive"),
]
_LABEL_COLUMNS = ["label", "is_duplicate", "score"]
_TIME_COLUMNS = ["ts", "timestamp"]
_SAME = frozenset(("1", "1.0", "true", "yes", "y"))
_DIFFERENT = frozenset(("0", "0.0", "false", "no", "n"))


class FileQuestion(NamedTuple):
    """A question of a file; `gold` is the group that the file says it belongs to, if it says so.

    `asked_at` tells which came first: seconds since the epoch, or the number that the file has for it; None if unknown.
    """

    id: str
    text: str
    gold: str | None
    asked_at: float | None = None


class LabelledPair(NamedTuple):
    """Two texts, and whether they are the same question."""

    text_a: str
    text_b: str
    same: bool


class QuestionFileError(QuestreamError):
    """A file of questions or pairs cannot be read; the message names file and line, never what stands there."""


def read_questions(path: Path) -> Iterator[FileQuestion]:
    """The questions of a UTF-8 file, one by one, in its order; blank lines are passed over.

    The suffix tells the format: `.jsonl`, `.ndjson` and `.json` hold one JSON object a line, `.csv` and `.tsv` a table
    with a header (comma, semicolon or tab), `.txt` a question a line. With another suffix a first `{` means JSON Lines,
    anything else text lines. Objects and tables need `text` and may have `id`, `gold` (or `cluster`) and `ts` (or
    `timestamp`: a number or ISO 8601); a question without an id gets the file's name and its line: `questions-17`. An
    empty text is yielded as it is: the stream dead-letters it.

    Raises QuestionFileError, on iteration, if the file cannot be opened or a line does not fit the format.
    """
    for number, row in _rows(path, [("text",)]):
        if not isinstance(row.get("text"), str):
            raise _error(path, number, 'no string "text"')
        gold = _name(path, number, row, "gold") or _name(path, number, row, "cluster")
        id = _name(path, number, row, "id") or f"{path.stem}-{number}"
        yield FileQuestion(id, str(row["text"]), gold, _asked_at(row))


def read_pairs(path: Path) -> Iterator[LabelledPair]:
    """The labelled pairs of a UTF-8 file of JSON Lines or a table, one by one, in its order.

    `text_a`, `text_b` and `label` (1 or 0, true or false), or as data sets call them: `a`, `b`; `question1`,
    `question2`, `is_duplicate`; `sentence1`, `sentence2`, `score`.

    Raises QuestionFileError, on iteration, if the file cannot be opened or a line does not fit.
    """
    for number, row in _rows(path, _PAIR_COLUMNS):
        texts = next((pair for pair in _PAIR_COLUMNS if all(isinstance(row.get(name), str) for name in pair)), None)
        if texts is None:
            raise _error(path, number, 'no strings "text_a" and "text_b"')
        label = next((str(row[name]).strip().lower() for name in _LABEL_COLUMNS if row.get(name) is not None), "")
        if label not in _SAME | _DIFFERENT:
            raise _error(path, number, 'no "label" that is 1 (the same question) or 0')
        yield LabelledPair(str(row[texts[0]]), str(row[texts[1]]), label in _SAME)


def holds_pairs(path: Path) -> bool:
    """Whether the first row of a file has the columns of a pair and no `text`: for `read_pairs`, not `read_questions`.

    Raises QuestionFileError if the file cannot be opened or its first line fits neither.
    """
    needed = [("text",), *_PAIR_COLUMNS]
    row: Row = next((row for _, row in _rows(path, needed)), {})
    return "text" not in row and any(set(names) <= set(row) for names in _PAIR_COLUMNS)


def _rows(path: Path, needed: Sequence[Sequence[str]]) -> Iterator[tuple[int, Row]]:
    """Line number and fields of each row; a table's header has all names of one of `needed`."""
    try:
        with path.open("rb") as file:
            head = file.peek(_SNIFFED_BYTES)[:_SNIFFED_BYTES].removeprefix(_BYTE_ORDER_MARK).lstrip()
            lines = _decoded(path, file)
            match _format_of(path, head):
                case "json":
                    yield from _read_json_lines(path, lines)
                case "table":
                    yield from _read_table(path, lines, needed)
                case "text":
                    yield from ((at, {"text": line.strip()}) for at, line in enumerate(lines, 1) if line.strip())
    except OSError as error:
        raise QuestionFileError(f"{path}: {error.strerror or 'cannot be read'}") from error


def _format_of(path: Path, head: bytes) -> Literal["json", "table", "text"]:
    match path.suffix.lower():
        case ".jsonl" | ".ndjson" | ".json":
            return "json"
        case ".csv" | ".tsv":
            return "table"
        case ".txt":
            return "text"
        case _:
            return "json" if head.startswith(b"{") else "text"


def _decoded(path: Path, lines: Iterable[bytes]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError:
            # Not chained: its message carries the line.
            raise _error(path, number, "not UTF-8") from None


def _read_json_lines(path: Path, lines: Iterator[str]) -> Iterator[tuple[int, Row]]:
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
        yield number, row


def _name(path: Path, number: int, row: Row, field: str) -> str | None:
    value = row.get(field)
    if value is None or value == "":
        return None
    # bool is an int to Python, but no name.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise _error(path, number, f'"{field}" is neither a string nor a whole number')
    return str(value)


def _asked_at(row: Row) -> float | None:
    moment = next((row[name] for name in _TIME_COLUMNS if row.get(name) not in (None, "")), None)
    # One that cannot be told is no reason to refuse the question.
    return None if moment is None else _seconds(str(moment).strip())


def _seconds(moment: str) -> float | None:
    try:
        seconds = float(moment)
    except ValueError:
        try:
            parsed = datetime.fromisoformat(moment)
        except ValueError:
            return None
        seconds = (parsed if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)).timestamp()
    return seconds if math.isfinite(seconds) else None


def _read_table(path: Path, lines: Iterator[str], needed: Sequence[Sequence[str]]) -> Iterator[tuple[int, Row]]:
    header = next(lines, "")
    delimiter = max(",;\t", key=header.count)
    columns = [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
    if not any(set(names) <= set(columns) for names in needed):
        wanted = " and ".join(f'"{name}"' for name in needed[0])
        raise _error(path, 1, f"no column {wanted} in the header")
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
        yield number, dict(zip(columns, row, strict=True))


def _error(path: Path, line: int, problem: str) -> QuestionFileError:
    return QuestionFileError(f"{path}, line {line}: {problem}")
