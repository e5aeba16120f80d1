"""`questream intents check`: what is wrong with the labels that people gave."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from questream.cli.clusters import NamespaceOption
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_table, printable

intents = typer.Typer(help="Look after the intents that people named.", no_args_is_help=True)

_MOST_OVERLAPS = 1000


@intents.callback()
def _group() -> None:
    pass


@intents.command("check")
def check(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    unasked_since: Annotated[
        str, typer.Option(help="Labels without a question since then: 90m, 24h, 30d, or 2026-11-24T02:18:00Z.")
    ] = "30d",
    limit: Annotated[int, typer.Option(min=1, help="How many findings to show.")] = 50,
    as_json: JsonOption = False,
) -> None:
    """Show labels whose clusters overlap, labels that nobody asks for, and big clusters without one.

    Example: questream intents check --unasked-since 90d
    """
    from questream.tools.checking import as_document, check_labels
    from questream.tools.clusters import open_namespace
    from questream.tools.listing import parse_since
    from questream.tools.suggestions import suggestions

    try:
        before_ms = parse_since(unasked_since, time.time_ns() // 1_000_000)
    except ValueError:
        raise typer.BadParameter("--unasked-since takes a time span such as 30d, or a time") from None
    settings = load(config, set_)
    store, chosen = open_namespace(settings, namespace)
    near = suggestions(store, chosen, settings, _MOST_OVERLAPS)
    rows = [as_document(one) for one in check_labels(store.summaries(chosen), near, before_ms)[:limit]]
    if as_json:
        for row in rows:
            print_json(row)
        return
    print_table(
        ["finding", "labels", "clusters", "size#", "last seen", "question"],
        (
            [
                row["finding"],
                printable(" | ".join(row["labels"])),
                " ".join(row["clusters"]),
                f"{row['size']:,}",
                row["last_seen_at"][:19].replace("T", " "),
                printable(row["representative"] or ""),
            ]
            for row in rows
        ),
    )
