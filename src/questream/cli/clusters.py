"""`questream clusters`: see and steer what has formed."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from questream.cli.levels import flat_levels, levels_above, list_level, show_community
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import (
    destination,
    json_line,
    print_json,
    print_line,
    print_rows,
    printable,
    remark,
)
from questream.cli.streams import as_utf8
from questream.tools.sorting import SORTED_BY, Level, Sort

if TYPE_CHECKING:
    from _typeshed import SupportsWrite

    from questream.domain import ClusterState
    from questream.store.protocol import Store

clusters = typer.Typer(help="List clusters, and decide about them: label, merge, split and more.", no_args_is_help=True)

NamespaceOption = Annotated[
    str | None, typer.Option(help="Namespace of the clusters; default: clusters.namespace of the settings.")
]
ClusterArgument = Annotated[str, typer.Argument(metavar="CLUSTER", help="A cluster id, such as c17.")]
AnyLevelArgument = Annotated[
    str, typer.Argument(metavar="CLUSTER", help="Id of a cluster, an intent or a topic: c17, i5, t2.")
]


ExportFormat = Literal["jsonl", "csv"]
OutputOption = Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default, and `-`: stdout.")]
FormatOption = Annotated[ExportFormat | None, typer.Option(help="Default: by the file's suffix, else jsonl.")]


@clusters.command("list")
def list_(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    sort: Annotated[
        Sort,
        typer.Option(help=SORTED_BY),
    ] = Sort.SIZE,
    search: Annotated[str, typer.Option(help="Only with these words in id, name, route or question.")] = "",
    since: Annotated[
        str | None, typer.Option(help="Only with a question since then: 90m, 24h, 7d, or 2026-11-24T02:18:00Z.")
    ] = None,
    level: Annotated[
        Level | None, typer.Option(help="Show intents or topics, as a worker found them last, by size.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20,
    page: Annotated[int, typer.Option(min=1, help="Which page of so many: 2 shows those after the first.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """List clusters, the largest first, or by --sort; with --level intent or topic these.

    Example: questream clusters list --sort unlabelled --since 7d --limit 50
    """
    from questream.naming.names import Vocabulary
    from questream.records.times import to_the_minute
    from questream.tools.clusters import open_namespace
    from questream.tools.listing import Listed, list_clusters
    from questream.tools.naming import as_named_document, read_made_names

    listed = Listed(sort, search, None if since is None else _moment(since), limit, page)
    store, chosen = open_namespace(load(config, set_), namespace)
    if level is not None:
        if (sort, search, since) != (Sort.SIZE, "", None):
            raise typer.BadParameter("--level goes without --sort, --search and --since", param_hint="--level")
        list_level(store, chosen, level, slice((page - 1) * limit, page * limit), as_json=as_json)
        return
    vocabulary = Vocabulary()
    made = read_made_names(store, chosen)
    found = list_clusters(vocabulary.counting(store.summaries(chosen)), listed, made)
    rows = [as_named_document(state, vocabulary, made) for state in found]
    print_rows(
        rows,
        as_json,
        ["cluster", "size#", "status", "name?", "label", "route", "last seen", "question…"],
        lambda row: [
            row["cluster_id"],
            f"{row['size']:,}",
            _status_text(row),
            # A label is the name, and said once.
            "" if row["label"] else printable(row["name"] or ""),
            *(printable(row[name] or "") for name in ("label", "route")),
            to_the_minute(row["last_seen_at"]),
            printable(row["representative"] or ""),
        ],
    )


@clusters.command("show")
def show(
    cluster: ClusterArgument,
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many clusters of an intent or a topic to show.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """Show a cluster, an intent (i5) or a topic (t2); for an id that has ended, its successor.

    Example: questream clusters show c17
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.naming import as_named_document, read_made_names, read_vocabulary

    if is_level(cluster):
        show_community(*open_namespace(load(config, set_), namespace), cluster, limit, as_json=as_json)
        return
    number = number_of(cluster)
    store, chosen = open_namespace(load(config, set_), namespace)
    state = follow_merges(store, chosen, number)
    vocabulary = read_vocabulary(store, chosen)
    row = as_named_document(state, vocabulary, read_made_names(store, chosen))
    row |= levels_above(store, chosen, state.cluster_id, vocabulary)
    if as_json:
        print_json(row)
        return
    for name, value in flat_levels(row).items():
        print_line(f"{name:<15} {printable('' if value is None else str(value))}".rstrip())


@clusters.command("intents")
def intents(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Show the clusters by topic and intent, with the ids of those that a worker has found.

    Example: questream clusters intents --limit 50
    """
    from questream.deciding.config import level_rules_of
    from questream.tools.clusters import open_namespace
    from questream.tools.intents import as_document, find_intents

    settings = load(config, set_)
    store, chosen = open_namespace(settings, namespace)
    rows = [as_document(intent) for intent in find_intents(store, chosen, rules=level_rules_of(settings))[:limit]]
    print_rows(
        rows,
        as_json,
        ["intent", "topic", "largest cluster", "clusters#", "size#", "labels", "question…"],
        lambda row: [
            row["intent_id"] or "-",
            row["topic_id"] or f"of {row['largest_cluster_of_topic']}",
            row["largest_cluster"],
            f"{len(row['clusters']):,}",
            f"{row['size']:,}",
            printable(", ".join(row["labels"])),
            printable(row["representative"] or ""),
        ],
    )


@clusters.command("export")
def export(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    output: OutputOption = None,
    format: FormatOption = None,
) -> None:
    """Write all clusters as JSON Lines, exactly, or as CSV, where no text is a formula to a spreadsheet.

    Example: questream clusters export --output clusters.csv
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.naming import as_named_document, read_made_names, read_vocabulary

    store, chosen = open_namespace(load(config, set_), namespace)
    vocabulary = read_vocabulary(store, chosen)
    made = read_made_names(store, chosen)
    rows = (as_named_document(state, vocabulary, made) for state in store.summaries(chosen))
    with destination(output) as file:
        if chosen_format(output, format) == "csv":
            _write_csv(as_utf8(file), rows)
        else:
            for row in rows:
                file.write(json_line(row) + "\n")


def is_level(name: str) -> bool:
    """True if an id is that of an intent or a topic, by its first letter."""
    return name[:1] in ("i", "t")


def are_levels(*names: str) -> bool:
    """True if ids are those of intents and topics, not of clusters. Raises typer.BadParameter for some of both."""
    kinds = {is_level(name) for name in names}
    if len(kinds) > 1:
        raise typer.BadParameter("name clusters, or intents, or topics: one kind at a time")
    return kinds == {True}


def number_of(cluster: str) -> int:
    """The number of a cluster by its id. Raises typer.BadParameter."""
    from questream.domain import parse_cluster_id

    if is_level(cluster) and cluster[1:].isdecimal():
        what = "an intent" if cluster.startswith("i") else "a topic"
        raise typer.BadParameter(
            f"{cluster} is {what}, and this takes a cluster: `questream clusters show {cluster}` lists those in it"
        )
    try:
        return parse_cluster_id(cluster)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def follow_merges(store: Store, namespace: str, number: int) -> ClusterState:
    """The cluster that this one was merged into, or itself; prints a remark for each merge. Raises NoSuchCluster."""
    from questream.tools.clusters import lineage

    *merged, state = lineage(store, namespace, number)
    for one in merged:
        remark(f"c{one.cluster_id} was merged into c{one.merged_into}")
    return state


def _moment(since: str) -> int:
    from questream.tools.listing import parse_since

    try:
        return parse_since(since, time.time_ns() // 1_000_000)
    except ValueError:
        raise typer.BadParameter(
            "--since takes a time span such as 90m, 24h or 7d, or a time such as 2026-11-24T02:18:00Z"
        ) from None


def _status_text(row: Mapping[str, Any]) -> str:
    """The marks of a cluster in words: open, resolved or returned, muted, pinned."""
    return ", ".join([row["status"], *(name for name in ("muted", "pinned") if row[name])])


def chosen_format(output: Path | None, format: ExportFormat | None) -> ExportFormat:
    """The format that is asked for, else the one of the file's suffix, else JSON Lines."""
    if format is not None:
        return format
    return "csv" if output is not None and output.suffix.lower() == ".csv" else "jsonl"


def _write_csv(file: SupportsWrite[str], rows: Iterator[dict[str, Any]]) -> None:
    columns = ["cluster_id", "namespace", "size", "members", "label", "route"]
    columns += ["created_at", "last_seen_at", "model", "representative", "status", "muted", "pinned"]
    columns += ["threshold", "represented_by", "name"]
    writer = csv.DictWriter(file, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)


def _cell(value: Any) -> Any:
    """A text as a spreadsheet shows it: one that would be a formula there has an apostrophe before it."""
    from questream.tools.naming_files import shown_cell

    value = json_line(value) if isinstance(value, dict) else value
    return shown_cell(printable(value)) if isinstance(value, str) else value
