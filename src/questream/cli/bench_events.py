"""`questream bench events`: the delay of detected incidents, and the rate of false alarms."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from questream.cli.bench import bench, progress
from questream.cli.options import JsonOption
from questream.cli.output import print_cells, print_json, print_line


@bench.command("events")
def bench_events(
    files: Annotated[
        list[Path],
        typer.Argument(help='Questions with groups: CSV or JSON Lines with text and "gold" or "cluster", maybe "ts".'),
    ],
    days: Annotated[
        int, typer.Option(min=15, max=3650, help="Days over which a file without times is spread, by day and week.")
    ] = 42,
    incidents: Annotated[int, typer.Option(min=12, max=10_000, help="Incidents that are put into each stream.")] = 200,
    budgets: Annotated[
        list[float] | None, typer.Option("--budget", min=0.01, help="False alarms a day. Repeatable; default: 1, 2, 5.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws times and incidents.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare the events of `questream events` with a z-score and a moving average, on incidents put into streams.

    The group of a question is taken for its cluster, so that no model runs.
    Example: questream bench events banking77.jsonl --budget 1
    """
    from questream.lab.bench.events import measure_events
    from questream.lab.bench.incidents import SIZES, incident_stream

    documents = {}
    with progress() as announce:
        for file in files:
            announce(f"{file.name}: {incidents} incidents")
            stream = incident_stream(file, days, incidents, seed)
            figures = measure_events(stream, budgets or [1.0, 2.0, 5.0])
            documents[str(file)] = [asdict(one) for one in figures]
            if as_json:
                continue
            print_line(f"\n{file.name}: {len(stream.asked):,} questions, {stream.measured_days:.0f} days measured")
            print_cells(
                [
                    ("method", one.method),
                    ("found#", f"{one.found:.1%}"),
                    *((f"{size} an hour#", f"{one.found_by_size.get(str(size), 0):.0%}") for size in SIZES),
                    ("min from 1st#", _figure(one.minutes_after_first)),
                    ("s from 4th#", _figure(one.median_seconds_after_fourth)),
                    ("false a day#", f"{one.false_alarms_per_day:.2f}"),
                    ("quiet a day#", f"{one.quiet_per_day:.2f}"),
                    ("us a question#", f"{one.microseconds:.0f}"),
                ]
                for one in figures
            )
    if as_json:
        print_json(documents)


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"
