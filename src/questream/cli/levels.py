"""Intents and topics in the output of `questream clusters`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from questream.cli.output import listed, print_json, print_line, print_rows, print_table, printable, remark
from questream.tools.sorting import Level

if TYPE_CHECKING:
    from questream.naming.names import Vocabulary
    from questream.store.protocol import Store


def list_level(store: Store, namespace: str, level: Level, page: slice, *, as_json: bool) -> None:
    """Print the intents or topics of a namespace, the largest first. Raises QuestreamError."""
    from questream.tools.levels import as_document, read_communities
    from questream.tools.naming import read_vocabulary

    vocabulary = read_vocabulary(store, namespace)
    rows = [as_document(one, vocabulary) for one in read_communities(store, namespace).of(level)[page]]
    within = "topic" if level is Level.INTENT else "intents#"
    print_rows(
        rows,
        as_json,
        [level.value, within, "clusters#", "size#", "name?", "label", "route", "question…"],
        lambda row: [
            row["id"],
            row["topic_id"] if level is Level.INTENT else f"{len(row['intents']):,}",
            f"{len(row['clusters']):,}",
            f"{row['size']:,}",
            # A label is the name, and said once.
            "" if row["label"] else printable(row["name"] or ""),
            *(printable(row[key] or "") for key in ("label", "route", "representative")),
        ],
    )


def show_community(store: Store, namespace: str, name: str, limit: int, *, as_json: bool) -> None:
    """Print an intent or a topic with its largest clusters, all as JSON. Raises BadParameter and QuestreamError."""
    from questream.clustering.levels import parse_node
    from questream.tools.levels import as_document, read_communities
    from questream.tools.naming import as_named_document, read_made_names, read_vocabulary

    try:
        node = parse_node(name)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    vocabulary = read_vocabulary(store, namespace)
    found = read_communities(store, namespace).get(node)
    if found.node != node:
        remark(f"{node} no longer exists; most of its questions are in {found.node}")
    row: dict[str, Any] = as_document(found, vocabulary)
    made = read_made_names(store, namespace)
    leaves = [as_named_document(state, vocabulary, made) for state in found.clusters]
    if as_json:
        print_json({**row, "leaves": leaves})
        return
    for key, value in row.items():
        shown = listed(value, limit) if isinstance(value, list) else value
        if shown and key not in ("clusters", "named"):
            print_line(f"{key:<15} {printable(str(shown))}")
    print_line("")
    print_table(
        ["cluster", "size#", "name?", "question…"],
        (
            [
                leaf["cluster_id"],
                f"{leaf['size']:,}",
                printable(leaf["name"] or ""),
                printable(leaf["representative"] or ""),
            ]
            for leaf in leaves[:limit]
        ),
    )
    if len(leaves) > limit:
        remark(f"{len(leaves) - limit:,} more clusters; --limit shows more")


def levels_above(store: Store, namespace: str, cluster_id: int, vocabulary: Vocabulary) -> dict[str, Any]:
    """The intent and the topic of a cluster with their names, as `within_document`. Raises QuestreamError."""
    from questream.clustering.levels import parse_node
    from questream.naming.names import name_of
    from questream.tools.levels import read_within, title_of, within_document

    document = within_document(read_within(store, namespace, cluster_id))
    stored = store.levels(namespace)
    for one in document["levels"]:
        one["name"] = title_of(
            parse_node(one["id"]),
            stored,
            lambda ids: [state for state in store.states(namespace, ids) if state.merged_into is None],
            lambda state: name_of(state, vocabulary),
        )
    return document


def flat_levels(row: dict[str, Any]) -> dict[str, Any]:
    """A document of a cluster with a line for each level that it is in, and for what it inherits."""
    flat = {key: value for key, value in row.items() if key not in ("path", "inherited", "levels")}
    for one in row["levels"]:
        flat[one["level"]] = level_text(one)
    flat |= {f"{key} inherited": value for key, value in row["inherited"].items() if value and not row[key]}
    return flat


def level_text(one: dict[str, Any]) -> str:
    """An intent or a topic in a line: its id and its name, its label where no name is shown."""
    return " ".join([one["id"], *filter(None, [one.get("name") or one["label"]])])
