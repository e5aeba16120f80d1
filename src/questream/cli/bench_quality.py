"""`questream bench quality`: how well questions are clustered, beside what else there is."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from questream.cli.bench import BenchCall, GoldFiles, bench, bench_options, progress
from questream.cli.output import print_json, print_line, print_table


@bench.command("quality")
@bench_options()
def quality(
    call: BenchCall,
    files: GoldFiles,
    questions: Annotated[int, typer.Option(min=100, help="Most questions of a file.")] = 3_000,
    shuffles: Annotated[int, typer.Option(min=0, help="Orders beside that of the file.")] = 2,
    seed: Annotated[int, typer.Option(help="Draws the questions and the orders.")] = 0,
    limit_seconds: Annotated[
        float, typer.Option(min=1, help="Longest that one method may take on a file; its row rests on what it did.")
    ] = 300.0,
    only: Annotated[list[str] | None, typer.Option("--only", help="Methods whose name begins so. Repeatable.")] = None,
) -> None:
    """Compare how well questions are clustered with other libraries and offline references, on the same vectors.

    Ours takes the threshold of `clusters.granularity`; an asterisk marks a setting that was the best of several for the
    gold groups. What is not installed is named: `make setup EXTRAS=quality` brings it. Last come the goals, and
    whether they hold.
    Example: questream bench quality banking77.jsonl --questions 2500
    """
    from questream.encoder import load_encoder
    from questream.lab.bench.quality.goals import goals_of
    from questream.lab.bench.quality.measure import all_methods, measure_quality
    from questream.lab.bench.quality.report import print_quality
    from questream.lab.evaluation.stream import Stream, orders_of, read_gold
    from questream.records.files import FileTexts

    settings = call.settings
    granularity = settings.clusters.granularity
    names = [m.name for m in all_methods(granularity) if not only or m.name.startswith(tuple(only))]
    read = {file: read_gold(file, questions, seed, FileTexts(settings.input)) for file in files}
    document = {}
    with progress() as announce:
        encoder = load_encoder(settings.model)
        for file, (texts, gold) in read.items():
            announce(f"{file.name}: {len(texts):,} questions through the model")
            stream = Stream(texts, encoder.encode(texts), gold)
            streams = [stream.in_order(order) for order in orders_of(len(texts), shuffles, seed)]
            figures = measure_quality(streams, granularity, names, limit_seconds, announce)
            document[str(file)] = {
                "figures": [asdict(one) for one in figures],
                "goals": [asdict(goal) for goal in goals_of(figures, granularity)],
            }
            if not call.as_json:
                size = f"{len(texts):,} questions, {len(set(gold.tolist())):,} groups"
                title = f"{file.name}: {size}, {granularity}, {encoder.name}"
                print_quality(title, figures, granularity, print_line, print_table)
    if call.as_json:
        print_json({"model": encoder.name, "granularity": granularity, "files": document})
