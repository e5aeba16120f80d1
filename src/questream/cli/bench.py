"""`questream bench`: how fast it is here."""

from __future__ import annotations

import typer

bench = typer.Typer(help="Measure questream on this machine.", no_args_is_help=True)
