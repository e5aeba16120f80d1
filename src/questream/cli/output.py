"""What commands print: tables and lines on stdout, remarks on stderr, JSON for programs."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import orjson

from questream.errors import QuestreamError

# Wide enough that nothing is cut off in a file or a pipe.
_PIPE_WIDTH = 200
# What JSON lets stand in a text: DEL, the C1 controls (one of them begins an escape sequence), line and paragraph ends,
# and the marks that turn the direction of writing.
_STEERING = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def print_json(document: Any) -> None:
    """One JSON document on a line of its own."""
    sys.stdout.write(json_line(document) + "\n")


def json_line(document: Any) -> str:
    """The document in a line that cannot steer a terminal either, and says the same to a program."""
    text = orjson.dumps(document, default=str).decode()
    return _STEERING.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_line(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def remark(text: str) -> None:
    """A line on stderr: not part of what a program reads."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows under headings; numbers read best right-aligned, so columns whose heading ends with `#` are."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.removesuffix("#"), justify="right" if column.endswith("#") else "left", overflow="fold")
    for row in rows:
        # As texts: what comes from a stream must not be read as markup.
        table.add_row(*(Text(cell) for cell in row))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else _PIPE_WIDTH
    Console(width=width, highlight=False).print(table)


def printable(text: str) -> str:
    """The text without what could steer a terminal: control characters and line ends become spaces."""
    return "".join(character if character.isprintable() else " " for character in text)


@contextmanager
def destination(file: Path | None) -> Iterator[IO[str]]:
    """A file to write to, stdout where none is named. Raises QuestreamError where it cannot be written."""
    if file is None:
        yield sys.stdout
        return
    try:
        with file.open("w", encoding="utf-8", newline="") as opened:
            yield opened
    except OSError as error:
        raise QuestreamError(f"{file} cannot be written: {error.strerror}") from None
