"""`questream demo`: see it work, without any service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    questions: Annotated[
        Path | None, typer.Option(help="Your own questions: text lines, CSV or JSON Lines; default: 2,002 of a bank's.")
    ] = None,
    granularity: Annotated[
        str | None, typer.Option(help="How alike questions of one cluster are: question or duplicate.")
    ] = None,
    in_flight: Annotated[int, typer.Option(min=1, max=10_000, help="Questions under way at once.")] = 64,
) -> None:
    """Stream real questions through a real worker on embedded servers and watch the clusters grow.

    Example: questream demo --questions mine.csv
    """
    from questream.lab.demo import run_demo

    run_demo(questions, granularity, in_flight)
