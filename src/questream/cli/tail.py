"""`questream tail`: follow the decisions."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, printable, remark

if TYPE_CHECKING:
    from rich.text import Text

    from questream.settings import Settings

TextOf = Callable[[dict[str, Any]], str | None]

_COLOURS = {"created": "green", "joined": "cyan", "replayed": "yellow"}


def tail(
    config: ConfigOption = None,
    set_: SetOption = None,
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Begin with the oldest decision instead of the next one.")
    ] = False,
    max_decisions: Annotated[int | None, typer.Option("--max", min=1, help="End after so many decisions.")] = None,
    text: Annotated[
        bool, typer.Option("--text", help="Show the text of each question, read again from the input topic.")
    ] = False,
    route: Annotated[bool, typer.Option("--route", help="Show the route of each decision's cluster.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Follow the output topic: a line for each decision, until Ctrl-C.

    Example: questream tail --from-beginning --max 20 --text --route
    """
    from questream.broker.connect import open_reader
    from questream.broker.reading import follow, start_at

    settings = load(config, set_)
    topic = settings.kafka.output_topic
    with open_reader(settings) as consumer, _texts(settings, text) as text_of:
        partitions = start_at(consumer, topic, "beginning" if from_beginning else "end")
        remark(f"following {partitions} partitions of {topic}; Ctrl-C ends")
        decisions = itertools.islice(follow(consumer), max_decisions)
        if as_json:
            _print_json(decisions, text_of)
        else:
            _print_lines(decisions, text_of, route)


@contextmanager
def _texts(settings: Settings, are_wanted: bool) -> Iterator[TextOf | None]:
    """A function from a decision to its question's text, None where that is no longer there."""
    if not are_wanted:
        yield None
        return
    from questream.broker.connect import open_reader
    from questream.broker.reading import RecordLookup, partitions_of
    from questream.errors import BadRecord
    from questream.records import open_decoder

    topic = settings.kafka.input_topic
    decoder = open_decoder(settings)
    with open_reader(settings, isolation="read_uncommitted") as consumer:
        known = {found.partition for found in partitions_of(consumer, topic)}
        lookup = RecordLookup(consumer)

        def text_of(decision: dict[str, Any]) -> str | None:
            source = decision.get("source")
            # Only what this stream reads: the output topic may hold decisions of another input.
            if not isinstance(source, dict) or source.get("topic") != topic or source.get("partition") not in known:
                return None
            record = lookup.find(topic, int(source["partition"]), int(source.get("offset", -1)))
            try:
                return None if record is None else decoder.decode(record).text
            except BadRecord:
                # The settings of input say something else now than when it was decided.
                return None

        yield text_of


def _print_json(messages: Iterator[Any], text_of: TextOf | None) -> None:
    for message in messages:
        decision = _decision(message.value)
        if decision is not None:
            print_json(decision if text_of is None else decision | {"text": text_of(decision)})
            sys.stdout.flush()


def _print_lines(messages: Iterator[Any], text_of: TextOf | None, with_route: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for message in messages:
        decision = _decision(message.value)
        if decision is None:
            remark(f"no decision at {message.topic}/{message.partition}/{message.offset}")
        else:
            more = [str(decision.get("route") or "-")] if with_route else []
            more += [] if text_of is None else [text_of(decision) or "(no longer in the input topic)"]
            console.print(_line(decision, more))
            sys.stdout.flush()


def _decision(value: bytes | None) -> dict[str, Any] | None:
    import orjson

    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _line(decision: dict[str, Any], more: Sequence[str]) -> Text:
    """`12:03:04  c17     joined    0.812  size 42  default  q-4711  card arrival`, and what else is asked for."""
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
        (str(decision.get("label") or ("-" if more else "")), "magenta"),
        *((text, "") for text in more),
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
