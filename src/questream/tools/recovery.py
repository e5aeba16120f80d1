"""A store compared with what was published, restored from it, and moved to another Redis.

Each function connects by the settings, and raises what store and topics raise: StoreUnavailable, StoreRefused,
KafkaUnavailable, KafkaRefused, AnotherStore.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import closing

from questream.broker.connect import open_producer
from questream.broker.port import Outgoing
from questream.broker.publisher import Sent
from questream.errors import SettingsError
from questream.records import encode_namespace_state
from questream.recovery.cluster_topic import ClusterTopic
from questream.recovery.home import HOME_HEADER, Homes, location_of
from questream.recovery.lease import RecoveryLease
from questream.recovery.recover import StoreRecovery
from questream.recovery.verifying import Verified
from questream.recovery.verifying import verify as compare
from questream.settings import Settings
from questream.store.redis.store import RedisStore, open_store


def verify(settings: Settings, decisions: int) -> Verified:
    """Compare the store with the cluster topic and the newest `decisions` of each partition of the output topic."""
    store = open_store(settings.redis)
    with closing(ClusterTopic(settings, store.stream)) as topic:
        return compare(settings, store, topic, decisions)


def restore(settings: Settings, *, give_up: bool = False) -> dict[str, int]:
    """Put back what the store lacks; returns by namespace how many clusters that were.

    With `give_up`, clusters are retired that neither the store nor the topic has complete.
    """
    store = open_store(settings.redis)
    with closing(ClusterTopic(settings, store.stream)) as topic:
        return _recovery(settings, store, topic, give_up=give_up).restore()


def adopt(settings: Settings, former: Settings | None, *, give_up: bool = False) -> dict[str, int]:
    """Restore all namespaces of the cluster topic and make this Redis their home; as with `restore`.

    `former` leads to the Redis that was their home, which is closed first; None where no worker can reach it any more.
    Raises SettingsError if it leads to this Redis.
    """
    store = open_store(settings.redis)
    with closing(ClusterTopic(settings, store.stream)) as topic:
        if former is not None:
            _close(former, settings, topic)
        restored = _recovery(settings, store, topic, give_up=give_up).adopt()
        _publish_homes(settings, store, restored)
        return restored


def _recovery(settings: Settings, store: RedisStore, topic: ClusterTopic, *, give_up: bool) -> StoreRecovery:
    homes, lease = Homes(store, location_of(settings.redis)), RecoveryLease(store, _wait)
    return StoreRecovery(store, topic, homes, lease, give_up=give_up)


def _wait(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def _close(former: Settings, settings: Settings, topic: ClusterTopic) -> None:
    """Fence the former Redis: its scripts refuse from here on, by a key of its own."""
    if location_of(former.redis) == location_of(settings.redis):
        raise SettingsError("--former-config leads to the same Redis as redis.url", "it must lead to the former one")
    store = open_store(former.redis)
    for namespace in topic.namespaces():
        store.move_away(namespace)


def _publish_homes(settings: Settings, store: RedisStore, namespaces: Iterable[str]) -> None:
    """At once, and not with the next decision: a worker of another Redis may start before that."""
    sent = Sent()
    with open_producer(settings) as producer:
        for namespace in namespaces:
            whole, home = store.namespace_state(namespace), store.home(namespace)
            if whole is not None and home is not None:
                key, value = encode_namespace_state(whole)
                sent.send(producer, [Outgoing(settings.kafka.cluster_topic, key, value, [(HOME_HEADER, home)])])
        producer.flush(settings.kafka.call_deadline_seconds)
        sent.require_all()
