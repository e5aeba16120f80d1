"""`questream evaluate`: how well the model and the settings cluster questions that somebody has labelled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.bench import progress
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, printable, remark
from questream.errors import QuestreamError

if TYPE_CHECKING:
    from questream.lab.evaluation.report.page import Evaluation, Subject


def evaluate(
    files: Annotated[
        list[Path],
        typer.Argument(help="CSV or JSON Lines: questions (text, gold, maybe ts), or pairs (text_a, text_b, label)."),
    ],
    config: ConfigOption = None,
    set_: SetOption = None,
    questions: Annotated[int, typer.Option(min=2, help="Most questions or pairs of a file.")] = 5_000,
    shuffles: Annotated[int, typer.Option(min=0, help="Orders beside that of the file or of time.")] = 3,
    seed: Annotated[int, typer.Option(help="Draws questions, pairs and shuffles.")] = 0,
    report: Annotated[
        Path | None,
        typer.Option(help="Write a page with plots and examples, such as report.html; needs matplotlib."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the model and the threshold of the settings on questions with gold groups or labelled pairs.

    The columns of a file decide which it is. No server is needed, nothing is stored.
    Example: questream evaluate banking.csv pairs.jsonl --report report.html
    """
    from questream.lab.evaluation.run import evaluate_files, read_file
    from questream.records.files import FileTexts

    settings = load(config, set_)
    if report is not None:
        _require_report(report)
    texts = FileTexts(settings.input)
    read = {path: read_file(path, questions, seed, texts) for path in files}
    with progress() as announce:
        subject, evaluations = evaluate_files(settings, read, shuffles, seed, announce)
    if report is not None:
        from questream.lab.evaluation.report.page import write_report

        write_report(report, subject, evaluations)
    if as_json:
        from questream.cli.evaluation_tables import figures_document

        print_json(figures_document(subject, evaluations))
    else:
        _print_tables(subject, evaluations)
    if report is not None:
        remark(f"{report}: plots and examples")


def _require_report(path: Path) -> None:
    """Fail before minutes of work where the report could not be written."""
    from questream.lab.evaluation.report.plots import require_matplotlib

    require_matplotlib()
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise QuestreamError(f"{path} cannot be written: it is a folder, or its folder is not there")


def _print_tables(subject: Subject, evaluations: Mapping[str, Evaluation]) -> None:
    from questream.cli.evaluation_tables import print_figures

    rules = subject.rules
    print_line(
        f"{printable(subject.model)}, threshold {rules.threshold:g}, {rules.similarity}, {rules.linkage} linkage"
    )
    for name, evaluation in evaluations.items():
        print_line(f"\n{printable(name)}")
        print_figures(evaluation, rules.threshold, print_line, print_table)
