"""`questream bench peers`: questream beside other ways to do the same."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from questream.cli.bench import BenchCall, FileOption, bench, bench_options, progress
from questream.cli.output import print_cells, print_json


@bench.command("peers")
@bench_options("bootstrap_servers", "redis_url")
def bench_peers(
    call: BenchCall,
    texts: FileOption = None,
    questions: Annotated[int, typer.Option(min=20, help="Questions of a pass.")] = 2_000,
    names: Annotated[
        list[str] | None, typer.Option("--peer", metavar="NAME", help="Measure this one alone. May be repeated.")
    ] = None,
    python: Annotated[
        Path | None,
        typer.Option(help="Interpreter with the others' packages, as `make peers` makes; default: own."),
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="Draw the figures into this file, such as peers.png; needs matplotlib.")
    ] = None,
) -> None:
    """Compare rate, processor time and the effect of kill -9 with other ways to cluster questions, Kafka to Kafka.

    It needs a Kafka: the embedded broker shows readers what was not committed. The table names what is not installed.
    Example: questream bench peers --bootstrap-servers 127.0.0.1:9092 --redis-url redis://127.0.0.1:6379/0
    """
    from questream.lab.bench.peers.measure import PEERS, measure_peers
    from questream.lab.bench.peers.plot import draw
    from questream.lab.bench.questions import real_texts
    from questream.lab.bench.servers import bench_servers

    known = [peer.name for peer in PEERS]
    if unknown := set(names or []) - set(known):
        raise typer.BadParameter(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    chosen = [peer for peer in PEERS if not names or peer.name in names]
    settings = call.settings
    if settings.kafka.options.get("security_protocol", "PLAINTEXT") != "PLAINTEXT":
        raise typer.BadParameter("the others are given no login: name a Kafka that listens in plain text")
    if "bootstrap_servers" not in settings.kafka.model_fields_set:
        raise typer.BadParameter("name a Kafka to compare on with --bootstrap-servers")
    asked = real_texts(questions, texts)
    with progress() as announce, bench_servers(settings) as servers:
        figures = list(measure_peers(servers.settings, chosen, asked, python or Path(sys.executable), announce))
    if plot is not None:
        draw(figures, plot)
    if call.as_json:
        print_json([asdict(one) for one in figures])
        return
    print_cells(
        [
            ("way", one.name),
            ("guarantee", one.guarantee if one.missing is None else f"needs {one.missing}"),
            ("questions/s#", _figure(one.questions_per_second, ",.0f")),
            ("CPU us/question#", _figure(one.cpu_microseconds, ",.0f")),
            ("clusters#", _figure(one.clusters, ",d")),
            ("lost#", _figure(one.lost, ",d")),
            ("repeated#", _figure(one.repeated, ",d")),
            ("other id#", _figure(one.other_id, ".1%")),
            ("silent s#", _figure(one.silent_seconds, ",.1f")),
        ]
        for one in figures
    )
    for one in figures:
        if one.problem is not None:
            raise typer.BadParameter(f"{one.name}: {one.problem}")


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
