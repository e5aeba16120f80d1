"""`questream bench mails`: how well mails are clustered by the question in them."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated

import typer

from questream.cli.bench import BenchCall, GoldFiles, bench, bench_options, progress
from questream.cli.output import print_json, print_line, print_table


@bench.command("mails")
@bench_options()
def bench_mails(
    call: BenchCall,
    files: GoldFiles,
    questions: Annotated[int, typer.Option(min=100, help="Most questions of a file.")] = 600,
    languages: Annotated[
        list[str] | None, typer.Option("--language", help="en, de, fr or es. Repeatable; default: each in turn.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Draws the questions and the mails.")] = 0,
) -> None:
    """Compare how well questions are clustered plain, in mails made around them, and as these are prepared.

    The mails have greeting, courtesies, order numbers, closing, signature, legal notice, ticket header and quoted mail,
    a quarter of them in HTML.
    Example: questream bench mails banking77.jsonl --clusters.threshold 0.55
    """
    from questream.deciding.config import rules_of
    from questream.encoder import load_encoder
    from questream.lab.bench.mails.making import LANGUAGES
    from questream.lab.bench.mails.measure import clustered, in_a_new_namespace, measure_mails
    from questream.lab.evaluation.stream import read_gold
    from questream.records.files import FileTexts

    chosen = languages or list(LANGUAGES)
    if unknown := [one for one in chosen if one not in LANGUAGES]:
        raise typer.BadParameter(f"{unknown[0]} is none of {', '.join(LANGUAGES)}", param_hint="--language")
    settings = call.settings
    preparation = partial(in_a_new_namespace, settings.input)
    read = {file: read_gold(file, questions, seed, FileTexts(settings.input)) for file in files}
    document = {}
    with progress() as announce:
        encoder = load_encoder(settings.model)
        rules = rules_of(settings, encoder)
        for file, (plain, gold) in read.items():
            announce(f"{file.name}: {len(plain):,} questions through the model")
            alone = clustered(plain, gold, encoder.encode, rules)
            figures = []
            for one in measure_mails(plain, gold, chosen, seed, preparation, encoder.encode, rules):
                announce(f"{file.name}: {one.language}")
                figures.append(one)
            document[str(file)] = {"plain": asdict(alone), "mails": [asdict(one) for one in figures]}
            if call.as_json:
                continue
            print_line(f"\n{file.name}: {len(plain):,} questions, threshold {rules.threshold:g}, {encoder.name}")
            print_table(
                ["mails", "exact#", "lost#", "words beside#", "us a mail#", "plain#", "mail#", "prepared#"],
                [
                    [
                        one.language,
                        f"{one.left.exact / one.left.mails:.1%}",
                        f"{one.left.lost / one.left.mails:.1%}",
                        f"{one.left.words_beside:.1f}",
                        f"{one.left.microseconds:,.0f}",
                        *(
                            f"{each.bcubed_f1:.3f}/{each.adjusted_rand_index:.3f}"
                            for each in (alone, one.mail, one.prepared)
                        ),
                    ]
                    for one in figures
                ],
            )
    if call.as_json:
        print_json({"model": encoder.name, "threshold": rules.threshold, "files": document})
    else:
        print_line("BCubed F1 / ARI as published; exact: the question alone is left; lost: not all of it.")
