"""`questream bench scale`: what more workers give where all of them open clusters in one namespace."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from questream.cli.bench import BenchCall, bench, bench_options, numbers, progress
from questream.cli.output import print_cells, print_json, print_line


@bench.command("scale")
@bench_options("redis_url")
def bench_scale(
    call: BenchCall,
    workers: Annotated[
        str, typer.Option(metavar="N,...", help="Numbers of workers; the first is compared with.")
    ] = "1,2,4",
    clusters: Annotated[int, typer.Option(min=1, help="Clusters that are there at the start.")] = 2_000,
    dimension: Annotated[int, typer.Option(min=2, help="Dimension of the made-up vectors.")] = 384,
    ready_ms: Annotated[
        float, typer.Option(min=0, help="A worker's next micro-batch is ready so long after it took the last.")
    ] = 0.0,
    namespaces: Annotated[int, typer.Option(min=1, max=64, help="Namespaces that the workers take in turn.")] = 1,
    batches: Annotated[
        int, typer.Option(min=1, help="Micro-batches that each number of workers decides, all together.")
    ] = 100,
) -> None:
    """Measure workers of one namespace whose questions are all new: refusals, processor time of workers and of Redis.

    Where there are fewer cores than workers, `--ready-ms` leaves them time, and the processor time counts.
    Example: questream bench scale --redis-url redis://127.0.0.1:6379/0 --workers 1,2,4 --ready-ms 500
    """
    from questream.lab.bench.scale import ScalePlan, measure_scale
    from questream.lab.bench.servers import bench_store

    plan = ScalePlan(numbers("--workers", workers, least=1), dimension, clusters, ready_ms, batches, namespaces)
    settings = call.settings
    with progress() as announce, bench_store(settings) as own:
        found = measure_scale(own, plan, announce)
    if call.as_json:
        print_json({"scale": [asdict(figures) for figures in found]})
        return
    print_cells(
        [
            ("workers#", str(one.workers)),
            ("questions/s#", f"{one.questions_per_second:,.0f}"),
            ("gain#", f"{one.gain:.2f}"),
            ("a core each#", f"{one.core_each_per_second:,.0f}"),
            ("gain#", f"{one.core_each_gain:.2f}"),
            ("refusals#", f"{one.refusals_per_batch:.2f}"),
            ("worker us#", f"{one.worker_microseconds:,.0f}"),
            ("Redis us#", f"{one.redis_microseconds:,.0f}"),
            ("cores#", f"{one.busy_cores:.2f}"),
        ]
        for one in found
    )
    print_line("Refusals are of a batch of 256 questions; microseconds of processor time are of a question.")
