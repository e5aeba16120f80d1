"""What commands print: tables and lines on stdout, remarks on stderr, JSON for programs."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

# Wide enough that nothing is cut off in a file or a pipe.
_PIPE_WIDTH = 200


def print_json(document: Any) -> None:
    """One JSON document on a line of its own."""
    sys.stdout.write(orjson.dumps(document, default=str).decode() + "\n")


def print_line(text: str) -> None:
    """A line on stdout."""
    sys.stdout.write(text + "\n")


def remark(text: str) -> None:
    """A line on stderr: not part of what a program reads."""
    sys.stderr.write(text + "\n")
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
