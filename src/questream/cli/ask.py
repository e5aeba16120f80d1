"""`questream ask`: where a question would go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from questream.cli.levels import level_text
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table, printable, remark

if TYPE_CHECKING:
    from questream.operations import Answer, Candidate

_WITHOUT_CLUSTER = {"unmatched": "It would be unmatched: questions open no clusters in this namespace."}


def ask(
    text: Annotated[str, typer.Argument(help="The question.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: Annotated[
        str | None, typer.Option(help="Namespace to ask; default: clusters.namespace of the settings.")
    ] = None,
    server: Annotated[
        str | None, typer.Option(help="Ask a running `questream serve` at this address, which has its model loaded.")
    ] = None,
    token_file: Annotated[Path | None, typer.Option(help="File with the token for that server.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show which cluster a question would join and the five next ones; nothing is learned or counted.

    Example: questream ask "How do I reset my PIN?"
    """
    if server is not None:
        from questream.tools.lookup_server import ask_server

        document = ask_server(server, namespace or load(config, set_).clusters.namespace, text, token_file)
        print_json(document) if as_json else _print_document(document)
        return
    from questream.tools.lookup import ask as look_up

    answer = look_up(load(config, set_), namespace, text)
    if as_json:
        print_json(_document(answer))
        return
    _print_document(_document(answer))


def _document(answer: Answer) -> dict[str, Any]:
    from questream.tools.levels import within_document

    rows = [_row(candidate) for candidate in answer.candidates]
    return {
        "cluster": None if answer.joins is None else _row(answer.joins),
        "outcome": answer.outcome,
        "confidence": answer.confidence,
        "label": answer.label,
        "route": answer.route,
        "suggested_route": answer.suggested_route,
        "levels": within_document(answer.within)["levels"],
        "nearest": rows,
        "truncated": answer.truncated,
        "unknown_share": round(answer.unknown_share, 6),
    }


def _row(candidate: Candidate) -> dict[str, Any]:
    from questream.domain import format_cluster_id
    from questream.tools.levels import within_document

    state = candidate.state
    return {
        "cluster_id": format_cluster_id(state.cluster_id),
        "similarity": round(candidate.similarity, 4),
        "reason": candidate.reason,
        "size": state.size,
        "label": state.label,
        "route": state.route,
        "representative": state.representative,
        **within_document(candidate.within),
    }


def _print_document(document: dict[str, Any]) -> None:
    rows = document["nearest"]
    if document["cluster"]:
        sure = document.get("confidence")
        certainty = "" if sure is None else f", with confidence {sure:.2f}"
        print_line(f"It would join {printable(document['cluster']['cluster_id'])}{certainty}.")
        if document.get("suggested_route"):
            remark(f"too unsure to be routed to {printable(document['suggested_route'])}")
    else:
        print_line(_WITHOUT_CLUSTER.get(str(document.get("outcome")), "It would open a new cluster."))
    for key, value in [("label", document.get("label")), ("route", document.get("route")), *_levels(document)]:
        if value:
            print_line(f"{key:<8} {printable(value)}")
    print_table(
        ["cluster", "similarity#", "size#", "intent", "label?", "question…"],
        (
            [
                printable(row["cluster_id"]),
                f"{row['similarity']:.3f}",
                f"{row['size']:,}",
                printable(dict(_levels(row)).get("intent", "")),
                *_texts(row),
            ]
            for row in rows
        ),
    )
    for row in rows:
        if row.get("reason"):
            near = f"{printable(row['cluster_id'])} is near enough and differs in what a second look compares"
            remark(f"{near}: {printable(row['reason'])}")
    if document["truncated"]:
        remark("the text is longer than the model reads; its end was left out")
    if document["unknown_share"]:
        remark(f"the model does not know {document['unknown_share']:.0%} of its words")


def _levels(document: dict[str, Any]) -> list[tuple[str, str]]:
    """The intent and topic of an answer or a row; a server of an earlier release sends none."""
    return [(one["level"], level_text(one)) for one in document.get("levels", [])]


def _texts(row: dict[str, Any]) -> list[str]:
    label = row["label"] or row.get("inherited", {}).get("label")
    return [printable(label or ""), printable(row["representative"] or "")]
