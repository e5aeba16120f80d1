"""The prompt after the stream: a question goes in as any other does, and its decision comes out of the output topic."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from rich.console import Console
from rich.text import Text

from questream.interrupts import settle_interrupt
from questream.lab.demo.screen import render_answer
from questream.lab.demo.snapshot import Answer
from questream.lab.demo.stream import Asker
from questream.lab.demo.tally import Place, Tally

_ANSWER_SECONDS = 30.0
_POLL_SECONDS = 0.01


def converse(console: Console, asker: Asker, tally: Tally, check: Callable[[], None]) -> None:
    """Ask the user for questions and show their decisions, until an empty line, Ctrl-D or Ctrl-C.

    Every question goes through the stream and is clustered for good: asked again, it finds itself. `check` raises if a
    part of the stream has failed.
    """
    with suppress(ImportError):
        import readline  # noqa: F401 - its import gives the prompt a history and line editing

    console.print(Text("\nType a question and see where it belongs; an empty line ends.", style="dim"))
    number = 0
    while text := _read_line():
        number += 1
        place = asker.ask(f"typed-{number}", text)
        decision = _await_decision(place, tally, check)
        if decision is not None:
            tally.find_intents()
            console.print(render_answer(_answer(decision, text, tally), console.width))
        elif tally.is_dead_letter(place):
            console.print("  refused: it went to the dead-letter topic", style="red")
        else:
            console.print(f"  no decision within {_ANSWER_SECONDS:.0f} s", style="red")


def _await_decision(place: Place, tally: Tally, check: Callable[[], None]) -> dict[str, Any] | None:
    """The decision about the question at `place`, once its cluster has been read too; None if it gets none in time."""
    deadline = time.monotonic() + _ANSWER_SECONDS
    while time.monotonic() < deadline and not tally.is_dead_letter(place):
        check()
        decision = tally.decision_at(place)
        if decision is not None and tally.typical(decision["cluster_id"]):
            return decision
        time.sleep(_POLL_SECONDS)
    return tally.decision_at(place)


def _read_line() -> str:
    try:
        return input("\n? ").strip()
    except (EOFError, KeyboardInterrupt):
        settle_interrupt()
        return ""


def _answer(decision: dict[str, Any], text: str, tally: Tally) -> Answer:
    runner_up = decision["runner_up"]
    return Answer(
        outcome=decision["outcome"],
        cluster_id=decision["cluster_id"],
        cluster_size=decision["cluster_size"],
        similarity=decision["similarity"],
        threshold=decision["threshold"],
        question=tally.nearest_in_words(decision["cluster_id"], text),
        runner_up_id=None if runner_up is None else runner_up["cluster_id"],
        runner_up_similarity=None if runner_up is None else runner_up["similarity"],
        runner_up_question="" if runner_up is None else tally.nearest_in_words(runner_up["cluster_id"], text),
        intent=tally.intent(decision["cluster_id"]),
    )
