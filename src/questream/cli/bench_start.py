"""`questream bench start`: from nothing to a worker's first decision."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.bench import BenchCall, bench, bench_options, progress
from questream.cli.output import print_json, print_line

if TYPE_CHECKING:
    from questream.lab.bench.start_process import StartPart


@bench.command("start")
@bench_options("bootstrap_servers", "redis_url")
def bench_start(
    call: BenchCall,
    starts: Annotated[
        int, typer.Option(min=1, help="How many, one after the other: the first may be the first with its model.")
    ] = 2,
) -> None:
    """Measure a worker's start, part by part, from its process to its first decision, and the memory that it takes.

    Example: questream bench start --bootstrap-servers 127.0.0.1:9092 --redis-url redis://127.0.0.1:6379/0
    """
    from questream.lab.bench.questions import real_texts
    from questream.lab.bench.servers import bench_servers
    from questream.lab.bench.start import measure_start

    settings = call.settings
    (question,) = real_texts(1)
    found: list[list[StartPart]] = []
    with progress() as announce, bench_servers(settings) as servers:
        for number in range(starts):
            announce(f"start {number + 1} of {starts}")
            if not call.as_json:
                print_line(_row(f"start {number + 1}", "seconds", "CPU s", "MiB", "of files"))
            found.append(measure_start(servers.settings, question, (lambda _: None) if call.as_json else _print_part))
            if not call.as_json:
                seconds, cpu = (sum(getattr(part, name) for part in found[-1]) for name in ("seconds", "cpu_seconds"))
                print_line(_row("all", f"{seconds:.2f}", f"{cpu:.2f}"))
    if call.as_json:
        print_json({"starts": [[asdict(part) for part in parts] for parts in found]})


def _print_part(part: StartPart) -> None:
    memory = ("?" if mib is None else f"{mib:,.0f}" for mib in (part.resident_mib, part.mapped_mib))
    print_line(_row(part.name, f"{part.seconds:.2f}", f"{part.cpu_seconds:.2f}", *memory))


def _row(name: str, *figures: str) -> str:
    return f"{name:<20}" + "".join(f"{figure:>10}" for figure in figures)
