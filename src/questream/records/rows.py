"""Rows of the files that people bring: text lines, tables and JSON, whatever their encoding and their line ends."""

from __future__ import annotations

import codecs
import csv
import io
import json
import os
import re
import shutil
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, NoReturn

import orjson

from questream.errors import QuestreamError
from questream.records.encodings import HEAD_BYTES, encoding_of, no_text

Row = Mapping[str, object]
FileFormat = Literal["text", "table", "json"]

STDIN = Path("-")

# A line, a value of a table or an element of an array: no record of Kafka is larger, and memory has an end.
_MOST_CHARACTERS = 16 * 1024 * 1024
_CHUNK_CHARACTERS = 65536
_DELIMITERS = ",;\t|"
_SEP = re.compile(r'"?sep=(.)"?', re.IGNORECASE)
_WHITE_SPACE = re.compile(r"[ \t\r\n]*")
_ARRAY = re.compile(r'\[\s*($|[{"\]])')
# Replaces bytes that cannot be decoded; no encoding yields it, so the line of a mistake can be named.
_BROKEN = "\udc80"
_HANDLER = "questream-broken"
codecs.register_error(_HANDLER, lambda error: (_BROKEN, error.end))  # type: ignore[attr-defined]  # decoding alone

Refuse = Callable[["QuestionFileError"], None]


class QuestionFileError(QuestreamError):
    """A file of questions or pairs cannot be read; the message names file and line, never their text."""


def shown_name(path: Path) -> str:
    """The file's name in messages."""
    return "stdin" if path == STDIN else str(path)


def at_line(path: Path, line: int, problem: str) -> QuestionFileError:
    """The error of a line."""
    return QuestionFileError(f"{shown_name(path)}, line {line}: {problem}")


def raise_error(error: QuestionFileError) -> NoReturn:
    """Raise the error of a line that does not fit: the default of readers."""
    raise error


def read_rows(
    path: Path,
    needed: Sequence[Sequence[str]],
    format: FileFormat | None = None,
    refuse: Refuse = raise_error,
    *,
    optional: Sequence[str] = (),
) -> Iterator[tuple[int, Row]]:
    """Line number and fields of each row of a file; of stdin where its path is `-`.

    UTF-8, or UTF-16 and UTF-32 with a byte order mark; lines end as on any system. `.jsonl` and `.ndjson` hold a JSON
    object a line, `.json` those or one array, `.csv` and `.tsv` a table with a header (comma, semicolon, tab or bar,
    or what a first line `sep=` says), `.txt` a question a line, here under the name `text`. With another suffix the
    first line decides: JSON begins with a bracket, a table's header has all names of one of `needed`. `format` wins.
    A column of `needed` or `optional` that a table has twice is refused, whatever its capitals.

    A line that does not fit is given to `refuse` as a QuestionFileError; if that returns, reading goes on after it.
    Raises QuestionFileError, on iteration, if the file cannot be read.
    """
    try:
        with _opened(path) as file:
            text = _Text(path, file, refuse)
            match format or _format_of(path, text, needed):
                case "json":
                    yield from _read_array(text) if text.is_array(path.suffix) else _read_json_lines(text)
                case "table":
                    yield from _read_table(text, needed, optional)
                case "text":
                    yield from ((at, {"text": line.strip()}) for at, line in text.lines() if line.strip())
    except OSError as error:
        raise QuestionFileError(f"{shown_name(path)}: {error.strerror or 'cannot be read'}") from error


def keep_stdin() -> None:
    """Make stdin readable several times: its rest goes to a temporary file, which takes its place."""
    if _is_kept():
        return
    with os.fdopen(os.dup(0), "rb") as given, tempfile.TemporaryFile() as kept:
        shutil.copyfileobj(given, kept)
        kept.flush()
        os.dup2(kept.fileno(), 0)


def _is_kept() -> bool:
    # A temporary file has no name in any folder; what a shell puts in stdin's place has, or is no file.
    found = os.fstat(0)
    return stat.S_ISREG(found.st_mode) and found.st_nlink == 0


def _opened(path: Path) -> io.BufferedReader:
    if path == STDIN:
        # A descriptor of its own: the process's is not to be closed with it.
        opened = os.fdopen(os.dup(0), "rb")
        if _is_kept():
            opened.seek(0)
        return opened
    try:
        return path.open("rb")
    except ValueError:
        # A null character in it, or half a surrogate pair.
        raise QuestionFileError(f"{str(path)!r} cannot be the path of a file") from None


class _Text:
    """A file as text: lines with their numbers, or chunks, of which the first can be looked at before."""

    def __init__(self, path: Path, file: io.BufferedReader, refuse: Refuse) -> None:
        self.path = path
        self.refuse = refuse
        head = file.peek(HEAD_BYTES)[:HEAD_BYTES]
        problem = no_text(head)
        if problem is not None:
            raise QuestionFileError(f"{shown_name(path)} is {problem}")
        self._encoding = encoding_of(head)
        self._text = io.TextIOWrapper(file, self._encoding, _HANDLER, newline="")
        self.first = self._text.readline(_MOST_CHARACTERS + 1)
        self._skipped: list[str] = []
        while self.first.isspace() and len(self._skipped) < _CHUNK_CHARACTERS:
            self._skipped.append(self.first)
            self.first = self._text.readline(_MOST_CHARACTERS + 1)

    def is_array(self, suffix: str) -> bool:
        """True if the file is one JSON array, not an object a line."""
        return suffix.lower() not in (".jsonl", ".ndjson") and _ARRAY.match(self.first.strip()) is not None

    def lines(self) -> Iterator[tuple[int, str]]:
        """Number and text of each line that can be read."""
        number = 0
        for line in self._all_lines():
            number += 1
            if len(line) > _MOST_CHARACTERS:
                self.refuse(at_line(self.path, number, f"longer than {_MOST_CHARACTERS} characters"))
                while not line.endswith(("\n", "\r")) and (line := self._text.readline(_MOST_CHARACTERS)):
                    pass
                continue
            if _BROKEN in line:
                self.refuse(self.undecodable(number))
                continue
            yield number, line

    def chunks(self) -> Iterator[str]:
        """All of the text, in parts."""
        yield "".join(self._skipped) + self.first
        size = _CHUNK_CHARACTERS
        while chunk := self._text.read(size):
            yield chunk
            size = min(2 * size, _MOST_CHARACTERS)

    def undecodable(self, number: int) -> QuestionFileError:
        """The error of a line with bytes that are no characters."""
        return at_line(self.path, number, f"not {self._encoding.removesuffix('-sig').upper()}; save the file as UTF-8")

    def _all_lines(self) -> Iterator[str]:
        yield from self._skipped
        line = self.first
        while line:
            yield line
            line = self._text.readline(_MOST_CHARACTERS + 1)


def _format_of(path: Path, text: _Text, needed: Sequence[Sequence[str]]) -> FileFormat:
    match path.suffix.lower():
        case ".jsonl" | ".ndjson" | ".json":
            return "json"
        case ".csv" | ".tsv":
            return "table"
        case ".txt":
            return "text"
    if text.first.lstrip().startswith("{") or text.is_array(path.suffix):
        return "json"
    return "table" if _SEP.fullmatch(text.first.strip("\r\n")) or _header_fits(text.first, needed) else "text"


def _read_json_lines(text: _Text) -> Iterator[tuple[int, Row]]:
    for number, line in text.lines():
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError:
            # Its `doc` is the line: not chained.
            row = None
        if isinstance(row, dict):
            yield number, row
        else:
            text.refuse(at_line(text.path, number, "not a JSON object on one line"))


def _read_array(text: _Text) -> Iterator[tuple[int, Row]]:
    """The elements of an array that need not fit into memory; a text alone is a row, too."""
    array = _Array(text)
    array.skip("[")
    is_over = array.skip("]")
    while not is_over:
        number = array.number
        yield from _as_row(array.element(), text, number)
        is_over = array.skip("]")
        if not is_over and not array.skip(","):
            raise at_line(text.path, array.number, "not JSON: a comma or the array's end is missing")
    if not array.is_at_end:
        raise at_line(text.path, array.number, "not JSON: the array's end is not the end of the file")


class _Array:
    """The text of an array, and the place in it that is read next; `number` is its line."""

    def __init__(self, text: _Text) -> None:
        self._text = text
        self._chunks = text.chunks()
        self._decoder = json.JSONDecoder()
        self._buffer = next(self._chunks)
        self._at = 0
        self.number = 1
        self._pass_white_space()

    @property
    def is_at_end(self) -> bool:
        """True if nothing but white space, which is passed, is left of the file."""
        return self._at == len(self._buffer)

    def skip(self, mark: str) -> bool:
        """Skip this character, if it is the next one, and the white space behind it; false if it is not."""
        if not self._buffer.startswith(mark, self._at):
            return False
        self._at += 1
        self._pass_white_space()
        return True

    def element(self) -> str:
        """The text of the next element, with more of the file where it is needed; goes past it."""
        while True:
            try:
                begin, (_, self._at) = self._at, self._decoder.raw_decode(self._buffer, self._at)
                break
            except (RecursionError, json.JSONDecodeError) as error:
                complete = isinstance(error, RecursionError)
            if complete or len(self._buffer) - self._at > _MOST_CHARACTERS or not self._read_on():
                # Raised here: the parser's own error carries the document.
                broken = _BROKEN in self._buffer[self._at :]
                raise (
                    self._text.undecodable(self.number)
                    if broken
                    else at_line(self._text.path, self.number, "not JSON from here on")
                )
        element = self._buffer[begin : self._at]
        self.number += _lines_in(element)
        self._pass_white_space()
        return element

    def _pass_white_space(self) -> None:
        while True:
            end = _WHITE_SPACE.match(self._buffer, self._at).end()  # type: ignore[union-attr]  # matches nothing, too
            self.number += _lines_in(self._buffer[self._at : end])
            self._at = end
            if end < len(self._buffer) or not self._read_on():
                return

    def _read_on(self) -> bool:
        more = next(self._chunks, "")
        self._buffer = self._buffer[self._at :] + more
        self._at = 0
        return bool(more)


def _as_row(element: str, text: _Text, number: int) -> Iterator[tuple[int, Row]]:
    if _BROKEN in element:
        text.refuse(text.undecodable(number))
        return
    try:
        row = orjson.loads(element)
    except orjson.JSONDecodeError:
        row = None
    if isinstance(row, str):
        row = {"text": row}
    if isinstance(row, dict):
        yield number, row
    else:
        text.refuse(at_line(text.path, number, "neither a JSON object nor a text"))


def _lines_in(text: str) -> int:
    return text.count("\n") + text.count("\r") - text.count("\r\n")


def _read_table(text: _Text, needed: Sequence[Sequence[str]], optional: Sequence[str]) -> Iterator[tuple[int, Row]]:
    # The csv module's limit is the process's; nothing else here reads tables.
    csv.field_size_limit(_MOST_CHARACTERS)
    lines = _Lines(text.lines())
    announced = _SEP.fullmatch(text.first.strip("\r\n"))
    if announced is not None:
        next(lines)
    delimiter = announced[1] if announced else _delimiter_of(text.first, needed)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    columns: list[str] = []
    while True:
        lines.began = 0
        try:
            row = next(rows)
        except StopIteration:
            if not columns:
                raise at_line(text.path, 1, _no_column(needed)) from None
            return
        except csv.Error as error:
            number = lines.began
            if not columns:
                raise at_line(text.path, number, "not a header; is a quote missing?") from None
            too_long = "field limit" in str(error)
            problem = f"a value is longer than {_MOST_CHARACTERS} characters" if too_long else "not a valid row"
            text.refuse(at_line(text.path, number, f"{problem}; is a quote missing?"))
            continue
        number = lines.began
        if not any(value.strip() for value in row) and (not columns or not row or len(columns) > 1):
            continue
        if not columns:
            columns = _checked_header(text, number, [name.strip() for name in row], needed, optional)
        elif len(row) != len(columns):
            text.refuse(at_line(text.path, number, f"{len(row)} values for {len(columns)} columns"))
        else:
            yield number, dict(zip(columns, row, strict=True))


class _Lines(Iterator[str]):
    """Lines for the csv module, which knows none that were refused: `began` is the number of its row's first."""

    def __init__(self, numbered: Iterator[tuple[int, str]]) -> None:
        self._numbered = numbered
        self.began = 0

    def __next__(self) -> str:
        number, line = next(self._numbered)
        self.began = self.began or number
        return line


def _checked_header(
    text: _Text, number: int, columns: list[str], needed: Sequence[Sequence[str]], optional: Sequence[str]
) -> list[str]:
    counts = Counter(name.lower() for name in columns)
    if not any(all(name.lower() in counts for name in names) for names in needed):
        raise at_line(text.path, number, _no_column(needed))
    twice = next((name for names in (*needed, optional) for name in names if counts[name.lower()] > 1), None)
    if twice is not None:
        raise at_line(text.path, number, f'two columns "{twice}" in the header')
    return columns


def _no_column(needed: Sequence[Sequence[str]]) -> str:
    names = " and ".join(f'"{name}"' for name in needed[0])
    return f"no column {names} in the header"


def _delimiter_of(header: str, needed: Sequence[Sequence[str]]) -> str:
    """The delimiter that makes the header fit, else the one that parts it most often."""
    fitting = [delimiter for delimiter in _DELIMITERS if _fits(_parted(header, delimiter), needed)]
    return max(fitting or _DELIMITERS, key=lambda delimiter: len(_parted(header, delimiter)))


def _header_fits(header: str, needed: Sequence[Sequence[str]]) -> bool:
    return any(_fits(_parted(header, delimiter), needed) for delimiter in _DELIMITERS)


def _fits(columns: list[str], needed: Sequence[Sequence[str]]) -> bool:
    return any({name.lower() for name in names} <= set(columns) for names in needed)


def _parted(header: str, delimiter: str) -> list[str]:
    try:
        return [name.strip().lower() for name in next(csv.reader([header], delimiter=delimiter), [])]
    except csv.Error:
        return []
