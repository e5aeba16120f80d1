"""`questream clusters merge|unmerge`: two clusters are one, or two again, by an operation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.clusters import AnyLevelArgument, ClusterArgument, NamespaceOption, are_levels, clusters, number_of
from questream.cli.decisions import (
    LOOKED_AT,
    ActorOption,
    Asked,
    DryRunOption,
    IdOption,
    LookedAtOption,
    ReasonOption,
    decide_as_asked,
    decide_parting,
    print_proposed,
)
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import agrees, print_json, print_line, printable, remark
from questream.errors import QuestreamError

if TYPE_CHECKING:
    from questream.domain import ClusterState

KeepOption = Annotated[
    str | None, typer.Option(help="The one of the two whose label and route stay; default: the survivor's.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Drop the smaller one's label and route unasked.")]


@clusters.command("merge")
def merge(
    cluster: AnyLevelArgument,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The one that means the same.")],
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    keep: KeepOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    id_: IdOption = None,
    dry_run: DryRunOption = False,
    looked_at: LookedAtOption = LOOKED_AT,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Merge two clusters, whatever their similarity; the named, else the larger one's id survives.

    Where both have a label or a route and these differ, one decision goes: --keep says whose stays, else the smaller
    one's is named and dropped when you agree; without a terminal only with --yes. The same of two intents or topics,
    which stay one.

    Example: questream clusters merge c17 c42 --reason "the same question"
    """
    asked = Asked(load(config, set_), namespace, actor, reason, id_, dry_run, as_json, looked_at)
    if are_levels(cluster, other, *([] if keep is None else [keep])):
        _merge_levels(asked, cluster, other, keep, yes)
        return
    merge_as_asked(asked, number_of(cluster), number_of(other), None if keep is None else number_of(keep), yes)


@clusters.command("unmerge")
def unmerge(
    cluster: ClusterArgument,
    config: ConfigOption = None,
    set_: SetOption = None,
    namespace: NamespaceOption = None,
    actor: ActorOption = None,
    reason: ReasonOption = "",
    id_: IdOption = None,
    dry_run: DryRunOption = False,
    looked_at: LookedAtOption = LOOKED_AT,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let a cluster that was merged away, by a worker or by somebody, stand by itself again.

    Example: questream clusters unmerge c42 --reason "another question"
    """
    del yes
    asked = Asked(load(config, set_), namespace, actor, reason, id_, dry_run, as_json, looked_at)
    number = number_of(cluster)
    decide_parting(asked, lambda *_: number, lambda by, joined: by.unmerge(number, joined))


def merge_as_asked(asked: Asked, one: int, other: int, keep: int | None, yes: bool) -> None:
    """Merge two clusters, or only look at it, and print it."""
    from questream.errors import NamingsDiffer
    from questream.operations import Decisions
    from questream.tools.clusters import lineage, open_namespace
    from questream.tools.decisions import as_document, decide, preview

    def may_drop(survivor: ClusterState, loser: ClusterState) -> bool:
        remark(f"c{survivor.cluster_id} stays with {_naming(survivor)}; c{loser.cluster_id} loses {_naming(loser)}")
        return yes or asked.dry_run or agrees(f"Merge c{loser.cluster_id} into c{survivor.cluster_id}?")

    store, chosen = open_namespace(asked.settings, asked.namespace)
    decisions = Decisions(store, chosen, asked.by)
    propose = decisions.merge(one, other, may_drop, keep=keep)
    if asked.dry_run:
        print_proposed(store, chosen, asked, preview(decisions, chosen, propose))
        return
    try:
        done = decide(decisions, chosen, propose)
    except NamingsDiffer as error:
        raise QuestreamError(
            f"{error}: nothing was merged", "--yes drops the smaller one's, --keep says whose stay"
        ) from None
    survivor, loser = done.after
    size = lineage(store, chosen, survivor)[-1].size
    if asked.as_json:
        print_json({**as_document(done), "cluster_id": f"c{survivor}", "merged": f"c{loser}", "size": size})
    else:
        print_line(f"operation {done.number}: c{loser} is c{survivor} now, {size:,} questions")


def _merge_levels(asked: Asked, one: str, other: str, keep: str | None, yes: bool) -> None:
    from questream.domain import Naming
    from questream.errors import NamingsDiffer

    def may_drop(survivor: str, loser: str, lost: Naming) -> bool:
        remark(f"{loser} loses {_named(*lost)}")
        return yes or asked.dry_run or agrees(f"Merge {loser} into {survivor}?")

    try:
        decide_as_asked(asked, lambda by: by.merge_levels(one, other, may_drop, keep=keep))
    except NamingsDiffer as error:
        raise QuestreamError(
            f"{error}: nothing was merged", "--yes drops the smaller one's, --keep says whose stay"
        ) from None


def _naming(state: ClusterState) -> str:
    return _named(state.label, state.route)


def _named(label: str | None, route: str | None) -> str:
    return f"label {printable(label or '-')}, route {printable(route or '-')}"
