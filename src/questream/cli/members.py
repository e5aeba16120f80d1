"""`questream clusters members`: the questions of a cluster."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.clusters import ClusterArgument, NamespaceOption, clusters, follow_merges, number_of
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_rows, printable, remark

if TYPE_CHECKING:
    from questream.tools.members import First, Member

_LOOKED_AT = 10_000
_GONE = "(no longer in the input topic)"


@clusters.command("members")
def members(
    cluster: ClusterArgument,
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    typical: Annotated[bool, typer.Option("--typical", help="Those most alike to the cluster first: the default.")] = (
        False
    ),
    newest: Annotated[bool, typer.Option("--newest", help="Those decided last first.")] = False,
    doubtful: Annotated[bool, typer.Option("--doubtful", help="Those that just about joined first.")] = False,
    all_: Annotated[
        bool, typer.Option("--all", help="All that the output topic holds, in its order; takes a while.")
    ] = False,
    search: Annotated[str, typer.Option(help="Only with this in their text.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many to show, unless --all.")] = 20,
    decisions: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Look at so many of the newest decisions of each partition; default: at what the cluster keeps; 10000"
            " with --search.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show questions of a cluster and of the clusters that it absorbed, read from Kafka; needs no text in Redis.

    At once: the nine that it keeps references to. With --decisions, --search or --all: what the output topic has.

    Example: questream clusters members c17 --doubtful --search refund
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.kept_questions import KeptQuestions, still_kept
    from questream.tools.members import WHOLE_TOPIC, First, Members

    chosen_order = [order for order, is_chosen in zip(First, (typical, newest, doubtful), strict=True) if is_chosen]
    if len(chosen_order) + all_ > 1:
        raise typer.BadParameter("give one of --typical, --newest, --doubtful and --all")
    number = number_of(cluster)
    settings = load(config, set_)
    store, chosen = open_namespace(settings, namespace)
    state = follow_merges(store, chosen, number)
    if all_:
        _print(Members(settings, store, chosen, WHOLE_TOPIC).all(state.cluster_id, search), as_json)
        return
    order: First = chosen_order[0] if chosen_order else First.TYPICAL
    kept = still_kept(store, chosen, state, order)
    if kept and decisions is None and not search:
        with closing(KeptQuestions(settings)) as questions:
            _print(questions.read(state.cluster_id, chosen, kept[:limit]), as_json)
        if state.size > len(kept):
            remark(f"{len(kept)} of {state.size:,} questions; --decisions {_LOOKED_AT} looks at more, --all at all")
        return
    looked_at = decisions or _LOOKED_AT
    found = Members(settings, store, chosen, looked_at).first(state.cluster_id, order, limit, search)
    _print(found, as_json)
    if not found:
        remark(f"none of the newest {looked_at:,} decisions of each partition is of it; --all looks at all")


def _print(members: Iterable[Member], as_json: bool) -> None:
    from questream.tools.members import as_document

    print_rows(
        map(as_document, members),
        as_json,
        ["similarity#", "decided", "place?", "id", "question…"],
        lambda row: [
            "opened it" if row["outcome"] == "created" else f"{row['similarity']:.3f}",
            printable((row["decided_at"] or "")[:19].replace("T", " ")),
            f"{row['topic']}/{row['partition']}/{row['offset']}",
            printable(row["question_id"] or ""),
            _GONE if row["text"] is None else printable(row["text"]),
        ],
    )
