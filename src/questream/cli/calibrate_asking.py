"""The prompt of `questream calibrate --ask`: are these two the same question?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import orjson

from questream.cli.output import printable, remark
from questream.errors import QuestreamError
from questream.records.files import LabelledPair, read_pairs

if TYPE_CHECKING:
    from rich.console import Console

    from questream.lab.calibration.answers import Inquiry

_YES = frozenset(("y", "yes", "1"))
_NO = frozenset(("n", "no", "0"))
_SKIP = frozenset(("s", "skip", "?"))
_QUIT = frozenset(("q", "quit"))


def read_answers(path: Path) -> list[LabelledPair]:
    """The answers of a file of labelled pairs.

    Raises QuestionFileError, or QuestreamError where there are none.
    """
    answers = [pair for pair in read_pairs(path) if pair.text_a.strip() and pair.text_b.strip()]
    if not answers:
        raise QuestreamError(f"{path} holds no answers", f"questream calibrate --ask 40 --answers {path} asks for some")
    return answers


def ask_user(inquiry: Inquiry, texts: list[str], most: int, file: Path | None) -> None:
    """Ask until there are `most` answers with those known before, they suffice, or the user ends with q or Ctrl-C.

    An answer is added to `file` as soon as it is given. All is written to stderr, where a program does not look.
    """
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    asked = False
    while len(inquiry.answers) < most and not inquiry.is_sure:
        ask = inquiry.next()
        if ask is None:
            remark("there is nothing left that is worth asking")
            break
        if not asked:
            console.print("Are these two the same question, as you want them clustered? An answer can be wrong.")
        asked = True
        first, second = texts[ask.first], texts[ask.second]
        same = _ask(console, f"{len(inquiry.answers) + 1} of {most} at most", first, second)
        if same is None:
            break
        if same == "skip":
            inquiry.pass_over(ask)
            continue
        inquiry.tell(ask.first, ask.second, same == "yes")
        if file is not None:
            _append(file, LabelledPair(first, second, same == "yes"))
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
            console.print()
            return None
        for names, meaning in ((_YES, "yes"), (_NO, "no"), (_SKIP, "skip")):
            if typed in names:
                return meaning
        if typed in _QUIT:
            return None


def _append(file: Path, answer: LabelledPair) -> None:
    line = orjson.dumps({"text_a": answer.text_a, "text_b": answer.text_b, "label": int(answer.same)})
    try:
        with file.open("ab") as out:
            out.write(line + b"\n")
    except OSError as error:
        raise QuestreamError(f"{file}: {error.strerror or 'cannot be written'}") from error
