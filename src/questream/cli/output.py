"""Output of commands: tables and lines on stdout, remarks on stderr, JSON for programs."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

import orjson
import typer

from questream.cli.streams import is_utf8, writable
from questream.errors import QuestreamError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

# Wide enough that nothing is cut off in a file or a pipe.
_PIPE_WIDTH = 200
_GAP = 2
# A question of which fewer characters are shown is hardly recognised.
_LEAST_OF_A_TEXT = 40
_STDOUT = Path("-")
_NOT_ASCII = re.compile("[^\x00-\x7f]+")
# Characters that JSON allows in a text: DEL, the C1 controls (one of them begins an escape sequence), line and
# paragraph ends, and the marks that turn the direction of writing.
_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")

Row = TypeVar("Row", bound=Mapping[str, Any])


def print_json(document: Any) -> None:
    """One JSON document on a line of its own."""
    sys.stdout.write(json_line(document) + "\n")


def json_line(document: Any) -> str:
    """The document in a line that cannot steer a terminal either, and says the same to a program."""
    text = orjson.dumps(document, default=str).decode()
    if not is_utf8(sys.stdout):
        # JSON is UTF-8 or, where stdout is neither, ASCII: both say the same to a program.
        text = _NOT_ASCII.sub(_escaped, text)
    return _STEERING.sub(_escaped, text)


def _escaped(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]


def print_line(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def remark(text: str) -> None:
    """A line on stderr: not part of what a program reads."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def agrees(question: str) -> bool:
    """Ask on stderr; true if the user answers yes, false without a terminal."""
    return sys.stdin.isatty() and typer.confirm(question, err=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under headings; a heading that ends with `#` is of numbers, which read best right-aligned.

    A heading that ends with `…` is of long texts: on a terminal each row is one line, and these are cut off. Columns
    that are empty are left out there, and where there is no room those whose heading ends with `?`.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [[writable(cell) for cell in row] for row in rows]
    is_terminal = sys.stdout.isatty()
    width = shutil.get_terminal_size().columns if is_terminal else _PIPE_WIDTH
    in_lines = is_terminal and any(column.endswith("…") for column in columns)
    shown = _fitting(columns, cells, width) if in_lines else range(len(columns))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in (columns[at] for at in shown):
        table.add_column(
            column.rstrip("#…?"),
            justify="right" if column.endswith("#") else "left",
            overflow="ellipsis" if in_lines else "fold",
            no_wrap=in_lines and not column.endswith("…"),
        )
    for row in cells:
        # As texts: what comes from a stream must not be read as markup.
        texts = (Text(row[at], no_wrap=in_lines, overflow="ellipsis" if in_lines else "fold") for at in shown)
        table.add_row(*texts)
    Console(width=width, highlight=False).print(table)


def _fitting(columns: Sequence[str], rows: Sequence[Sequence[str]], width: int) -> list[int]:
    """The columns that are shown on a terminal: not the empty ones, and of the others as many as there is room for."""
    from rich.cells import cell_len

    needed: dict[int, int] = {}
    for at, column in enumerate(columns):
        longest = max((cell_len(row[at]) for row in rows), default=1)
        if longest:
            whole = max(longest, cell_len(column.rstrip("#…?"))) + _GAP
            needed[at] = min(whole, _LEAST_OF_A_TEXT + _GAP) if column.endswith("…") else whole
    for at in reversed([at for at in needed if columns[at].endswith("?")]):
        if sum(needed.values()) - _GAP > width:
            del needed[at]
    return list(needed)


def print_rows(
    rows: Iterable[Row], as_json: bool, columns: Sequence[str], cells: Callable[[Row], Sequence[str]]
) -> None:
    """Documents as a line of JSON each, or as a table."""
    if not as_json:
        print_table(columns, map(cells, rows))
        return
    for row in rows:
        print_json(row)


def print_cells(rows: Iterable[Sequence[tuple[str, str]]]) -> None:
    """As `print_table`, one row at least, of cells that each follow their heading."""
    parted = [tuple(zip(*row, strict=True)) for row in rows]
    print_table(parted[0][0], (cells for _, cells in parted))


def printable(text: str) -> str:
    """The text without what could steer a terminal: control characters and line ends become spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


def listed(ids: Sequence[str], most: int) -> str:
    """The first ids, and the number of the others."""
    more = [f"and {len(ids) - most:,} more"] if len(ids) > most else []
    return ", ".join([*ids[:most], *more])


@contextmanager
def destination(file: Path | None) -> Iterator[SupportsWrite[str]]:
    """A file to write to, stdout where none is named or its name is `-`. Raises QuestreamError if it cannot be written.

    What fails otherwise inside is raised as it is.
    """
    if file is None or file == _STDOUT:
        yield sys.stdout
        return
    with _named_in_errors(file):
        opened = file.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    try:
        yield _Written(opened, file)
    finally:
        with _named_in_errors(file):
            opened.close()


class _Written:
    """A file whose errors say which file it is."""

    def __init__(self, opened: IO[str], file: Path) -> None:
        self._opened = opened
        self._file = file

    def write(self, text: str, /) -> int:
        with _named_in_errors(self._file):
            return self._opened.write(text)


@contextmanager
def _named_in_errors(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise QuestreamError(f"{file} cannot be written: {error.strerror}") from None
    except ValueError:
        # A null character, or half a surrogate pair.
        raise QuestreamError(f"{str(file)!r} cannot be the path of a file") from None
