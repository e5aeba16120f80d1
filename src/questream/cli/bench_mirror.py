"""`questream bench mirror`: how long a worker takes to load the clusters that others change meanwhile."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from questream.cli.bench import BenchCall, bench, bench_options, print_figures, progress
from questream.cli.output import print_json


@bench.command("mirror")
@bench_options("redis_url")
def bench_mirror(
    call: BenchCall,
    clusters: Annotated[int, typer.Option(min=1, help="How many clusters are loaded.")] = 100_000,
    dimension: Annotated[int, typer.Option(min=2, help="Dimension of the made-up vectors.")] = 768,
    changes: Annotated[float, typer.Option(min=1, help="Changes of clusters per second meanwhile.")] = 3_000,
) -> None:
    """Measure how long clusters take to load while other workers change them; exit code 1 if the copy differs.

    100,000 clusters of 768 dimensions take about 0.5 GB of Redis, and as much of this process, while it runs.
    Example: questream bench mirror --redis-url redis://127.0.0.1:6379/0 --changes 3000 --clusters.log_entries 1024
    """
    from questream.lab.bench.mirror import measure_mirror
    from questream.lab.bench.servers import bench_store

    settings = call.settings
    with progress() as announce, bench_store(settings) as own:
        figures = measure_mirror(own, clusters, dimension, changes, announce)
    if call.as_json:
        print_json(asdict(figures))
    else:
        print_figures(asdict(figures), ",.1f")
    if figures.differing_clusters:
        raise typer.Exit(1)
