"""`questream verify` and `questream restore`: does the store hold what was published, and if not, put it back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from questream.cli.options import ConfigOption, JsonOption, SetOption, load
from questream.cli.output import print_json, print_line, print_table
from questream.errors import ExitCode, SettingsError

if TYPE_CHECKING:
    from questream.recovery.cluster_topic import ClusterTopic
    from questream.settings import Settings
    from questream.store.redis.store import RedisStore


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
    from questream.store.redis.store import open_store

    settings = load(config, set_)
    store = open_store(settings.redis)
    with _cluster_topic(settings, store) as topic:
        found = compare(settings, store, topic, decisions)
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
            help="Retire clusters that neither Redis nor the cluster topic can tell.",
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
    """Put back into Redis what it lacks of all that was published; workers do it by themselves when they notice.

    Example: questream restore --redis.url redis://127.0.0.1:6379/0
    """
    from questream.recovery.home import Homes, location_of
    from questream.recovery.recover import StoreRecovery
    from questream.store.redis.store import open_store

    settings = load(config, set_)
    if adopt and (former_config is None) == (not former_is_gone):
        raise typer.BadParameter("--adopt needs one of --former-config FILE and --former-is-gone")
    store = open_store(settings.redis)
    with _cluster_topic(settings, store) as topic:
        recovery = StoreRecovery(store, topic, Homes(store, location_of(settings.redis)), give_up=give_up)
        if adopt:
            if former_config is not None:
                _close_former(settings, load(former_config, None), topic)
            restored = recovery.adopt()
            _tell_homes(settings, store, restored)
        else:
            restored = recovery.restore()
    if as_json:
        print_json(restored)
    else:
        print_table(["namespace", "clusters put back#"], ([name, str(count)] for name, count in restored.items()))


def _close_former(settings: Settings, former: Settings, topic: ClusterTopic) -> None:
    """Scripts of the former Redis refuse from here on: the fence stands inside of what is fenced."""
    from questream.recovery.home import location_of
    from questream.store.redis.store import open_store

    if location_of(former.redis) == location_of(settings.redis):
        raise SettingsError("--former-config leads to the same Redis as redis.url; it must lead to the former one")
    store = open_store(former.redis)
    for namespace in topic.namespaces():
        store.move_away(namespace)


def _tell_homes(settings: Settings, store: RedisStore, namespaces: Iterable[str]) -> None:
    """At once, and not with the next decision: a worker of another Redis may start before that."""
    from questream.broker.kafka_python.connect import open_producer
    from questream.records import encode_namespace_state
    from questream.recovery.home import HOME_HEADER

    with open_producer(settings) as producer:
        for namespace in namespaces:
            whole, home = store.namespace_state(namespace), store.home(namespace)
            if whole is not None and home is not None:
                key, value = encode_namespace_state(whole)
                topic, headers = settings.kafka.cluster_topic, [(HOME_HEADER, home)]
                producer.send(topic, key=key, value=value, headers=headers).get(settings.kafka.call_deadline_seconds)


@contextmanager
def _cluster_topic(settings: Settings, store: RedisStore) -> Iterator[ClusterTopic]:
    from questream.recovery.cluster_topic import ClusterTopic

    topic = ClusterTopic(settings, store.stream)
    try:
        yield topic
    finally:
        topic.close()
