"""`questream intents import|export|check`: known intents, and problems of their labels."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from questream.cli.changes import Change, change_command
from questream.cli.clusters import FormatOption, NamespaceOption, OutputOption, chosen_format
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import agrees, destination, print_json, print_line, print_rows, print_table, printable, remark
from questream.cli.streams import as_utf8
from questream.errors import QuestreamError

intents = typer.Typer(help="Import, export and check known intents.", no_args_is_help=True)

_MOST_OVERLAPS = 1000


@change_command(intents, "import")
def import_(
    change: Change,
    file: Annotated[Path, typer.Argument(help="CSV or JSON Lines: name, route, threshold, examples; `-`: stdin.")],
) -> None:
    """Open clusters for known intents, from examples, with label and route.

    Said again it changes nothing. A namespace that is not there yet is opened with the model of the settings.

    Example: questream intents import intents.csv --reason "the desk's list"
    """
    from questream.operations.intents import commit_import
    from questream.tools.importing import as_document, plan_of_file, preview_of_file

    store, chosen, plan = (preview_of_file if change.dry_run else plan_of_file)(change.settings, change.namespace, file)
    changed = [one for one in plan.intents if one.is_changed]
    if not change.as_json:
        _print_plan(as_document(plan, []))
    # A file on stdin leaves nothing to answer with.
    if changed and not (
        change.dry_run or change.yes or (file != Path("-") and agrees(f"Import {len(changed):,} intents?"))
    ):
        raise QuestreamError("nothing was changed", "say --yes to import without being asked")
    done = [] if change.dry_run else commit_import(store, chosen, change.by, plan)
    if change.as_json:
        print_json(as_document(plan, done))
    elif done:
        print_line(f"operation {', '.join(str(one.number) for one in done)}")
    elif not changed:
        print_line("all intents of the file exist already")


@intents.command("export")
def export(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    output: OutputOption = None,
    format: FormatOption = None,
) -> None:
    """Write the intents that have examples, as `intents import` reads them.

    Example: questream intents export --output intents.csv
    """
    from questream.operations.intents import known_intents
    from questream.tools.clusters import open_namespace
    from questream.tools.intent_files import write_csv, write_jsonl

    store, chosen = open_namespace(load(config, set_), namespace)
    found, without = known_intents(list(store.summaries(chosen)))
    with destination(output) as opened:
        if chosen_format(output, format) == "csv":
            write_csv(as_utf8(opened), found)
        else:
            write_jsonl(opened, found)
    if without:
        remark(f"{without:,} labels have no examples with texts, and are not in the file")


def _print_plan(document: dict[str, Any]) -> None:
    print_table(
        ["intent", "change", "examples added#", "clusters opened#", "clusters changed"],
        (
            [
                printable(row["name"]),
                row["change"],
                f"{row['examples_added']:,}",
                f"{row['clusters_opened']:,}",
                " ".join(row["clusters_changed"]),
            ]
            for row in document["intents"]
        ),
    )
    for row in document["overlaps"]:
        other = f"intent {printable(row['label'])}" if row["label"] else "no label"
        where = f" ({row['cluster_id']})" if row["cluster_id"] else ""
        remark(
            f"{printable(row['intent'])} overlaps with a cluster of {other}{where}: {row['examples']:,} examples,"
            f" similarity {row['similarity']:.3f} at most"
        )


@intents.command("check")
def check(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    unasked_since: Annotated[
        str, typer.Option(help="Labels without a question since then: 90m, 24h, 30d, or 2026-11-24T02:18:00Z.")
    ] = "30d",
    limit: Annotated[int, typer.Option(min=1, help="How many findings to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show labels whose clusters overlap, labels without questions, and large clusters without a label.

    Example: questream intents check --unasked-since 90d
    """
    from questream.records.times import to_the_minute
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
    found = check_labels(store.summaries(chosen), near, before_ms, store.levels(chosen).labelled())
    rows = [as_document(one) for one in found[:limit]]
    print_rows(
        rows,
        as_json,
        ["finding", "labels", "clusters", "size#", "last seen", "question…"],
        lambda row: [
            row["finding"],
            printable(" | ".join(row["labels"])),
            " ".join(row["clusters"]),
            f"{row['size']:,}",
            to_the_minute(row["last_seen_at"]),
            printable(row["representative"] or ""),
        ],
    )
