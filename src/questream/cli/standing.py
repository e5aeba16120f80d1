"""`questream clusters pin|unpin|mute|unmute|resolve|reopen|forget`: what people say of a cluster as a whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from questream.cli.binding import clusters
from questream.cli.changes import Change, change_command
from questream.cli.clusters import AnyLevelArgument, ClusterArgument, is_level, number_of
from questream.cli.decisions import decide_as_asked, decide_in
from questream.cli.output import agrees, remark
from questream.errors import QuestreamError

if TYPE_CHECKING:
    from questream.operations import Decisions
    from questream.operations.requests import Propose

__all__ = ["clusters"]


def _add(
    name: str, help_: str, propose: Callable[[Decisions, str], Propose], argument: object = ClusterArgument
) -> None:
    """Add a command of this name that proposes something of one cluster, or of what else the `argument` takes."""

    def decide(change: Change, cluster: str) -> None:
        if argument is ClusterArgument or not is_level(cluster):
            number_of(cluster)
        decide_as_asked(change, lambda by: propose(by, cluster))

    decide.__annotations__["cluster"] = argument
    change_command(clusters, name, help=help_)(decide)


_add(
    "pin",
    "Let a cluster never merge automatically, or keep in an intent or a topic what is in it.\n\n"
    'Example: questream clusters pin c17 --reason "reviewed"',
    lambda by, name: by.pin_level(name) if is_level(name) else by.mark("pin", number_of(name)),
    AnyLevelArgument,
)
_add(
    "unpin",
    "Let a pinned cluster merge automatically again, or what is in an intent or a topic be found elsewhere.\n\n"
    "Example: questream clusters unpin c17",
    lambda by, name: by.unpin_level(name) if is_level(name) else by.mark("unpin", number_of(name)),
    AnyLevelArgument,
)
_add(
    "mute",
    'Let a cluster raise no events.\n\nExample: questream clusters mute c17 --reason "known outage"',
    lambda by, name: by.mark("mute", number_of(name)),
)
_add(
    "unmute",
    "Let a muted cluster raise events again.\n\nExample: questream clusters unmute c17",
    lambda by, name: by.mark("unmute", number_of(name)),
)
_add(
    "resolve",
    "Say that a cluster is dealt with; it returns with the next question.\n\n"
    'Example: questream clusters resolve c17 --reason "fixed in 2.3"',
    lambda by, name: by.mark("resolve", number_of(name)),
)
_add(
    "reopen",
    "Let a resolved cluster be open again.\n\nExample: questream clusters reopen c17",
    lambda by, name: by.mark("reopen", number_of(name)),
)


@change_command(clusters, "forget")
def forget(
    change: Change,
    cluster: ClusterArgument,
) -> None:
    """Erase the texts of a cluster and of what it absorbed, for ever; its id stays, and decides on as before.

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
        remark(f"c{forgets.cluster_id} and {len(forgets.aliases):,} that it absorbed lose their texts, for ever")
        if not agrees("Erase them?"):
            raise QuestreamError("nothing was erased", "say --yes to erase without being asked")
    aliases = [f"c{alias}" for alias in forgets.aliases] if forgets is not None else []
    decide_in(store, chosen, change, lambda by: by.forget(number), {"absorbed": aliases})
