"""The prompt of `questream calibrate --ask`: are these two the same question, or of one intent?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from questream.cli.output import printable, remark
from questream.interrupts import settle_interrupt
from questream.lab.calibration.answers_file import append_answer
from questream.records.files import LabelledPair

if TYPE_CHECKING:
    from rich.console import Console

    from questream.lab.calibration.answers import Inquiry

_YES = frozenset(("y", "yes", "1"))
_NO = frozenset(("n", "no", "0"))
_SKIP = frozenset(("s", "skip", "?"))
_QUIT = frozenset(("q", "quit"))


def ask_user(inquiry: Inquiry, texts: list[str], most: int, file: Path | None, level: str | None = None) -> None:
    """Ask until there are `most` answers with those known before, they suffice, or the user ends with q or Ctrl-C.

    An answer is added to `file` as soon as it is given. All is written to stderr, where a program does not look.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    asked = False
    for ask in inquiry.asks(most):
        if not asked:
            same_what = (
                "the same question, as you want them clustered" if level is None else f"of one {level}, as you see it"
            )
            console.print(f"Are these two {same_what}? An answer can be wrong.")
        asked = True
        first, second = texts[ask.first], texts[ask.second]
        same = _ask(console, f"{len(inquiry.answers) + 1} of {most} at most", first, second)
        if same is None:
            break
        if same == "skip":
            inquiry.pass_over(ask)
            continue
        inquiry.add_answer(ask.first, ask.second, same == "yes")
        if file is not None:
            append_answer(file, LabelledPair(first, second, same == "yes"))
    else:
        if len(inquiry.answers) < most and not inquiry.is_sure:
            remark("there is nothing left that is worth asking")
    if asked and inquiry.is_sure:
        remark(f"{len(inquiry.answers)} answers are enough: more would hardly move a question")


def _ask(console: Console, heading: str, first: str, second: str) -> str | None:
    """`yes`, `no`, `skip`, or None for the end."""
    from rich.text import Text

    console.print(Text(f"\n{heading}", style="dim"))
    for text in (first, second):
        console.print(Text("  " + printable(text), style="bold"))
    while True:
        console.print(Text("  same? y, n, s to skip, q to end: "), end="")
        try:
            typed = input().strip().lower()
        except (EOFError, KeyboardInterrupt):
            settle_interrupt()
            console.print()
            return None
        for names, meaning in ((_YES, "yes"), (_NO, "no"), (_SKIP, "skip")):
            if typed in names:
                return meaning
        if typed in _QUIT:
            return None
