"""`questream clusters pin|unpin|mute|unmute|resolve|reopen|forget`: marks on a whole cluster."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from questream.cli.changes import Change, change_command
from questream.cli.clusters import AnyLevelArgument, ClusterArgument, clusters, is_level, number_of
from questream.cli.decisions import decide_as_asked, decide_in
from questream.cli.output import agrees, remark
from questream.errors import QuestreamError
from questream.marks import MARKS, Mark, MarkKind

if TYPE_CHECKING:
    from questream.operations import Decisions
    from questream.operations.requests import Propose

__all__ = ["clusters"]


def _add(kind: MarkKind, mark: Mark) -> None:
    """Add the command of a mark; a pin is of an intent or a topic as well."""
    on_level = _ON_LEVELS.get(kind)

    def decide(change: Change, cluster: str) -> None:
        if on_level is not None and is_level(cluster):
            decide_as_asked(change, lambda by: on_level(by, cluster))
            return
        number = number_of(cluster)
        decide_as_asked(change, lambda by: by.mark(kind, number))

    decide.__annotations__["cluster"] = ClusterArgument if on_level is None else AnyLevelArgument
    help_ = f"{mark.help}\n\nExample: questream clusters {kind} {mark.example}"
    change_command(clusters, kind, help=help_)(decide)


_ON_LEVELS: dict[MarkKind, Callable[[Decisions, str], Propose]] = {
    "pin": lambda by, name: by.pin_level(name),
    "unpin": lambda by, name: by.unpin_level(name),
}
for _kind, _mark in MARKS.items():
    _add(_kind, _mark)


@change_command(clusters, "forget")
def forget(
    change: Change,
    cluster: ClusterArgument,
) -> None:
    """Erase the texts of a cluster and of the clusters that it absorbed, for ever; its id stays in use.

    Example: questream clusters forget c17 --reason "asked for by a customer"
    """
    from questream.operations import Decisions
    from questream.tools.clusters import open_namespace
    from questream.tools.decisions import known_as, preview

    number = number_of(cluster)
    store, chosen = open_namespace(change.settings, change.namespace)
    decisions = Decisions(store, chosen, change.by)
    forgets = preview(decisions, chosen, decisions.forget(number)).forgets
    known = known_as(store, chosen, change.by.id)
    if forgets is not None and not change.dry_run and known is None and not change.yes:
        remark(f"c{forgets.cluster_id} and {len(forgets.aliases):,} that it absorbed lose their texts for good")
        if not agrees("Erase them?"):
            raise QuestreamError("nothing was erased", "say --yes to erase without being asked")
    aliases = [f"c{alias}" for alias in forgets.aliases] if forgets is not None else []
    decide_in(store, chosen, change, lambda by: by.forget(number), {"absorbed": aliases})
