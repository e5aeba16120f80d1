"""`questream clusters merge|unmerge`: two clusters are one, or two again, by an operation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.changes import Change, change_command
from questream.cli.clusters import AnyLevelArgument, ClusterArgument, are_levels, clusters, number_of
from questream.cli.decisions import decide_as_asked, decide_unmerging, print_proposed
from questream.cli.output import agrees, print_json, print_line, printable, remark
from questream.errors import NamingsDiffer, QuestreamError

if TYPE_CHECKING:
    from questream.domain import ClusterState

KeepOption = Annotated[str | None, typer.Option(help="The cluster that gives label and route; default: the survivor.")]


@change_command(clusters, "merge", previews=True)
def merge(
    change: Change,
    cluster: AnyLevelArgument,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="The one that means the same.")],
    keep: KeepOption = None,
) -> None:
    """Merge two clusters, whatever their similarity; the id of the labelled one survives, else that of the larger.

    Where both have a label or a route and these differ, one decision goes: --keep says whose stays, else the smaller
    one's is named and dropped when you agree; without a terminal only with --yes. The same of two intents or topics,
    which stay one.

    Example: questream clusters merge c17 c42 --reason "the same question"
    """
    if are_levels(cluster, other, *([] if keep is None else [keep])):
        _merge_levels(change, cluster, other, keep)
        return
    merge_as_asked(change, number_of(cluster), number_of(other), None if keep is None else number_of(keep))


@change_command(clusters, "unmerge", previews=True)
def unmerge(
    change: Change,
    cluster: ClusterArgument,
) -> None:
    """Undo a merge: restore a cluster that a worker or a person merged into another.

    Example: questream clusters unmerge c42 --reason "another question"
    """
    number = number_of(cluster)
    decide_unmerging(change, lambda *_: number, lambda by, joined: by.unmerge(number, joined))


def merge_as_asked(change: Change, one: int, other: int, keep: int | None) -> None:
    """Merge two clusters, or only look at it, and print it."""
    from questream.operations import Decisions
    from questream.tools.clusters import lineage, open_namespace
    from questream.tools.decisions import as_document, decide, preview

    def may_drop(survivor: ClusterState, loser: ClusterState) -> bool:
        remark(f"c{survivor.cluster_id} stays with {_naming(survivor)}; c{loser.cluster_id} loses {_naming(loser)}")
        return change.yes or change.dry_run or agrees(f"Merge c{loser.cluster_id} into c{survivor.cluster_id}?")

    store, chosen = open_namespace(change.settings, change.namespace)
    decisions = Decisions(store, chosen, change.by)
    propose = decisions.merge(one, other, may_drop, keep=keep)
    if change.dry_run:
        print_proposed(store, chosen, change, preview(decisions, chosen, propose))
        return
    with _names_kept():
        done = decide(decisions, chosen, propose)
    survivor, loser = done.after
    size = lineage(store, chosen, survivor)[-1].size
    if change.as_json:
        print_json({**as_document(done), "cluster_id": f"c{survivor}", "merged": f"c{loser}", "size": size})
    else:
        print_line(f"operation {done.number}: c{loser} is c{survivor} now, {size:,} questions")


def _merge_levels(change: Change, one: str, other: str, keep: str | None) -> None:
    from questream.domain import Naming

    def may_drop(survivor: str, loser: str, lost: Naming) -> bool:
        remark(f"{loser} loses {_named(*lost)}")
        return change.yes or change.dry_run or agrees(f"Merge {loser} into {survivor}?")

    with _names_kept():
        decide_as_asked(change, lambda by: by.merge_levels(one, other, may_drop, keep=keep))


@contextmanager
def _names_kept() -> Iterator[None]:
    try:
        yield
    except NamingsDiffer as error:
        raise QuestreamError(
            f"{error}: nothing was merged", "--yes drops the smaller one's, --keep says whose stay"
        ) from None


def _naming(state: ClusterState) -> str:
    return _named(state.label, state.route)


def _named(label: str | None, route: str | None) -> str:
    return f"label {printable(label or '-')}, route {printable(route or '-')}"
