"""Files of questions and of labelled pairs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from questream.errors import BadRecord
from questream.preparing import Preparation
from questream.records.paths import ABSENT
from questream.records.rows import STDIN, Row, at_line, keep_stdin, read_rows
from questream.records.template import Template
from questream.settings import InputSettings

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
TIME_COLUMNS = ["ts", "timestamp"]
_QUESTION_COLUMNS = ["id", "gold", "cluster", *TIME_COLUMNS]
_SAME = frozenset(("1", "1.0", "true", "yes", "y"))
_DIFFERENT = frozenset(("0", "0.0", "false", "no", "n"))


class FileQuestion(NamedTuple):
    """A question of a file; `gold` is the group that the file says it belongs to, if it says so.

    `asked_at` is for the order: seconds since the epoch, or the number that the file has for it; None if unknown.
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


class FileTexts:
    """The texts of a file as a worker with these settings embeds and shows them: `input.text`, then its preparation.

    Raises SettingsError if `input.prepare_hook` cannot be loaded.
    """

    def __init__(self, input: InputSettings) -> None:
        self._template = None if input.text is None else Template(input.text)
        self._text_field = input.text_field
        self.prepare = Preparation(input)

    @property
    def columns(self) -> list[tuple[str]]:
        """Of these columns a table has one at least."""
        fields = () if self._template is None else self._template.paths
        return [("text",), (self._text_field,), *((field,) for field in fields)]

    def text_of_row(self, row: Row) -> str | None:
        """The text of a row: by the template of the settings, else its `text`, else the value at `input.text_field`.

        None where that is no string. Raises BadRecord where the template or the hook fails.
        """
        text: object = ABSENT if self._template is None else self._template.fill(row)
        if text is ABSENT:
            text = value_of(row, "text")
        if text is None:
            text = value_of(row, self._text_field)
        return self.prepare(text) if isinstance(text, str) else None


AS_THEY_STAND = FileTexts(InputSettings(prepare="off"))


def read_questions(path: Path, texts: FileTexts = AS_THEY_STAND) -> Iterator[FileQuestion]:
    """The questions of a file, one by one, in its order; blank lines are passed over.

    `read_rows` says what kinds of files there are. Objects and tables need `text`, or what `texts` takes in its place,
    and may have `id`, `gold` (or `cluster`) and `ts` (or `timestamp`: a number or ISO 8601); a question without an id
    gets the file's name and its line: `questions-17`. An empty text is yielded as it is: the stream dead-letters it.

    Raises QuestionFileError, on iteration, if the file cannot be opened or a line does not fit the format.
    """
    for number, row in read_rows(path, texts.columns, optional=_QUESTION_COLUMNS):
        try:
            text = texts.text_of_row(row)
        except BadRecord as error:
            raise at_line(path, number, str(error)) from None
        if text is None:
            raise at_line(path, number, 'no string "text"')
        gold = _name(path, number, row, "gold") or _name(path, number, row, "cluster")
        id = _name(path, number, row, "id") or f"{file_stem(path)}-{number}"
        yield FileQuestion(id, text, gold, _asked_at(row))


def read_pairs(path: Path, texts: FileTexts = AS_THEY_STAND) -> Iterator[LabelledPair]:
    """The labelled pairs of a file of JSON or a table, one by one, in its order, as `texts` prepares them.

    `text_a`, `text_b` and `label` (1 or 0, true or false), or as data sets call them: `a`, `b`; `question1`,
    `question2`, `is_duplicate`; `sentence1`, `sentence2`, `score`.

    Raises QuestionFileError, on iteration, if the file cannot be opened or a line does not fit.
    """
    for number, row in read_rows(path, _PAIR_COLUMNS, optional=_LABEL_COLUMNS):
        columns = next(
            (pair for pair in _PAIR_COLUMNS if all(isinstance(value_of(row, name), str) for name in pair)), None
        )
        if columns is None:
            raise at_line(path, number, 'no strings "text_a" and "text_b"')
        label = next(
            (str(found).strip().lower() for name in _LABEL_COLUMNS if (found := value_of(row, name)) is not None), ""
        )
        if label not in _SAME | _DIFFERENT:
            raise at_line(path, number, 'no "label" that is 1 (the same question) or 0')
        try:
            first, second = (texts.prepare(str(value_of(row, name))) for name in columns)
        except BadRecord as error:
            raise at_line(path, number, str(error)) from None
        yield LabelledPair(first, second, label in _SAME)


def holds_pairs(path: Path, texts: FileTexts = AS_THEY_STAND) -> bool:
    """True if the first row of a file has the columns of a pair and no `text`: for `read_pairs`, not `read_questions`.

    Raises QuestionFileError if the file cannot be opened or its first line fits neither.
    """
    if path == STDIN:
        keep_stdin()
    needed = [*texts.columns, *_PAIR_COLUMNS]
    row: Row = next((row for _, row in read_rows(path, needed)), {})
    names = {name.lower() for name in row}
    return "text" not in names and any(set(pair) <= names for pair in _PAIR_COLUMNS)


def value_of(row: Row, name: str) -> object:
    """The value of a row under a name, None if there is none; capitals do not count, dots lead into JSON objects."""
    if name in row:
        return row[name]
    lowered = name.lower()
    for given, value in row.items():
        if given.lower() == lowered:
            return value
    parent, dot, rest = name.partition(".")
    inner = row.get(parent)
    return value_of(inner, rest) if dot and isinstance(inner, dict) else None


def file_stem(path: Path) -> str:
    """The prefix of the ids of questions without one."""
    return "stdin" if path == STDIN else path.stem


def _name(path: Path, number: int, row: Row, field: str) -> str | None:
    value = value_of(row, field)
    if value is None or value == "":
        return None
    # bool is an int to Python, but no name.
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise at_line(path, number, f'"{field}" is neither a string nor a whole number')
    return str(value)


def _asked_at(row: Row) -> float | None:
    moment = next((found for name in TIME_COLUMNS if (found := value_of(row, name)) not in (None, "")), None)
    # An unknown moment is no reason to refuse the question.
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
