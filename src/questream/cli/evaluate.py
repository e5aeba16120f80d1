"""`questream evaluate`: how well the model and the settings cluster questions that somebody has labelled."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.bench import progress
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, printable, remark
from questream.errors import QuestreamError

if TYPE_CHECKING:
    from questream.lab.evaluation.files import GoldFile, PairFile
    from questream.lab.evaluation.report.page import Evaluation, Subject
    from questream.settings import Settings


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
    """Measure how well the model and the threshold of the settings do on questions with gold groups or labelled pairs.

    The columns of a file tell which it is. No server is needed, nothing is stored.
    Example: questream evaluate banking.csv pairs.jsonl --report report.html --clusters.granularity intent
    """
    settings = load(config, set_)
    if report is not None:
        _require_report(report)
    read = {path: _read(path, questions, seed) for path in files}
    subject, evaluations = _evaluate(settings, read, shuffles, seed)
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
    """Tell before minutes of work what would keep the report from being written."""
    from questream.lab.evaluation.report.plots import require_matplotlib

    require_matplotlib()
    if path.is_dir() or not path.absolute().parent.is_dir():
        raise QuestreamError(f"{path} cannot be written: it is a folder, or its folder is not there")


def _read(path: Path, questions: int, seed: int) -> PairFile | GoldFile:
    from questream.lab.evaluation.files import read_gold_file, read_pair_file
    from questream.records.files import holds_pairs

    return read_pair_file(path, questions, seed) if holds_pairs(path) else read_gold_file(path, questions, seed)


def _evaluate(
    settings: Settings, files: Mapping[Path, PairFile | GoldFile], shuffles: int, seed: int
) -> tuple[Subject, dict[str, Evaluation]]:
    from questream.deciding.config import rules_of
    from questream.encoder import load_encoder
    from questream.lab.evaluation.evaluate import evaluate_groups, evaluate_pairs
    from questream.lab.evaluation.files import PairFile
    from questream.lab.evaluation.report.page import Subject

    evaluations: dict[str, Evaluation] = {}
    with progress() as announce:
        announce("loading the model")
        encoder = load_encoder(settings.model)
        rules = rules_of(settings, encoder)
        for path, file in files.items():
            announce(path.name)
            if isinstance(file, PairFile):
                evaluations[str(path)] = evaluate_pairs(file, encoder, rules, announce)
            else:
                evaluations[str(path)] = evaluate_groups(file, encoder, rules, shuffles, seed, announce)
    by_name = settings.clusters.threshold is None and encoder.preset is None
    subject = Subject(
        model=encoder.name,
        revision=encoder.revision,
        rules=rules,
        granularity=settings.clusters.granularity if by_name else None,
        version=version("questream"),
        at=datetime.now(UTC),
    )
    return subject, evaluations


def _print_tables(subject: Subject, evaluations: Mapping[str, Evaluation]) -> None:
    from questream.cli.evaluation_tables import print_figures

    rules = subject.rules
    print_line(
        f"{printable(subject.model)}, threshold {rules.threshold:g}, {rules.similarity}, {rules.linkage} linkage"
    )
    for name, evaluation in evaluations.items():
        print_line(f"\n{printable(name)}")
        print_figures(evaluation, rules.threshold, print_line, print_table)
