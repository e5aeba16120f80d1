"""The demo's last screen as a picture, for a README."""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.spinner import Spinner

from questream.lab.demo.screen import render_snapshot, render_summary
from questream.lab.demo.snapshot import Snapshot, Summary

_COLUMNS = 100
_LINES = 40


def draw_picture(snapshot: Snapshot, summary: Summary) -> str:
    """An SVG of the screen with its summary, 100 columns wide; it loads nothing from elsewhere."""
    console = Console(record=True, width=_COLUMNS, height=_LINES, force_terminal=True, file=io.StringIO())
    console.print(render_snapshot(snapshot, console, Spinner("dots")))
    console.print(render_summary(summary))
    svg = console.export_svg(title="questream demo")
    # Rich names a font to be fetched from a server of others; every viewer has a monospaced font of its own.
    return re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
