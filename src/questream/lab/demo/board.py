"""The stages of the demo, for its display."""

from __future__ import annotations

import time
from dataclasses import replace

from questream.lab.demo.snapshot import Display, Figures, Snapshot, Stage, Summary
from questream.lab.demo.tally import Tally


class Board:
    """The stages so far and the tally of the stream; shows `biggest` intents on `display`."""

    def __init__(self, display: Display, title: str, biggest: int) -> None:
        self.tally = Tally()
        self.biggest = biggest
        self._display = display
        self._title = title
        self._stages: list[Stage] = []
        self._began_at = 0.0
        self._final: Figures | None = None

    def begin(self, name: str, detail: str) -> None:
        """A stage begins."""
        self._began_at = time.monotonic()
        self._stages.append(Stage(name, detail, 0.0, finished=False))
        self.draw()

    def update(self, detail: str, done_share: float | None = None) -> None:
        """The progress of a stage; `done_share` in [0, 1] where it is known."""
        self._change(detail=detail, done_share=done_share)

    def end(self, detail: str) -> None:
        """The stage has ended."""
        self._change(detail=detail, finished=True)
        self.draw()

    def freeze(self, figures: Figures) -> None:
        """The stream has ended: its figures no longer change."""
        self._final = figures

    def finish(self, summary: Summary) -> None:
        """The stream has ended and this is what it came to."""
        self._display.finish(self.snapshot(), summary)

    def snapshot(self) -> Snapshot:
        """This moment."""
        if self._stages and not self._stages[-1].finished:
            self._change()
        figures = self._final or self.tally.figures(time.monotonic(), self.biggest)
        return Snapshot(self._title, tuple(self._stages), figures)

    def draw(self) -> None:
        """Show this moment."""
        self._display.show(self.snapshot())

    def _change(self, **changes: object) -> None:
        stage = self._stages[-1]
        self._stages[-1] = replace(stage, seconds=time.monotonic() - self._began_at, **changes)  # type: ignore[arg-type]  # fields of Stage
