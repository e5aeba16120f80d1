"""Delete a namespace: tombstones for all that the cluster topic has of it, then its keys in Redis.

Meanwhile the namespace is held, so that nothing is decided in it: its questions wait. In order:

1. The hold ends the store epoch: a worker with decisions that are not published cannot commit them any more.
2. The topic is read, which waits for transactions that were open. One that was verified before the hold has its
   records in the log by then, so that none of its states comes behind a tombstone.
3. One transaction has a tombstone for each key, and the operation that deletes: who did it, and why. Those before it
   have no say in what begins anew under the name. A crash behind it leaves an empty namespace: the next recovery finds
   the tombstones, and removes what Redis still has of the clusters.
4. Redis forgets the namespace. What a worker reads for it afterwards begins it anew.
"""

from __future__ import annotations

import time
import uuid
from contextlib import closing, suppress
from typing import NamedTuple

from questream.broker.port import Outgoing
from questream.domain import Operation
from questream.errors import KafkaRefused, OperationRefused, QuestreamError, RecoveryNeeded
from questream.migration.held import HOLD_SECONDS, NotBegun, publish_held
from questream.operations import By
from questream.records import encode_operation
from questream.recovery.cluster_topic import ClusterTopic
from questream.recovery.home import HOME_HEADER
from questream.recovery.operation_topic import OperationTopic, PublishedOperations
from questream.settings import Settings
from questream.store.redis.store import RedisStore

NOBODY = By("")


class Deletion(NamedTuple):
    """A namespace was deleted: how many records the cluster topic had of it, and the operation that did it.

    None where there is no topic of operations, which alone would keep that.
    """

    tombstones: int
    operation: Operation | None


def deletion_known_as(settings: Settings, namespace: str, id_: str) -> Operation | None:
    """The deletion that had this id, None where no id is given. Raises OperationRefused where it named another kind.

    It reads the topic of operations: nothing else is left of a namespace. Raises KafkaUnavailable, KafkaRefused.
    """
    if not id_:
        return None
    kept = OperationTopic(settings).published().get(namespace, PublishedOperations()).by_number.values()
    found = next((one for one in kept if one.id == id_), None)
    if found is not None and found.kind != "delete":
        raise OperationRefused(f"the id of this operation is that of operation {found.number}", "give it another one")
    return found


def delete_namespace(settings: Settings, store: RedisStore, namespace: str, by: By = NOBODY) -> Deletion:
    """Delete it.

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
        operation = _operation(settings, store, namespace, by)
        if not store.still_holds(namespace, token, HOLD_SECONDS):
            raise RecoveryNeeded(
                f"reading the cluster topic took longer than {HOLD_SECONDS:.0f} s", "try again: nothing was deleted"
            )
        records = [] if operation is None else [_outgoing(settings, namespace, operation)]
        if tombstones or records:
            publish_held(settings, store, namespace, token, [*tombstones, *records], "delete")
    except (KafkaRefused, NotBegun, RecoveryNeeded):
        with suppress(QuestreamError):
            store.recover(namespace, token, None, {})
        raise
    if not store.delete(namespace, token, 0 if operation is None else operation.number):
        raise RecoveryNeeded(
            f"a worker has begun to recover namespace {namespace!r}, which is empty by now", "delete it again"
        )
    return Deletion(len(tombstones), operation)


def _operation(settings: Settings, store: RedisStore, namespace: str, by: By) -> Operation | None:
    """The operation of the deletion. The namespace is held: no operation comes between."""
    if not OperationTopic(settings).exists():
        return None
    kept = store.operations(namespace, 1)
    newest = max(kept[0].number if kept else 0, store.rules(namespace).operation, store.levels(namespace).operation)
    id_, now_ms = by.id or uuid.uuid4().hex, int(time.time() * 1000)
    return Operation(id_, newest + 1, "delete", by.actor, by.reason, now_ms, {}, {})


def _outgoing(settings: Settings, namespace: str, operation: Operation) -> Outgoing:
    key, value = encode_operation(namespace, settings.kafka.cluster_topic, operation)
    return Outgoing(settings.kafka.operation_topic, key, value, [])


def _keys(settings: Settings, store: RedisStore, namespace: str) -> list[bytes]:
    """The keys that the topic has of the namespace, without those that have a tombstone already."""
    with closing(ClusterTopic(settings, store.stream)) as topic:
        return sorted(topic.keys_of(namespace))
