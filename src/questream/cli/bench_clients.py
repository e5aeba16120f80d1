"""`questream bench clients`: the clients for Kafka beside each other."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from questream.cli.bench import BenchCall, bench, bench_options, progress
from questream.cli.output import print_cells, print_json, print_line


@bench.command("clients")
@bench_options("bootstrap_servers", "redis_url")
def bench_clients(
    call: BenchCall,
    names: Annotated[
        list[str] | None,
        typer.Option("--client", metavar="NAME", help="May be repeated; default: all that are installed."),
    ] = None,
    questions: Annotated[int, typer.Option(min=256, help="Questions of a turn.")] = 10_000,
    topics: Annotated[int, typer.Option(min=1, help="How many subjects they are about.")] = 300,
    dimension: Annotated[int, typer.Option(min=2, help="Dimension of the made-up vectors.")] = 384,
    turns: Annotated[int, typer.Option(min=1, help="Turns of each client.")] = 3,
) -> None:
    """Compare the clients for Kafka: questions a second and processor time of a worker, with prepared vectors.

    Example: questream bench clients --bootstrap-servers 127.0.0.1:9092 --redis-url redis://127.0.0.1:6379/0
    """
    from questream.lab.bench.clients import installed_clients, measure_clients
    from questream.lab.bench.questions import SyntheticQuestions
    from questream.lab.bench.servers import bench_servers

    installed = installed_clients()
    chosen = [client for client in installed if not names or client in names]
    if unknown := set(names or []) - set(installed):
        raise typer.BadParameter(f"{', '.join(sorted(unknown))} is not here; there are {', '.join(installed)}")
    settings = call.settings
    asked = SyntheticQuestions(questions, dimension, topics)
    with progress() as announce, bench_servers(settings) as servers:
        figures = measure_clients(servers.settings, chosen, installed[-1], asked, turns, announce)
    if call.as_json:
        print_json([asdict(one) for one in figures])
        return
    print_cells(
        [
            ("client", one.client),
            ("questions/s#", f"{one.questions_per_second:,.0f}"),
            ("ratio#", f"{one.rate_ratio:.2f}"),
            ("CPU us/question#", "?" if one.cpu_microseconds is None else f"{one.cpu_microseconds:,.0f}"),
            ("ratio#", "?" if one.cpu_ratio is None else f"{one.cpu_ratio:.2f}"),
            ("per batch#", f"{one.questions_per_batch:.0f}"),
            ("publish ms#", f"{one.publish_milliseconds:,.1f}"),
            ("duplicates#", f"{one.duplicates:,}"),
        ]
        for one in figures
    )
    print_line(f"Medians of {turns} turns; delivery {settings.delivery}; load {figures[-1].load_average or 0:.1f}")
