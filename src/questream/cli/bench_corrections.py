"""`questream bench corrections`: what an operator's corrections do for later questions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from questream.cli.bench import BenchCall, GoldFiles, bench, bench_options, progress
from questream.cli.output import print_json, print_line, print_table


@bench.command("corrections")
@bench_options()
def corrections(
    call: BenchCall,
    files: GoldFiles,
    questions: Annotated[int, typer.Option(min=100, help="Most questions of a file; half of them come later.")] = 6_000,
    budgets: Annotated[
        list[int] | None, typer.Option("--corrections", min=0, help="How many corrections; may be repeated.")
    ] = None,
    shuffles: Annotated[int, typer.Option(min=1, help="Orders of the questions, of which the mean is taken.")] = 3,
    seed: Annotated[int, typer.Option(help="Draws the questions and the orders.")] = 0,
) -> None:
    """Measure how much better later questions are clustered after an operator's right corrections.

    Example: questream bench corrections banking77.jsonl --clusters.threshold 0.55
    """
    from questream.deciding.config import rules_of
    from questream.encoder import load_encoder
    from questream.lab.bench.quality.corrections import correction_curve, mean_of_orders
    from questream.lab.evaluation.stream import Stream, orders_of, read_gold
    from questream.records.files import FileTexts

    settings = call.settings
    chosen = budgets or [0, 20, 100, 500]
    read = {file: read_gold(file, questions, seed, FileTexts(settings.input)) for file in files}
    document = {}
    with progress() as announce:
        encoder = load_encoder(settings.model)
        rules = rules_of(settings, encoder)
        for file, (texts, gold) in read.items():
            announce(f"{file.name}: {len(texts):,} questions through the model")
            stream = Stream(texts, encoder.encode(texts), gold)
            curves = []
            for at, order in enumerate(orders_of(len(texts), shuffles, seed)[1:], start=1):
                announce(f"{file.name}: order {at}")
                curves.append(correction_curve(stream.in_order(order), rules, chosen))
            curve = mean_of_orders(curves)
            document[str(file)] = [asdict(one) for one in curve]
            if not call.as_json:
                print_line(f"\n{file.name}: threshold {rules.threshold:g}, {curve[0].questions:,} later questions")
                print_table(
                    ["corrections#", "moved#", "rejected#", "F1#", "P#", "R#"],
                    [
                        (
                            str(one.corrections),
                            str(one.moved),
                            str(one.rejected),
                            *(f"{share:.4f}" for share in (one.bcubed_f1, one.bcubed_precision, one.bcubed_recall)),
                        )
                        for one in curve
                    ],
                )
    if call.as_json:
        print_json({"model": encoder.name, "threshold": rules.threshold, "files": document})
