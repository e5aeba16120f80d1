"""Delete a namespace: tombstones for all that the cluster topic has of it, then its keys in Redis.

Meanwhile the namespace is held, so that nothing is decided in it: its questions wait. In order:

1. The hold ends the store epoch: a worker with decisions that are not published cannot commit them any more.
2. The topic is read, which waits for transactions that were open. One that was verified before the hold has its
   records in the log by then, so that none of its states comes behind a tombstone.
3. One transaction has a tombstone for each key. A crash behind it leaves an empty namespace: the next recovery finds
   the tombstones, and removes what Redis still has of the clusters.
4. Redis forgets the namespace. What a worker reads for it afterwards begins it anew.
"""

from __future__ import annotations

from contextlib import closing, suppress

from questream.broker.port import Outgoing
from questream.errors import KafkaRefused, QuestreamError, RecoveryNeeded
from questream.migration.held import HOLD_SECONDS, NotBegun, publish_held
from questream.recovery.cluster_topic import ClusterTopic
from questream.recovery.home import HOME_HEADER
from questream.settings import Settings
from questream.store.redis.store import RedisStore


def delete_namespace(settings: Settings, store: RedisStore, namespace: str) -> int:
    """Delete it, and return how many records the cluster topic had of it.

    Raises RecoveryNeeded where it is not recovered, is held by somebody else, or the hold took too long: nothing is
    deleted then; and what store and topics raise: said again, it goes on.
    """
    store_epoch = store.store_epoch(namespace)
    token = None if store_epoch is None else store.hold(namespace, store_epoch, HOLD_SECONDS)
    if token is None:
        raise RecoveryNeeded(
            f"namespace {namespace!r} is not recovered, or is being moved", "a worker recovers it, or questream restore"
        )
    try:
        keys = _keys(settings, store, namespace)
        topic, home = settings.kafka.cluster_topic, store.home(namespace)
        headers = [] if home is None else [(HOME_HEADER, home)]
        tombstones = [Outgoing(topic, key, None, headers) for key in keys]
        if not store.still_holds(namespace, token, HOLD_SECONDS):
            raise RecoveryNeeded(
                f"reading the cluster topic took longer than {HOLD_SECONDS:.0f} s", "try again: nothing was deleted"
            )
        if tombstones:
            publish_held(settings, store, namespace, token, tombstones, "delete")
    except (KafkaRefused, NotBegun, RecoveryNeeded):
        with suppress(QuestreamError):
            store.recover(namespace, token, None, {})
        raise
    if not store.delete(namespace, token):
        raise RecoveryNeeded(
            f"a worker has begun to recover namespace {namespace!r}, which is empty by now", "delete it again"
        )
    return len(tombstones)


def _keys(settings: Settings, store: RedisStore, namespace: str) -> list[bytes]:
    """The keys that the topic has of the namespace, without those that have a tombstone already."""
    with closing(ClusterTopic(settings, store.stream)) as topic:
        return sorted(topic.keys_of(namespace))
