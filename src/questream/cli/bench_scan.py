"""`questream bench scan`: deciding a micro-batch beside one product of matrices, and beside other indexes."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from questream.cli.bench import BenchCall, CountsOption, DimensionsOption, bench, bench_options, numbers, progress
from questream.cli.output import print_json, print_line, print_table


@bench.command("scan")
@bench_options()
def bench_scan(
    call: BenchCall,
    dimensions: DimensionsOption = "384,768",
    clusters: CountsOption = "10000,100000",
    questions: Annotated[str, typer.Option(metavar="N,...", help="Questions of a batch.")] = "32,256",
    runs: Annotated[int, typer.Option(min=1, help="Batches of each.")] = 5,
) -> None:
    """Measure deciding a batch in units of one product of its questions with all clusters; no store.

    Beside it faiss and usearch with their recall, where they are installed: make setup EXTRAS=indexes
    Example: questream bench scan --clusters 10000 --dimensions 384
    """
    from questream.lab.bench.scan import ScanFigures, measure_scan, missing_indexes

    sizes = [
        (dimension, count, batch)
        for dimension in numbers("--dimensions", dimensions, least=2)
        for count in numbers("--clusters", clusters, least=1)
        for batch in numbers("--questions", questions, least=1)
    ]
    settings = call.settings
    found: list[ScanFigures] = []
    with progress() as announce:
        for size in sizes:
            for figures in measure_scan(settings, *size, runs):
                found.append(figures)
                announce(
                    f"{figures.questions} questions, {figures.clusters:,} clusters of {figures.dimension} dimensions:"
                    f" {figures.way}, {figures.milliseconds:,.1f} ms"
                )
    if call.as_json:
        print_json({"scans": [asdict(one) for one in found], "missing": missing_indexes()})
        return
    print_table(
        ["dimensions#", "clusters#", "questions#", "way", "CPU ms#", "products#", "recall#"],
        [
            [
                *(f"{size:,}" for size in (one.dimension, one.clusters, one.questions)),
                one.way,
                f"{one.milliseconds:,.1f}",
                f"{one.gemms:.2f}",
                "" if one.recall is None else f"{one.recall:.3f}",
            ]
            for one in found
        ],
    )
    print_line("Processor time of one thread for a batch, in ms and in units of one product with all clusters.")
    if missing := missing_indexes():
        print_line(f"Not installed: {', '.join(missing)}")
