"""The outbox in Redis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from questream.store.protocol import (
    Confirmation,
    OutboxPosition,
    Revisions,
    StoreError,
    Unconfirmed,
    Verified,
    Waiting,
)
from questream.store.redis.calls import RedisCalls, ScriptCall, answered, on_namespace
from questream.store.redis.codec import parse_outbox_position, partition_name, reading
from questream.store.redis.failures import translated
from questream.store.rules_text import parse_rules


class RedisOutbox(RedisCalls):
    """The protocol Outbox."""

    @translated()
    def verify_before_commit(
        self, published: Mapping[str, Revisions], confirmations: Sequence[Confirmation] = ()
    ) -> Verified:
        calls = [self._confirm_call(confirmation) for confirmation in confirmations]
        for namespace, revisions in published.items():
            keys = [self._keys.of(namespace, "meta"), self._keys.of(namespace, "outbox")]
            keys += [self._keys.cluster(namespace, cluster_id) for cluster_id in revisions]
            args = [part for pair in revisions.items() for part in pair]
            calls.append(ScriptCall(self._scripts["verify_before_commit"], keys, args))
        replies = self._call_all(calls)
        positions: dict[str, OutboxPosition | None] = {}
        for namespace, reply in zip(published, replies[len(confirmations) :], strict=True):
            with self.remembering(namespace):
                found = answered(reply)
                positions[namespace] = found and parse_outbox_position(*found)
        return Verified(positions, self._unconfirmed(confirmations, replies[: len(confirmations)]))

    @translated()
    def outbox_position(self, namespace: str) -> OutboxPosition:
        return parse_outbox_position(*self._scripts["outbox_position"](keys=[self._keys.of(namespace, "meta")]))

    @on_namespace
    def unpublished(self, namespace: str, older_than_seconds: float, limit: int) -> list[int]:
        call = self._unpublished_call(namespace, older_than_seconds, limit)
        return _cluster_ids(call.script(keys=call.keys, args=call.args))

    @translated()
    def waiting(
        self, namespaces: Sequence[str], older_than_seconds: float, limit: int
    ) -> dict[str, Waiting | StoreError]:
        metas = [[self._keys.of(name, "meta")] for name in namespaces]
        calls = [ScriptCall(self._scripts["store_epoch"], meta, []) for meta in metas]
        calls += [self._unpublished_call(namespace, older_than_seconds, limit) for namespace in namespaces]
        calls += [
            ScriptCall(self._scripts["waiting"], [*meta, self._keys.of(name, "levels")], [])
            for name, meta in zip(namespaces, metas, strict=True)
        ]
        replies, count = self._call_all(calls), len(namespaces)
        found = zip(namespaces, replies[:count], replies[count : 2 * count], replies[2 * count :], strict=True)
        return {namespace: self._failing_alone(namespace, partial(_waiting, *three)) for namespace, *three in found}

    @translated()
    def confirm(self, confirmations: Sequence[Confirmation]) -> Unconfirmed:
        replies = self._call_all([self._confirm_call(confirmation) for confirmation in confirmations])
        return self._unconfirmed(confirmations, replies)

    def _unpublished_call(self, namespace: str, older_than_seconds: float, limit: int) -> ScriptCall:
        args = [int(older_than_seconds * 1000), limit]
        return ScriptCall(self._scripts["unpublished"], [self._keys.of(namespace, "outbox")], args)

    def _confirm_call(self, confirmation: Confirmation) -> ScriptCall:
        namespace, position = confirmation.namespace, confirmation.position
        keys = [self._keys.of(namespace, "outbox"), self._keys.of(namespace, "meta")]
        keys += [self._keys.cluster(namespace, cluster_id) for cluster_id in confirmation.revisions]
        offsets = orjson.dumps({partition_name(*at): offset for at, offset in confirmation.committed.items()})
        args = [offsets, position.store_epoch, position.count, position.server_time_ms]
        args += [part for pair in confirmation.revisions.items() for part in pair]
        return ScriptCall(self._scripts["confirm"], keys, args)

    def _unconfirmed(self, confirmations: Sequence[Confirmation], replies: Sequence[Any]) -> Unconfirmed:
        outcomes = [
            (confirmation, self._failing_alone(confirmation.namespace, partial(answered, reply)))
            for confirmation, reply in zip(confirmations, replies, strict=True)
        ]
        return [(one, error) for one, error in outcomes if isinstance(error, StoreError)]


def _waiting(store_epoch: Any, cluster_ids: Any, beside: Any) -> Waiting:
    found = answered(store_epoch)
    operations, levels, rules = answered(beside)
    with reading("the rules of the namespace"):
        return Waiting(
            None if found is None else found.decode(),
            _cluster_ids(answered(cluster_ids)),
            bool(operations),
            bool(levels),
            parse_rules(rules),
        )


def _cluster_ids(waiting: Sequence[bytes]) -> list[int]:
    with reading("the outbox"):
        return [int(cluster_id) for cluster_id in waiting]
