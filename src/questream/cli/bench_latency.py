"""`questream bench latency`: how long a question waits for its decision."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.bench import BenchCall, FileOption, bench, bench_options, progress
from questream.cli.output import print_cells, print_json, print_line

if TYPE_CHECKING:
    from questream.lab.bench.latency import LatencyReport


@bench.command("latency")
@bench_options("bootstrap_servers", "redis_url")
def bench_latency(
    call: BenchCall,
    texts: FileOption = None,
    questions: Annotated[int, typer.Option(min=256, help="Questions by which the capacity is measured.")] = 4_000,
    shares: Annotated[
        list[float] | None,
        typer.Option("--share", min=0.01, max=0.99, help="Of the capacity. Repeatable; default: .2, .5, .8, .95."),
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="How long questions arrive at each share.")] = 30.0,
    waits: Annotated[
        list[int] | None,
        typer.Option(
            "--wait-ms", min=1, max=5_000, help="Beside it, a worker that waits so long for a batch. Repeatable."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the arrivals.")] = 0,
) -> None:
    """Measure how long questions wait at shares of one worker's capacity, from when each is due until its decision.

    Example: questream bench latency --bootstrap-servers 127.0.0.1:9092 --redis-url redis://127.0.0.1:6379/0
    """
    from questream.lab.bench.latency import measure_latencies
    from questream.lab.bench.questions import ModelSource, real_texts
    from questream.lab.bench.servers import bench_servers

    settings = call.settings
    asked = real_texts(questions, texts)
    with progress() as announce, bench_servers(settings) as servers:
        report = measure_latencies(
            servers.settings,
            ModelSource(settings.model),
            asked,
            shares or [0.2, 0.5, 0.8, 0.95],
            seconds,
            announce,
            seed,
            waits or [],
        )
    if call.as_json:
        print_json(asdict(report))
    else:
        _print_report(report)


def _print_report(report: LatencyReport) -> None:
    from questream.metrics import STAGES

    print_line(
        f"Capacity: {report.capacity_per_second:,.0f} questions/s in micro-batches of {report.questions_per_batch:.0f},"
        f" one each {report.batch_milliseconds:,.0f} ms"
    )
    print_line("From the moment a question is due until a reader has its decision, ms")
    print_cells(
        [
            ("load#", f"{one.share:.0%}"),
            ("arrivals", one.arrivals),
            ("wait#", str(one.wait_milliseconds)),
            ("asked/s#", f"{one.asked_per_second:,.0f}"),
            ("p50#", f"{one.p50:,.0f}"),
            ("p99#", f"{one.p99:,.0f}"),
            ("p99.9#", f"{one.p999:,.0f}"),
            ("longest#", f"{one.longest:,.0f}"),
            ("p99 in batches#", f"{one.batches_of_p99:.1f}"),
            ("CPU us/question#", "?" if one.cpu_microseconds is None else f"{one.cpu_microseconds:,.0f}"),
        ]
        for one in report.loads
    )
    print_line("Where a micro-batch spends its time, ms; `queue` is waiting, and the stages overlap")
    print_cells(
        [
            ("load#", f"{one.share:.0%}"),
            ("arrivals", one.arrivals),
            ("wait#", str(one.wait_milliseconds)),
            ("questions#", f"{one.questions_per_batch:.0f}"),
            *((f"{stage}#", f"{one.stage_milliseconds[stage]:,.1f}") for stage in STAGES),
        ]
        for one in report.loads
    )
