"""`questream tail`: follow the decisions."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, printable, remark

if TYPE_CHECKING:
    from rich.text import Text

    from questream.tools.following import Seen

_COLOURS = {"created": "green", "joined": "cyan", "replayed": "yellow", "unmatched": "magenta"}


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
    from questream.tools.following import following

    settings = load(config, set_)
    begin_at: Literal["beginning", "end"] = "beginning" if from_beginning else "end"
    with following(settings, begin_at, with_texts=text) as decisions:
        remark(f"following {decisions.partitions} partitions of {settings.kafka.output_topic}; Ctrl-C ends")
        seen = itertools.islice(decisions, max_decisions)
        if as_json:
            _print_json(seen, text)
        else:
            _print_lines(seen, text, route)


def _print_json(seen: Iterable[Seen], with_text: bool) -> None:
    for one in seen:
        if one.decision is not None:
            print_json(one.decision | ({"text": one.text} if with_text else {}))
            sys.stdout.flush()


def _print_lines(seen: Iterable[Seen], with_text: bool, with_route: bool) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    for one in seen:
        if one.decision is None:
            remark(f"no decision at {one.place}")
        else:
            more = [_route(one.decision)] if with_route else []
            more += [one.text or "(no longer in the input topic)"] if with_text else []
            console.print(_line(one.decision, more))
            sys.stdout.flush()


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


def _route(decision: dict[str, Any]) -> str:
    """The route, or the one that is suggested with a question mark."""
    suggested = decision.get("suggested_route")
    return str(decision.get("route") or (f"{suggested}?" if suggested else "-"))


def _time(decided_at: Any) -> str:
    """The time of day, UTC, of ISO 8601 text or of milliseconds since the epoch."""
    if isinstance(decided_at, int | float):
        return datetime.fromtimestamp(decided_at / 1000, UTC).strftime("%H:%M:%S")
    return str(decided_at)[11:19]
