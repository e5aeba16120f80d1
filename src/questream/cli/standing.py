"""`questream clusters mute|unmute|resolve|reopen`: what people say of a cluster as a whole."""

from __future__ import annotations

from questream.cli.binding import clusters
from questream.cli.clusters import ClusterArgument, NamespaceOption, number_of
from questream.cli.decisions import (
    ActorOption,
    Asked,
    DryRunOption,
    IdOption,
    ReasonOption,
    YesOption,
    decide_as_asked,
)
from questream.cli.options import ConfigOption, JsonOption, SetOption, load

__all__ = ["clusters"]


@clusters.command("mute")
def mute(
    cluster: ClusterArgument,
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
    """Let a cluster raise no events.

    Example: questream clusters mute c17 --reason "known outage"
    """
    del yes
    number = number_of(cluster)
    asked = Asked(load(config, set_), namespace, actor, reason, id_, dry_run, as_json)
    decide_as_asked(asked, lambda by: by.mute(number))


@clusters.command("unmute")
def unmute(
    cluster: ClusterArgument,
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
    """Let a muted cluster raise events again.

    Example: questream clusters unmute c17
    """
    del yes
    number = number_of(cluster)
    asked = Asked(load(config, set_), namespace, actor, reason, id_, dry_run, as_json)
    decide_as_asked(asked, lambda by: by.unmute(number))


@clusters.command("resolve")
def resolve(
    cluster: ClusterArgument,
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
    """Say that a cluster is dealt with; it returns with the next question.

    Example: questream clusters resolve c17 --reason "fixed in 2.3"
    """
    del yes
    number = number_of(cluster)
    asked = Asked(load(config, set_), namespace, actor, reason, id_, dry_run, as_json)
    decide_as_asked(asked, lambda by: by.resolve(number))


@clusters.command("reopen")
def reopen(
    cluster: ClusterArgument,
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
    """Let a resolved cluster be open again.

    Example: questream clusters reopen c17
    """
    del yes
    number = number_of(cluster)
    asked = Asked(load(config, set_), namespace, actor, reason, id_, dry_run, as_json)
    decide_as_asked(asked, lambda by: by.reopen(number))
