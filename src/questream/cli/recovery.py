"""`questream verify` and `questream restore`: does the store hold what was published, and if not, put it back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.exit_codes import ExitCode
from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table

if TYPE_CHECKING:
    from questream.recovery.cluster_topic import ClusterTopic
    from questream.settings import Settings


def verify(
    config: ConfigOption = None,
    set_: SetOption = None,
    decisions: Annotated[
        int, typer.Option(min=0, help="How many of the newest decisions of each partition to look at.")
    ] = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Compare Redis with what was published, while workers run or not; exit code 1 if something differs.

    Example: questream verify --decisions 100000
    """
    from questream.recovery.verifying import verify as compare
    from questream.store.redis import open_store

    settings = load(config, set_)
    with _cluster_topic(settings) as topic:
        found = compare(settings, open_store(settings.redis), topic, decisions)
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
            help="Retire clusters that neither Redis nor the cluster topic can tell; nothing else mends that.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Put back into Redis what it lacks of all that was published; workers do it by themselves when they notice.

    Example: questream restore --redis.url redis://127.0.0.1:6379/0
    """
    from questream.recovery.settling import Settler
    from questream.store.redis import open_store

    settings = load(config, set_)
    with _cluster_topic(settings) as topic:
        restored = Settler(open_store(settings.redis), topic, give_up=give_up).restore()
    if as_json:
        print_json(restored)
    else:
        print_table(["namespace", "clusters put back#"], ([name, str(count)] for name, count in restored.items()))


@contextmanager
def _cluster_topic(settings: Settings) -> Iterator[ClusterTopic]:
    from questream.recovery.cluster_topic import ClusterTopic

    topic = ClusterTopic(settings)
    try:
        yield topic
    finally:
        topic.close()
