"""The demo on a terminal: one screen that is drawn again several times a second."""

from __future__ import annotations

from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.rule import Rule
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from questream.lab.demo.snapshot import Answer, Figures, IntentView, Snapshot, Stage, Summary

_ACCENT = "cyan"
# Lines of a screen that are not intents: title, gap, three stages, gap, two of figures, gap, heading, cursor.
_OTHER_LINES = 11
# Of the last screen: title, two of figures, heading; below its summary a gap, the prompt's hint, a gap, the prompt.
_OTHER_LINES_OF_THE_END = 8
_MOST_INTENTS = 20
_LEAST_LINES = 3
# With less room than this only the biggest intent is shown with clusters, and with few.
_ROOMY_LINES = 8
_FEW_CLUSTERS = 2
_WIDEST = 120


def intents_that_fit(console: Console) -> int:
    """The number of intents that fit where each has a line."""
    return max(min(console.size.height - _OTHER_LINES, _MOST_INTENTS), _LEAST_LINES)


class LiveScreen:
    """A `Display` for a terminal; a context, so that the cursor comes back whatever happens."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, vertical_overflow="crop", redirect_stderr=False)
        self._spinner = Spinner("dots", style=_ACCENT)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, snapshot: Snapshot) -> None:
        """Draw this moment over the one before."""
        self._live.update(render_snapshot(snapshot, self._console, self._spinner), refresh=True)

    def finish(self, snapshot: Snapshot, summary: Summary) -> None:
        """Draw the last moment without its stages, and the summary below it, so that the prompt scrolls nothing off."""
        self._live.update(render_end(snapshot, summary, self._console), refresh=True)
        self._live.stop()


def render_snapshot(snapshot: Snapshot, console: Console, spinner: Spinner) -> RenderableType:
    """The whole screen."""
    width = min(console.size.width, _WIDEST)
    parts: list[RenderableType] = [
        _title(snapshot),
        Text(),
        _stages(snapshot.stages, spinner, width),
        Text(),
    ]
    if snapshot.figures.decided or snapshot.figures.dead_lettered:
        lines = intents_that_fit(console)
        parts += [_figures(snapshot.figures, width), Text(), _biggest(snapshot.figures.biggest, width, lines)]
    return Group(*parts)


def render_end(snapshot: Snapshot, summary: Summary, console: Console) -> RenderableType:
    """The screen that stays when the stream has ended."""
    width = min(console.size.width, _WIDEST)
    shown_summary = render_summary(summary)
    lines = console.size.height - _OTHER_LINES_OF_THE_END - len(console.render_lines(shown_summary, pad=False))
    return Group(
        _title(snapshot),
        _figures(snapshot.figures, width),
        _biggest(snapshot.figures.biggest, width, max(lines, _LEAST_LINES)),
        shown_summary,
    )


def _title(snapshot: Snapshot) -> Rule:
    title = Text.assemble(("questream ", f"bold {_ACCENT}"), (snapshot.title, "default"))
    return Rule(title, align="left", style="dim")


def _stages(stages: tuple[Stage, ...], spinner: Spinner, width: int) -> Table:
    table = Table.grid(padding=(0, 1))
    table.add_column(width=3, justify="right")
    table.add_column(width=10, style="bold")
    table.add_column(width=width - 26, no_wrap=True, overflow="ellipsis")
    table.add_column(width=8, justify="right", style="dim")
    for stage in stages:
        mark: RenderableType = Text("✓", style="green") if stage.finished else spinner
        table.add_row(mark, stage.name, _stage_progress(stage, width - 26), f"{stage.seconds:.1f} s")
    return table


def _stage_progress(stage: Stage, width: int) -> RenderableType:
    if stage.finished:
        return Text(stage.detail, style="dim")
    bar = ProgressBar(
        total=None if stage.done_share is None else 1.0,
        completed=stage.done_share or 0.0,
        pulse=stage.done_share is None,
        width=max(width - len(stage.detail) - 2, 8),
        complete_style=_ACCENT,
        pulse_style=_ACCENT,
    )
    line = Table.grid(padding=(0, 1))
    line.add_row(bar, Text(stage.detail, style="dim"))
    return line


def _figures(figures: Figures, width: int) -> Table:
    named = [
        (f"{figures.questions_per_second:,.0f}", "questions/s", "bold"),
        (latency(figures.p50_ms), "p50", "bold"),
        (latency(figures.p99_ms), "p99", "bold"),
        (f"{figures.clusters:,}", "clusters", f"bold {_ACCENT}"),
        (f"{figures.joined:,}", "joined", "bold green"),
        (f"{figures.created:,}", "created", "bold yellow"),
        (f"{figures.merged:,}", "merged", "bold magenta"),
    ]
    if figures.dead_lettered:
        named.append((f"{figures.dead_lettered:,}", "refused", "bold red"))
    table = Table.grid(padding=0, expand=False)
    # The first name is the longest; at 80 columns each of the others has room for 8 characters and a gap.
    table.add_column(width=13, justify="center", no_wrap=True)
    for _ in named[1:]:
        table.add_column(width=(width - 13) // (len(named) - 1), justify="center", no_wrap=True)
    table.add_row(*(Text(number, style=style) for number, _, style in named))
    table.add_row(*(Text(name, style="dim") for _, name, _ in named))
    return table


def _biggest(intents: tuple[IntentView, ...], width: int, lines: int) -> RenderableType:
    """As many intents with their biggest clusters as there are lines for, below a heading."""
    bar_width = max(width // 8, 8)
    table = Table.grid(padding=(0, 1))
    table.add_column(width=7, justify="right")
    table.add_column(width=7, justify="right", style="bold")
    table.add_column(width=bar_width, style=_ACCENT, no_wrap=True)
    table.add_column(width=width - bar_width - 19, no_wrap=True, overflow="ellipsis")
    heading = Text("biggest intents with clusters, by typical question", style="dim")
    table.add_row("", "", Text("questions", style="dim", overflow="crop"), heading)
    largest = max((intent.size for intent in intents), default=1)
    roomy = lines >= _ROOMY_LINES
    for at, intent in enumerate(intents):
        parts = intent.clusters if len(intent.clusters) > 1 else ()
        if not roomy:
            parts = parts[:_FEW_CLUSTERS] if at == 0 else ()
        if lines < 1 + len(parts):
            break
        lines -= 1 + len(parts)
        name = Text(intent.id, style=f"bold {_ACCENT}")
        table.add_row(name, f"{intent.size:,}", _bar(intent.size / largest, bar_width), typical(intent))
        for cluster in parts:
            size = Text(f"{cluster.size:,}", style="dim")
            question = Text(printable(cluster.question).plain, style="dim")
            table.add_row("", size, Text(f"{cluster.id:>{bar_width}}", style="dim"), question)
    return table


def typical(intent: IntentView) -> Text:
    """A question that represents an intent, and the number of its clusters."""
    question = printable(intent.clusters[0].question)
    count = len(intent.clusters) + intent.more
    return Text.assemble((f"({count} clusters) ", "dim"), question) if count > 1 else question


def _bar(share: float, width: int) -> str:
    full, half = divmod(max(round(share * width * 2), 1), 2)
    return "━" * full + "╸" * half


def render_summary(summary: Summary) -> RenderableType:
    """The summary of the stream."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", justify="right", min_width=11)
    table.add_column(overflow="fold")
    for name, text in summary_lines(summary):
        table.add_row(name, text)
    return Padding(table, (1, 0, 0, 1))


def summary_lines(summary: Summary) -> list[tuple[str, str]]:
    """The summary as names and sentences."""
    figures = summary.figures
    refused = f"; {figures.dead_lettered:,} refused" if figures.dead_lettered else ""
    lines = [
        (
            "Result",
            f"{figures.decided:,} questions in {figures.clusters:,} clusters{refused}; "
            f"{figures.intents:,} intents, {figures.topics:,} topics; "
            f"the first {summary.first_cluster_seconds:.1f} s after the start",
        ),
        (
            "Speed",
            f"{figures.questions_per_second:,.0f} questions/s in {summary.stream_seconds:.1f} s; "
            f"p50 {latency(figures.p50_ms)}, p99 {latency(figures.p99_ms)} "
            f"to a decision, {summary.in_flight} under way at once",
        ),
    ]
    if summary.agreement:
        groups = next(iter(summary.agreement.values())).groups
        scores = ", ".join(
            f"{name} {found.bcubed_f1:.3f} / {found.adjusted_rand_index:.3f}"
            for name, found in summary.agreement.items()
        )
        lines.append(("Agreement", f"with {groups} gold groups, BCubed F1 / ARI: {scores}"))
    lines.append(("Metrics", summary.metrics_url))
    if summary.attribution is not None:
        lines.append(("Questions", summary.attribution))
    return lines


def render_answer(answer: Answer, width: int) -> RenderableType:
    """The decision about a typed question, and the clusters it was between, in `width` columns."""
    table = Table.grid(padding=(0, 1))
    table.add_column(width=11, justify="right")
    table.add_column(width=5, justify="right")
    table.add_column(width=7, style=f"bold {_ACCENT}")
    table.add_column(width=min(width, _WIDEST) - 28, no_wrap=True, overflow="ellipsis")
    table.add_row(
        Text(answer.outcome, style="bold green" if answer.outcome == "joined" else "bold yellow"),
        f"{answer.similarity:.3f}",
        answer.cluster_id,
        Text.assemble(printable(answer.question), (f"  ({answer.cluster_size:,})", "dim")),
    )
    if answer.intent is not None:
        count = len(answer.intent.clusters) + answer.intent.more
        table.add_row(
            Text("intent", style="dim"),
            "",
            answer.intent.id,
            Text.assemble(
                printable(answer.intent.clusters[0].question),
                (f"  ({answer.intent.size:,} in {count} clusters)", "dim"),
            ),
        )
    if answer.runner_up_id is not None and answer.runner_up_similarity is not None:
        table.add_row(
            Text("runner-up", style="dim"),
            Text(f"{answer.runner_up_similarity:.3f}", style="dim"),
            Text(answer.runner_up_id, style="dim"),
            Text(printable(answer.runner_up_question).plain, style="dim"),
        )
    table.add_row(Text("threshold", style="dim"), Text(f"{answer.threshold:.3f}", style="dim"))
    return table


def printable(text: str) -> Text:
    """A question as one line that cannot steer the terminal: no control characters, no markup."""
    return Text("".join(character if character.isprintable() else " " for character in text))


def latency(milliseconds: float | None) -> str:
    """Milliseconds as a figure of at most 8 characters up to 27 hours."""
    if milliseconds is None:
        return "–"
    return f"{milliseconds:,.0f} ms" if milliseconds < 10_000 else f"{milliseconds / 1000:,.1f} s"
