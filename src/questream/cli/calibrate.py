"""`questream calibrate`: the threshold, or the resolution of a level, that suits a stream."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from questream.cli.bench import progress
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, remark
from questream.errors import SettingsError


def calibrate(
    sample: Annotated[
        Path | None, typer.Argument(help="Questions of the stream: text lines, CSV or JSON Lines with text.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    from_topic: Annotated[
        bool, typer.Option("--from-topic", help="Take the newest questions of the input topic as the sample.")
    ] = False,
    pairs: Annotated[
        Path | None,
        typer.Option(help="Learn from labelled pairs: text_a, text_b, label; a sample beside them competes."),
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="Learn from questions with gold groups: text and gold (or cluster).")
    ] = None,
    ask: Annotated[
        int, typer.Option(min=0, max=200, help='Ask so many times at most whether two are the same: "40" does.')
    ] = 0,
    answers: Annotated[
        Path | None,
        typer.Option(help="Learn from answers in this file of pairs; with --ask new ones are added to it."),
    ] = None,
    level: Annotated[
        Literal["intent", "topic"] | None,
        typer.Option(help="Propose how fine intents or topics are, in place of the threshold."),
    ] = None,
    granularity: Annotated[
        Literal["question", "duplicate"] | None, typer.Option(help="Search the thresholds of this granularity alone.")
    ] = None,
    false_join_cost: Annotated[
        float, typer.Option(min=0.05, max=20.0, help="What joining wrongly costs, where missing a join costs 1.")
    ] = 1.0,
    questions: Annotated[int, typer.Option(min=100, max=8000, help="Most questions of a sample.")] = 2_000,
    shuffles: Annotated[int, typer.Option(min=0, help="Orders beside that of the file, with --groups.")] = 2,
    examples: Annotated[int, typer.Option(min=0, max=50, help="Clusters and pairs to show of each setting.")] = 4,
    seed: Annotated[int, typer.Option(help="Draws samples, orders and pairs to ask about.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Propose the threshold for your stream: from labelled pairs, gold groups, a few answers, or a sample alone.

    Clusters the questions as a worker would, with its model and rules, at every threshold; reads only. With --level
    it finds the intents or topics above these clusters at every resolution; pairs and groups are of one intent then.
    Example: questream calibrate questions.txt --ask 40 --answers answers.jsonl
    """
    from questream.cli.calibrate_asking import ask_user
    from questream.cli.calibrate_report import as_document, print_report
    from questream.lab.calibration.answers_file import read_answers
    from questream.lab.calibration.calibrate import Wish, from_groups, from_pairs, from_sample, inquire
    from questream.lab.calibration.preview import preview

    _check(sample, from_topic, pairs, groups, ask, answers)
    if level is not None and granularity is not None:
        raise SettingsError("--granularity is of thresholds, --level of intents and topics", "choose one")
    settings = load(config, set_)
    with progress() as announce:
        wish = Wish(settings, level, granularity, questions, false_join_cost, seed, announce)
        if groups is not None:
            done = from_groups(wish, groups, shuffles)
        elif pairs is not None:
            done = from_pairs(wish, pairs, wish.sample(sample, from_topic))
        elif ask or answers is not None:
            texts = wish.sample(sample, from_topic)
            known = read_answers(answers) if answers is not None and (answers.exists() or not ask) else []
            asked_of, inquiry, useless = inquire(wish, texts, known)
            if useless:
                remark(f"{useless:,} answers say nothing: their questions never meet, or they repeat others")
        else:
            done = from_sample(wish, wish.sample(sample, from_topic))
    if ask or answers is not None:
        # Not before the line of progress has gone.
        ask_user(inquiry, asked_of.texts, ask, answers, level)
        done = replace(asked_of, way="answers", proposal=inquiry.proposal(), answers=len(inquiry.answers))
    previews = preview(done.sweep, done.texts, done.proposal.value, examples) if examples else []
    if as_json:
        print_json(as_document(done, previews, settings, false_join_cost))
    else:
        print_report(done, previews, settings)


def _check(
    sample: Path | None, from_topic: bool, pairs: Path | None, groups: Path | None, ask: int, answers: Path | None
) -> None:
    ways = [pairs is not None, groups is not None, bool(ask) or answers is not None]
    if sum(ways) > 1:
        raise SettingsError("--pairs, --groups and --ask or --answers are three ways", "choose one")
    if groups is not None and (sample is not None or from_topic):
        raise SettingsError("--groups is a sample itself", "give no other")
    if sample is not None and from_topic:
        raise SettingsError("give a file of questions or --from-topic, not both")
    if pairs is None and groups is None and sample is None and not from_topic:
        raise SettingsError(
            "there are no questions to calibrate with",
            "give questions of the stream: a file, --from-topic, --pairs or --groups",
        )
    if ask and answers is not None and answers.suffix.lower() not in (".jsonl", ".ndjson", ".json"):
        raise SettingsError("answers are written as JSON Lines", "give --answers a name that ends in .jsonl")
