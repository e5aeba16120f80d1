"""`questream tail`: follow the decisions."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, printable, remark

if TYPE_CHECKING:
    from rich.text import Text

_COLOURS = {"created": "green", "joined": "cyan", "replayed": "yellow"}


def tail(
    config: ConfigOption = None,
    set_: SetOption = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest decision instead of the next one.")
    ] = False,
    max_decisions: Annotated[int | None, typer.Option("--max", min=1, help="End after so many decisions.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Follow the output topic: a line for each decision, until Ctrl-C.

    Example: questream tail --from-beginning --max 20
    """
    from questream.kafka.connect import open_reader
    from questream.kafka.reading import follow, start_at

    settings = load(config, set_)
    topic = settings.kafka.output_topic
    with open_reader(settings) as consumer:
        partitions = start_at(consumer, topic, "beginning" if from_beginning else "end")
        remark(f"following {partitions} partitions of {topic}; Ctrl-C ends")
        decisions = itertools.islice(follow(consumer), max_decisions)
        _print_json(decisions) if as_json else _print_lines(decisions)


def _print_json(messages: Iterator[Any]) -> None:
    for message in messages:
        decision = _decision(message.value)
        if decision is not None:
            print_json(decision)
            sys.stdout.flush()


def _print_lines(messages: Iterator[Any]) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for message in messages:
        decision = _decision(message.value)
        if decision is None:
            remark(f"no decision at {message.topic}/{message.partition}/{message.offset}")
        else:
            console.print(_line(decision))


def _decision(value: bytes | None) -> dict[str, Any] | None:
    import orjson

    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _line(decision: dict[str, Any]) -> Text:
    """`12:03:04  c17     joined    0.812  size 42  default  q-4711  card arrival`."""
    from rich.text import Text

    outcome = str(decision.get("outcome"))
    similarity = decision.get("similarity")
    parts = [
        (_time(decision.get("decided_at")), "dim"),
        (f"{decision.get('cluster_id') or '-':<8}", "bold"),
        (f"{outcome:<9}", _COLOURS.get(outcome, "")),
        (" -   " if similarity is None else f"{similarity:.3f}", ""),
        (f"size {decision.get('cluster_size', 0):<6}", ""),
        (str(decision.get("namespace")), "dim"),
        (str(decision.get("question_id")), ""),
        (str(decision.get("label") or ""), "magenta"),
    ]
    line = Text()
    for text, style in parts:
        line.append(printable(text) + "  ", style=style)
    line.rstrip()
    return line


def _time(decided_at: Any) -> str:
    """The time of day, UTC, of ISO 8601 text or of milliseconds since the epoch."""
    if isinstance(decided_at, int | float):
        return datetime.fromtimestamp(decided_at / 1000, UTC).strftime("%H:%M:%S")
    return str(decided_at)[11:19]
