"""`questream verify` and `questream restore`: does the store hold what was published, and if not, restore it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table
from questream.errors import ExitCode


def verify(
    config: ConfigOption = None,
    set_: SetOption = None,
    decisions: Annotated[
        int, typer.Option(min=0, help="How many of the newest decisions of each partition to look at.")
    ] = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Compare Redis with the published records, also while workers run; exit code 1 if something differs.

    Example: questream verify --decisions 100000
    """
    from questream.tools.recovery import verify as compare

    found = compare(load(config, set_), decisions)
    if as_json:
        print_json(asdict(found))
    else:
        for difference in found.differences:
            print_line(f"{difference.namespace}: not so that {difference.promise}: {difference.told}")
            print_line(f"    -> {difference.remedy}")
        print_line(
            f"{found.clusters} clusters in {found.namespaces} namespaces and {found.decisions} decisions compared, "
            f"{len(found.differences) or 'no'} differences"
        )
    if found.differences:
        raise typer.Exit(ExitCode.FAILED)


def restore(
    config: ConfigOption = None,
    set_: SetOption = None,
    give_up: Annotated[
        bool,
        typer.Option(
            "--give-up",
            help="Retire clusters that neither Redis nor the cluster topic can restore.",
        ),
    ] = False,
    adopt: Annotated[
        bool,
        typer.Option("--adopt", help="Move all namespaces of the cluster topic to the Redis of redis.url."),
    ] = False,
    former_config: Annotated[
        Path | None,
        typer.Option(
            "--former-config", metavar="FILE", help="With --adopt: settings that lead to the former Redis, to close it."
        ),
    ] = None,
    former_is_gone: Annotated[
        bool, typer.Option("--former-is-gone", help="With --adopt: no worker can reach the former Redis any more.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Restore in Redis all published state that it lacks; workers do so by themselves when they notice a loss.

    Example: questream restore --redis.url redis://127.0.0.1:6379/0
    """
    from questream.tools import recovery

    settings = load(config, set_)
    if adopt and (former_config is None) == (not former_is_gone):
        raise typer.BadParameter("--adopt needs one of --former-config FILE and --former-is-gone")
    if adopt:
        former = None if former_config is None else load(former_config, None)
        restored = recovery.adopt(settings, former, give_up=give_up)
    else:
        restored = recovery.restore(settings, give_up=give_up)
    if as_json:
        print_json(restored)
    else:
        print_table(["namespace", "clusters restored#"], ([name, str(count)] for name, count in restored.items()))
