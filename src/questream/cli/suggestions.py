"""`questream suggestions list|accept|dismiss`: what no worker does by itself, for people to answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from questream.cli.binding import split
from questream.cli.changes import Change, change_command
from questream.cli.clusters import ClusterArgument, NamespaceOption, number_of
from questream.cli.decisions import decide_as_asked, separate
from questream.cli.decisions import label as name
from questream.cli.merging import KeepOption, merge
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_table, printable

Kind = Literal["merge", "name", "split"]

suggestions = typer.Typer(
    help="List, accept and dismiss suggestions: clusters to merge, to name or to split.", no_args_is_help=True
)

OtherArgument = Annotated[
    str | None, typer.Argument(metavar="OTHER", help="The other cluster, where two would be merged.")
]


@suggestions.command("list")
def list_(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    kind: Annotated[
        Kind,
        typer.Option(
            help="merge: what labels, routes and pins forbid; name: large, unlabelled; split: looks like two."
        ),
    ] = "merge",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List clusters to merge that labels, routes or pins keep apart, large ones to name, or those that look like two.

    The largest come first. What was dismissed is not listed. `--kind split` reads questions again, with the model.

    Example: questream suggestions list --kind name --limit 50
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.suggestions import as_document, document_of_one, mixed_clusters, unnamed
    from questream.tools.suggestions import suggestions as find

    settings = load(config, set_)
    store, chosen = open_namespace(settings, namespace)
    match kind:
        case "merge":
            rows = [as_document(one) for one in find(store, chosen, settings, limit)]
        case "name":
            rows = [document_of_one("name", state) for state in unnamed(store, chosen, limit)]
        case "split":
            found = mixed_clusters(store, chosen, settings, limit)
            rows = [document_of_one("split", one.state, one.parts) for one in found]
    if as_json:
        for row in rows:
            print_json(row)
        return
    _print(kind, rows)


def _print(kind: Kind, rows: list[dict[str, Any]]) -> None:
    if kind == "merge":
        columns = ["cluster", "other", "size#", "differ in", "labels", "question…", "other question…"]
        print_table(columns, map(_pair, rows))
        return
    question = ["question…", "other question…"] if kind == "split" else ["question…"]
    print_table(["cluster", "size#", "label", *question], (_single(kind, row) for row in rows))


def _pair(row: dict[str, Any]) -> list[str]:
    return [
        *(one["cluster_id"] for one in row["clusters"]),
        f"{row['size']:,}",
        ", ".join(row["forbidden_by"]),
        printable(" | ".join(one["label"] or "-" for one in row["clusters"])),
        *(_question(one) for one in row["clusters"]),
    ]


def _single(kind: Kind, row: dict[str, Any]) -> list[str]:
    (one,) = row["clusters"]
    texts = [printable(part[0]) for part in row["parts"]] if kind == "split" else [_question(one)]
    return [one["cluster_id"], f"{row['size']:,}", printable(one["label"] or ""), *texts]


@change_command(suggestions, "accept", previews=True)
def accept(
    change: Change,
    cluster: ClusterArgument,
    other: OtherArgument = None,
    keep: KeepOption = None,
    label: Annotated[str | None, typer.Option(help="The label of a large cluster that has none.")] = None,
) -> None:
    """Accept a suggestion: merge two clusters, label one with `--label`, else split it, as `clusters` does.

    Example: questream suggestions accept c17 c42 --reason "the same question"
    """
    if other is not None:
        merge(change, cluster, other, keep=keep)
    elif label is not None:
        name(change, cluster, label=label)
    else:
        split(change, cluster)


@change_command(suggestions, "dismiss")
def dismiss(
    change: Change,
    cluster: ClusterArgument,
    other: OtherArgument = None,
    kind: Annotated[
        Literal["name", "split"] | None, typer.Option(help="Kind of the suggestion about one cluster.")
    ] = None,
) -> None:
    """Dismiss a suggestion for ever: to merge two clusters, or to name or split one.

    `questream undo` takes that back.

    Example: questream suggestions dismiss c17 c42 --reason "on and off"
    """
    if (other is None) == (kind is None):
        raise typer.BadParameter("give the other cluster of a merge, or --kind for what is suggested of one")
    if other is not None:
        separate(change, cluster, other)
    elif kind is not None:
        number = number_of(cluster)
        decide_as_asked(change, lambda by: by.dismiss(number, kind))


def _question(cluster: dict[str, Any]) -> str:
    return printable(cluster["representative"] or "")
