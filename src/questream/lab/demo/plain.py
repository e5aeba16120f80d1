"""The demo without a terminal: one line for each thing that happened."""

from __future__ import annotations

import time

from rich.console import Console

from questream.lab.demo.screen import latency, printable, summary_lines, typical
from questream.lab.demo.snapshot import Figures, Snapshot, Summary

_SECONDS_BETWEEN_LINES = 1.0


class PlainLines:
    """A `Display` for a log file or a pipe."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._said: set[str] = set()
        self._next_at = 0.0

    def show(self, snapshot: Snapshot) -> None:
        """Say which stages began or ended since the last call, and once a second the state of the stream."""
        self._say_once(snapshot.title)
        for stage in snapshot.stages:
            self._say_once(f"{stage.name} ...")
            if stage.finished:
                self._say_once(f"{stage.name}: {stage.detail} ({stage.seconds:.1f} s)")
        if snapshot.figures.decided and time.monotonic() >= self._next_at:
            self._next_at = time.monotonic() + _SECONDS_BETWEEN_LINES
            self._say(_figures(snapshot.figures))

    def finish(self, snapshot: Snapshot, summary: Summary) -> None:
        """Say what the stream came to, and its biggest intents."""
        self.show(snapshot)
        self._say("Biggest intents, and their biggest clusters:")
        for intent in snapshot.figures.biggest:
            self._say(f"  {intent.size:>6,}  {intent.id:<6} {typical(intent).plain}")
            for cluster in intent.clusters if len(intent.clusters) > 1 else ():
                self._say(f"    {cluster.size:>6,}  {cluster.id:<6} {printable(cluster.question).plain}")
        for name, text in summary_lines(summary):
            self._say(f"{name}: {text}")

    def _say_once(self, line: str) -> None:
        if line not in self._said:
            self._said.add(line)
            self._say(line)

    def _say(self, line: str) -> None:
        self._console.print(line, markup=False, highlight=False, soft_wrap=True, emoji=False)


def _figures(figures: Figures) -> str:
    return (
        f"{figures.decided:,} questions, {figures.questions_per_second:,.0f}/s, "
        f"p50 {latency(figures.p50_ms)}, p99 {latency(figures.p99_ms)}; "
        f"{figures.intents:,} intents of {figures.clusters:,} clusters "
        f"({figures.joined:,} joined, {figures.created:,} created, {figures.merged:,} merged)"
    )
