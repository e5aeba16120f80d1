"""`questream train`: fine-tune the model on one's own duplicates."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, remark

if TYPE_CHECKING:
    from rich.progress import Progress

    from questream.lab.training.judging import JudgeReport
    from questream.lab.training.report import Report, Watch

_SHOWN_SHARE = 10


def train(
    folder: Annotated[Path, typer.Argument(help="Folder to write the trained model to; a new or an empty one.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    pairs: Annotated[
        list[Path] | None, typer.Option("--pairs", help="Labelled pairs: text_a, text_b, label. May be repeated.")
    ] = None,
    groups: Annotated[
        list[Path] | None, typer.Option("--groups", help="Questions with their group: text, gold. May be repeated.")
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0.05, max=0.8, help="Share of the texts that is compared and never trained on.")
    ] = 0.2,
    epochs: Annotated[int, typer.Option(min=1, help="How often all data are gone through.")] = 2,
    batch: Annotated[int, typer.Option(min=2, help="Pairs of a step.")] = 32,
    mini_batch: Annotated[
        int | None, typer.Option(min=1, help="Pairs on the device at once (gradient cache): for a --batch too big.")
    ] = None,
    learning_rate: Annotated[float, typer.Option(min=0, help="Highest learning rate, after the warm-up.")] = 2e-5,
    max_tokens: Annotated[int, typer.Option(min=8, help="Tokens of a text that are trained on.")] = 384,
    pairs_per_group: Annotated[int, typer.Option(min=1, help="Most pairs drawn from one group.")] = 64,
    hard_negatives: Annotated[
        int, typer.Option(min=0, max=16, help="Near texts of other groups as negatives of each pair.")
    ] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Draws the held-out part, the pairs and their order.")] = 0,
    compared: Annotated[int, typer.Option(min=100, help="Most held-out questions that are compared.")] = 2_000,
    save_every: Annotated[int, typer.Option(min=1, help="Steps between two checkpoints.")] = 500,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where an earlier run stopped or was killed.")] = False,
    judge: Annotated[
        bool, typer.Option("--judge", help="Train a cross-encoder for judge.model instead, from the model's weights.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fine-tune the model of the settings on your pairs and groups, and compare both models on held-out questions.

    Example: questream train my-model --groups questions.jsonl --pairs pairs.csv --model.name all-MiniLM-L6-v2
    """
    settings = load(config, set_)
    if not pairs and not groups:
        raise typer.BadParameter("give --pairs, --groups or both; `questream export` writes groups of the stream")
    if mini_batch is not None and mini_batch > batch:
        raise typer.BadParameter(f"--mini-batch {mini_batch} is more than --batch {batch}")
    from questream.lab.training.files import train_judge_on_files, train_on_files
    from questream.lab.training.recipe import Recipe
    from questream.lab.training.report import Order

    recipe = Recipe(
        batch=batch,
        mini_batch=mini_batch,
        epochs=epochs,
        learning_rate=learning_rate,
        max_tokens=max_tokens,
        pairs_per_group=pairs_per_group,
        hard_negatives=hard_negatives,
        seed=seed,
    )
    order = Order(folder, recipe, held_out, compared, save_every, resume)
    if judge:
        with _watch() as watch:
            judged = train_judge_on_files(settings, pairs or [], groups or [], order, watch)
        if as_json:
            print_json(asdict(judged) | {"precision": asdict(judged.precision) | {"verdict": judged.precision.verdict}})
        else:
            _print_judge(judged)
        return
    with _watch() as watch:
        report = train_on_files(settings, pairs or [], groups or [], order, watch)
    if as_json:
        changes = [asdict(change) | {"verdict": change.verdict} for change in report.changes]
        print_json(asdict(report) | {"changes": changes})
    else:
        _print_report(report)


def _print_report(report: Report) -> None:
    fitted, recipe, left_out = report.fitted, report.recipe, report.left_out
    print_line(f"{report.folder}: {report.base}, {fitted.steps} steps in {recipe.epochs} epochs, {fitted.dtype}")
    print_line(
        f"trained on {report.trained_on.texts:,} texts in {report.trained_on.groups:,} groups:"
        f" {report.trained_on.positives:,} pairs of the same, {report.trained_on.negatives:,} of different questions"
    )
    if left_out != type(left_out)():
        print_line(
            f"left out: {left_out.ambiguous_texts:,} texts in two groups, {left_out.contradicting_pairs:,} pairs that"
            f" contradict others, {left_out.unusable_pairs:,} of one and the same text, {left_out.parted_pairs:,}"
            " between what is trained on and what is held out"
        )
    if len(fitted.losses) == 1:
        print_line("no pairs of different questions: the ranking loss alone was trained, not the contrastive one")
    if fitted.warm_up_steps < recipe.warm_up_steps:
        print_line(
            f"warm-up of {fitted.warm_up_steps} steps, a tenth of all: {recipe.warm_up_steps:,} would be too many"
        )
    print_line(f"held out: {report.held_out.texts:,} texts in {report.held_out.groups:,} groups")
    _print_changes(report)


def _print_judge(report: JudgeReport) -> None:
    print_line(f"{report.folder}: a judge from {report.base}, {report.steps} steps")
    print_line(
        f"trained on {report.trained_on_same:,} pairs of the same and {report.trained_on_different:,} of near questions"
        f" that differ; held out: {report.held_out_same:,} and {report.held_out_different:,}"
    )
    change, (right, wrong) = report.precision, report.taken_for_same
    print_table(
        ["held out", "cosine#", "judge#", "gain#", "95 %#", ""],
        [
            [
                change.figure,
                f"{change.before:.4f}",
                f"{change.after:.4f}",
                f"{change.after - change.before:+.4f}",
                f"{change.low:+.4f} to {change.high:+.4f}",
                change.verdict,
            ]
        ],
    )
    print_line(
        f"from a probability of {report.min_probability:g} on it takes {right:.1%} of the same for the same, and"
        f" {wrong:.1%} of those that differ"
    )
    print_line(f"To use it: questream run --judge.model {report.folder}")


def _print_changes(report: Report) -> None:
    print_table(
        ["held out", "threshold", "before#", "after#", "gain#", "95 %#", ""],
        (
            [
                change.figure,
                "" if change.at is None else " / ".join(f"{at:g}" for at in dict.fromkeys(change.at)),
                f"{change.before:.4f}",
                f"{change.after:.4f}",
                f"{change.after - change.before:+.4f}",
                f"{change.low:+.4f} to {change.high:+.4f}",
                change.verdict + (" (oracle)" if change.oracle else ""),
            ]
            for change in report.changes
        ),
    )
    print_line("oracle: the threshold was chosen for these very questions, for each model; in use it is not known")
    others = [change.figure for change in report.changes if not change.oracle and change.verdict != "improved"]
    if others:
        print_line(f"Not surely improved: {', '.join(others)}.")
    print_line(f"To use it: questream run --model.name {report.folder}; `questream migrate` moves a namespace to it")


@contextmanager
def _watch() -> Iterator[Watch]:
    """Progress of training on stderr: a bar on a terminal, elsewhere a line for each tenth."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield _Bar(progress)


class _Lines:
    """Shows a training in lines."""

    def __init__(self) -> None:
        self._tenth = 0
        self._loss = ""

    def announce(self, what: str) -> None:
        remark(what)

    def step(self, done: int, steps: int) -> None:
        tenth = done * _SHOWN_SHARE // steps
        if tenth > self._tenth:
            remark(f"step {done} of {steps}{self._loss}")
        self._tenth = tenth

    def loss(self, mean: float) -> None:
        self._loss = f", loss {mean:.4f}"

    def evaluated(self, epoch: float, figures: dict[str, float]) -> None:
        remark(_figures(epoch, figures))


class _Bar:
    """Shows a training by a bar."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._task = progress.add_task("", total=None)

    def announce(self, what: str) -> None:
        self._progress.update(self._task, description=what, total=None)

    def step(self, done: int, steps: int) -> None:
        self._progress.update(self._task, completed=done, total=steps)

    def loss(self, mean: float) -> None:
        self._progress.update(self._task, description=f"training, loss {mean:.4f}")

    def evaluated(self, epoch: float, figures: dict[str, float]) -> None:
        self._progress.console.print(_figures(epoch, figures), highlight=False)


def _figures(epoch: float, figures: dict[str, float]) -> str:
    shown = [
        f"{name} {figures[key]:.4f}"
        for key, name in (
            ("held-out_cosine_ap", "average precision of labelled pairs"),
            ("average_precision", "of all pairs"),
            ("bcubed_f1", "BCubed F1 after the stream"),
        )
        if key in figures
    ]
    return f"epoch {epoch:g}, held out: {', '.join(shown)}"
