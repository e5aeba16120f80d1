"""`questream export`: the running stream's questions with their groups, to train, evaluate and calibrate on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.clusters import NamespaceOption
from questream.cli.options import ConfigOption, SetOption, load
from questream.cli.output import destination, json_line, remark
from questream.tools.sorting import Level

if TYPE_CHECKING:
    from questream.lab.training.decided import Group


def export(
    file: Annotated[Path | None, typer.Argument(help="File to write, JSON Lines; default, and `-`: stdout.")] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    labelled: Annotated[bool, typer.Option("--labelled", help="Only groups that an operator gave a label.")] = False,
    min_questions: Annotated[
        int, typer.Option(min=1, help="Only groups that at least so many of the questions are in.")
    ] = 2,
    level: Annotated[
        Level | None, typer.Option(help="Groups are intents or topics, as a worker found them last, not clusters.")
    ] = None,
    decisions: Annotated[
        int, typer.Option(min=1, help="How many of the newest decisions of each partition to look at.")
    ] = 200_000,
) -> None:
    """Write the questions of the stream, each with its current cluster, intent or topic.

    A line each: id, text from the input topic, gold (the group; those with the same label are one) and label.
    Example: questream export groups.jsonl --labelled --level intent
    """
    from questream.lab.training.decided import Missed, decided_questions
    from questream.tools.clusters import open_namespace

    settings = load(config, set_)
    store, chosen = open_namespace(settings, namespace)

    def wanted(group: Group) -> bool:
        return group.questions >= min_questions and (group.label is not None or not labelled)

    missed, written, at = Missed(), 0, 0 if level is None else 1 + list(Level).index(level)
    with destination(file) as output:
        for question in decided_questions(settings, store, chosen, decisions, wanted, missed, at):
            label = {} if question.label is None else {"label": question.label}
            output.write(json_line({"id": question.id, "text": question.text, "gold": question.gold, **label}) + "\n")
            written += 1
    remark(f"{written:,} questions written")
    if missed.questions:
        remark(f"{missed.questions:,} questions are no longer in {settings.kafka.input_topic}, or read otherwise now")
