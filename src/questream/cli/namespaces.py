"""`questream namespaces list|show`: what the store holds of each tenant."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, printable, remark

namespaces = typer.Typer(help="See namespaces: their sizes, models, streams and rules.", no_args_is_help=True)


@namespaces.command("list")
def list_(config: ConfigOption = None, set_: SetOption = None, as_json: JsonOption = False) -> None:
    """List the namespaces of the store, by name.

    Example: questream namespaces list
    """
    from questream.store.redis.store import open_store
    from questream.tools.namespaces import as_document, list_namespaces

    settings = load(config, set_)
    rows = [as_document(one) for one in list_namespaces(open_store(settings.redis, settings.clusters.log_entries))]
    if as_json:
        for row in rows:
            print_json(row)
        return
    print_table(
        ["namespace", "clusters#", "of one question#", "threshold#", "linkage", "input topic", "model"],
        (
            [
                printable(row["namespace"]),
                f"{row['clusters']:,}",
                f"{row['singletons']:,}",
                f"{row['threshold']:.3f}",
                row["linkage"],
                printable(row["input_topic"] or ""),
                printable(row["model"]),
            ]
            for row in rows
        ),
    )
    for row in rows:
        if row["settings_differ"]:
            remark(f"{row['namespace']}: workers run by different settings: {'; '.join(row['settings_differ'])}")


@namespaces.command("show")
def show(
    namespace: Annotated[
        str | None, typer.Argument(metavar="NAMESPACE", help="Default: clusters.namespace of the settings.")
    ] = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a namespace: sizes, model, stream, store, and the settings that its workers run by.

    Example: questream namespaces show default
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.namespaces import as_whole_document, count_questions, describe

    store, chosen = open_namespace(load(config, set_), namespace)
    row = as_whole_document(describe(store, chosen), count_questions(store, chosen))
    if as_json:
        print_json(row)
        return
    for name, value in row.items():
        if isinstance(value, dict):
            for key, part in value.items():
                print_line(f"{name}: {printable(key):<38} {_shown(part)}")
        else:
            print_line(f"{name:<17} {_shown(value)}".rstrip())


def _shown(value: Any) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case list():
            return printable("; ".join(map(str, value))) or "-"
        case int():
            return f"{value:,}"
        case _:
            return printable(str(value))
