"""Tables on a terminal of 80 columns, and the same ones in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from contextlib import suppress

LONG = "Please explain to me why my new card was declined when I tried to use it at my grocery store this morning"
TABLE = (
    "from questream.cli.streams import open_streams; open_streams()\n"
    "from questream.cli.output import print_table\n"
    "columns = ['cluster', 'size#', 'name?', 'label', 'last seen', 'question…']\n"
    f"row = ['declined card of a grocery', '', '2026-11-30 23:07', {LONG!r}]\n"
    "print_table(columns, [[f'c{at}', str(at), *row] for at in range(1, 21)])\n"
)
FIGURES = (
    "from questream.cli.output import print_table\n"
    "print_table(['figure', 'value#', 'empty'], [['a figure whose name is longer ' * 4, '1,234,567', '']])\n"
)


def on_a_terminal(script: str, columns: int) -> list[str]:
    """The lines that a script prints on a terminal of so many columns and 24 lines."""
    controller, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "FORCE_COLOR")}
    env = kept | {"TERM": "xterm", "PYTHONIOENCODING": "utf-8"}
    process = subprocess.Popen([sys.executable, "-c", script], stdout=terminal, stdin=terminal, env=env)
    os.close(terminal)
    printed = b""
    # The end of a terminal is an error on Linux.
    with suppress(OSError):
        while part := os.read(controller, 65536):
            printed += part
    os.close(controller)
    assert process.wait(60) == 0
    # Headings are bold.
    return re.sub("\x1b\\[[0-9;]*m", "", printed.decode()).splitlines()


def in_a_pipe(script: str) -> list[str]:
    """The lines that it prints where nobody looks."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60, check=True)
    return done.stdout.decode().splitlines()


def test_a_page_of_a_list_fits_on_a_screen_with_its_prompt() -> None:
    lines = on_a_terminal(TABLE, 80)
    assert len(lines) == 21
    assert max(map(len, lines)) <= 80
    assert lines[0].split() == ["cluster", "size", "last", "seen", "question"]
    assert all(LONG[:38] in line and line.endswith("…") for line in lines[1:])


def test_a_wide_terminal_has_room_for_names() -> None:
    lines = on_a_terminal(TABLE, 120)
    assert len(lines) == 21
    assert lines[0].split() == ["cluster", "size", "name", "last", "seen", "question"]
    assert "declined card of a grocery" in lines[1]


def test_a_narrow_terminal_shows_that_something_is_cut_off() -> None:
    lines = on_a_terminal(TABLE, 30)
    assert (len(lines), max(map(len, lines))) == (21, 30)
    assert all("…" in line for line in lines[1:])


def test_a_pipe_gets_every_column_and_the_whole_text() -> None:
    text = " ".join(" ".join(in_a_pipe(TABLE)).split())
    assert text.startswith("cluster size name label last seen question c1 ")
    assert all(word in text for word in LONG.split())


def test_a_table_without_long_texts_is_whole_on_a_terminal() -> None:
    lines = on_a_terminal(FIGURES, 60)
    assert lines[0].split() == ["figure", "value", "empty"]
    assert " ".join(" ".join(lines).split()).count("longer") == 4
