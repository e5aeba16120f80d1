"""`questream bench serve`: how soon the page and its API answer in a namespace of many clusters."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from questream.cli.bench import BenchCall, bench, bench_options, progress
from questream.cli.output import print_json, print_line, print_table


@bench.command("serve")
@bench_options("bootstrap_servers", "redis_url")
def bench_serve(
    call: BenchCall,
    clusters: Annotated[int, typer.Option(min=1, max=5_000_000, help="Clusters of the namespace.")] = 100_000,
    runs: Annotated[int, typer.Option(min=2, max=10_000, help="Requests of each kind.")] = 20,
) -> None:
    """Measure pages, lists, searches and decisions of `questream serve`, and the processor time that each takes.

    Example: questream bench serve --clusters 100000 --redis-url redis://127.0.0.1:6379/0
    """
    from questream.lab.bench.servers import bench_servers
    from questream.lab.bench.serving import measure_serve

    settings = call.settings
    with progress() as announce, bench_servers(settings) as servers:
        report = measure_serve(servers.settings, clusters, runs, announce)
    if call.as_json:
        print_json(asdict(report))
        return
    print_line(
        f"{report.clusters:,} clusters, read in {report.read_seconds:.1f} s; the server takes"
        f" {report.resident_mib:,.0f} MiB; load average {report.load_average or 0:.1f}"
    )
    print_table(
        ["request", "runs#", "first ms#", "median ms#", "p95 ms#", "cpu ms#", "KiB#"],
        [
            [
                one.what,
                str(one.runs),
                *(f"{value:,.1f}" for value in (one.first, one.median, one.p95)),
                "-" if one.cpu_mean is None else f"{one.cpu_mean:,.1f}",
                f"{one.kilobytes:,.1f}",
            ]
            for one in report.figures
        ],
    )
