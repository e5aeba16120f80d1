"""`questream suggestions list|accept|dismiss`: merges that people's decisions forbid, for people to answer."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from questream.cli.clusters import ClusterArgument, NamespaceOption
from questream.cli.decisions import (
    ActorOption,
    DryRunOption,
    IdOption,
    ReasonOption,
    YesOption,
)
from questream.cli.decisions import separate as separate_command
from questream.cli.merging import KeepOption
from questream.cli.merging import YesOption as DropOption
from questream.cli.merging import merge as merge_command
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_table, printable

suggestions = typer.Typer(
    help="Answer merges that labels, routes and pins keep from happening by themselves.", no_args_is_help=True
)

OtherArgument = Annotated[str, typer.Argument(metavar="OTHER", help="The other cluster of the suggestion.")]


@suggestions.command("list")
def list_(
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to show.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """List pairs of clusters that are near enough to merge and ruled differently, the largest first.

    Example: questream suggestions list --limit 50
    """
    from questream.tools.clusters import open_namespace
    from questream.tools.suggestions import as_document
    from questream.tools.suggestions import suggestions as find

    settings = load(config, set_)
    store, chosen = open_namespace(settings, namespace)
    rows = [as_document(one) for one in find(store, chosen, settings, limit)]
    if as_json:
        for row in rows:
            print_json(row)
        return
    print_table(
        ["cluster", "other", "size#", "differ in", "labels", "question", "other question"],
        (
            [
                *(one["cluster_id"] for one in row["clusters"]),
                f"{row['size']:,}",
                ", ".join(row["forbidden_by"]),
                printable(" | ".join(one["label"] or "-" for one in row["clusters"])),
                *(_question(one) for one in row["clusters"]),
            ]
            for row in rows
        ),
    )


@suggestions.command("accept")
def accept(
    cluster: ClusterArgument,
    other: OtherArgument,
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    keep: KeepOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    id_: IdOption = None,
    dry_run: DryRunOption = False,
    yes: DropOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge the two clusters of a suggestion, as `clusters merge` does.

    Example: questream suggestions accept c17 c42 --reason "the same question"
    """
    merge_command(
        cluster,
        other,
        config=config,
        set_=set_,
        namespace=namespace,
        keep=keep,
        actor=actor,
        reason=reason,
        id_=id_,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )


@suggestions.command("dismiss")
def dismiss(
    cluster: ClusterArgument,
    other: OtherArgument,
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    id_: IdOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Say that the two clusters of a suggestion are different: it is never made again; `questream undo` takes it back.

    Example: questream suggestions dismiss c17 c42 --reason "on and off"
    """
    separate_command(
        cluster,
        other,
        config=config,
        set_=set_,
        namespace=namespace,
        actor=actor,
        reason=reason,
        id_=id_,
        dry_run=dry_run,
        yes=yes,
        as_json=as_json,
    )


def _question(cluster: dict[str, Any]) -> str:
    return printable(cluster["representative"] or "")
