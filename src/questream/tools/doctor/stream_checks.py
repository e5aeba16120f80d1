"""The stream as a whole: which Redis serves it, what holds its input back, and whether its workers agree."""

from __future__ import annotations

import time
from collections.abc import Iterator

from questream.broker.port import Partition
from questream.deciding.config import settings_beside_rules
from questream.errors import AnotherStore, KafkaRefused, KafkaUnavailable
from questream.recovery.age import require_recent
from questream.recovery.cluster_topic import ClusterTopic
from questream.recovery.home import Home, Homes, location_of
from questream.store.redis.store import RedisStore
from questream.stream.settings_in_use import GONE_SECONDS, differences_of, settings_of
from questream.tools.doctor.findings import Check, CheckContext, Finding

# A producer that writes in transactions has one open for moments.
_HELD_SECONDS = 2.0


def check_home(context: CheckContext) -> Iterator[Finding]:
    """The Redis is the one that serves the namespaces of the cluster topic, and no copy that is too old for it."""
    settings = context.settings
    store = _store(context)
    homes = Homes(store, location_of(settings.redis))
    topic = ClusterTopic(settings, store.stream)
    try:
        newest = topic.newest()
        require_recent(store, topic, newest)
    finally:
        topic.close()
    found = {name: published.home for name, published in newest.items() if published.home}
    strange = []
    for name, home in found.items():
        try:
            homes.require(name, home)
        except AnotherStore:
            strange.append(name)
    if strange:
        yield Finding(
            "redis home",
            "fail",
            f"the cluster topic says that another Redis serves {_some(strange)}",
            "set redis.url (server and database number) to that one, or move here with questream restore --adopt",
        )
        return
    # Of a store that was emptied, the next worker makes a new home.
    lacking = [name for name in found if Home.parse(store.home(name)) is None]
    if lacking:
        yield Finding("redis home", "ok", f"it was emptied; the next worker restores {_some(lacking)}")
    else:
        yield Finding(
            "redis home", "ok", f"this Redis serves {_some(list(found))}" if found else "nothing is published yet"
        )


def check_held_back(context: CheckContext) -> Iterator[Finding]:
    """Nothing of the input lies behind a transaction that somebody left open."""
    topic = context.settings.kafka.input_topic
    found = context.kafka.find_topics([topic]).get(topic)
    if found is None:
        return
    partitions = [Partition(topic, number) for number in range(found.partitions)]
    try:
        before = context.kafka.end_offsets(partitions, "read_committed")
        held = _held_back(context, partitions, before)
        if held:
            time.sleep(_HELD_SECONDS)
            held = {p: count for p, count in _held_back(context, partitions, before).items() if p in held}
    except (KafkaUnavailable, KafkaRefused):
        # The embedded broker does not know the question.
        yield Finding("input held back", "ok", "the broker does not report it")
        return
    if held:
        yield Finding(
            "input held back",
            "warn",
            f"{sum(held.values())} offsets of {topic} lie behind an open transaction, in partition"
            f"{'s' * (len(held) != 1)} {', '.join(str(p.partition) for p in held)}: nobody reads them before it ends",
            "end it: kafka-transactions.sh find-hanging names it",
        )
    else:
        yield Finding("input held back", "ok", "no open transaction")


def check_settings_in_use(context: CheckContext) -> Iterator[Finding]:
    """The workers that run now have the same settings, and those that the doctor was given."""
    settings = context.settings
    store, namespace = _store(context), settings.clusters.namespace
    noted, rules = store.note_settings(namespace, "", b"", GONE_SECONDS), store.rules(namespace)
    if not noted:
        yield Finding("settings in use", "ok", "no worker of this namespace runs, or none that notes its settings")
        return
    worker, first = noted[0]
    differences = differences_of(settings_of(first), noted[1:], rules)
    if differences:
        found = "; ".join(differences).replace(" here,", f" in worker {worker},")
        remedy = "give all workers the same settings; while a change is rolled out this is as it must be"
        yield Finding("settings in use", "warn", f"workers run by different settings: {found}", remedy)
        return
    differences = differences_of(settings_beside_rules(settings), noted, rules)
    if differences:
        remedy = "start the workers again with these settings, or give the doctor theirs"
        yield Finding("settings in use", "warn", "; ".join(differences), remedy)
        return
    yield Finding("settings in use", "ok", "all workers that run have the same")


def _store(context: CheckContext) -> RedisStore:
    return RedisStore(context.redis, prefix=context.settings.redis.prefix)


def _held_back(
    context: CheckContext, partitions: list[Partition], before: dict[Partition, int]
) -> dict[Partition, int]:
    """The records behind an open transaction, for partitions whose stable end has not moved since `before`."""
    ends = context.kafka.end_offsets(partitions, "read_uncommitted")
    stable = context.kafka.end_offsets(partitions, "read_committed")
    return {p: ends[p] - end for p, end in stable.items() if end == before[p] and ends[p] > end}


def _some(names: list[str]) -> str:
    shown = ", ".join(sorted(names)[:5])
    return f"namespace {shown}" if len(names) == 1 else f"{len(names)} namespaces ({shown}{', ...' * (len(names) > 5)})"


STREAM_CHECKS = (
    Check("redis home", check_home, needs=("topics", "redis"), limit_seconds=30.0),
    Check("input held back", check_held_back, needs=("topics",)),
    Check("settings in use", check_settings_in_use, needs=("redis",)),
)
