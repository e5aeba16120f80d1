"""Operations in Redis: one script commits one, and keeps it."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from questream.domain import Operation, Ruling
from questream.store.operation_text import operation_text, parse_operation
from questream.store.protocol import OPERATIONS_KEPT, ProposedOperation
from questream.store.redis.calls import RedisCalls, on_namespace
from questream.store.redis.codec import exemplars_text, reading, ruling_text


class RedisOperations(RedisCalls):
    """The protocol Operations."""

    @on_namespace
    def operate(self, namespace: str, proposed: ProposedOperation) -> Operation | None:
        self.require_rights(namespace)
        request = {
            "id": proposed.id,
            "kept": OPERATIONS_KEPT,
            "undoes": proposed.undoes or 0,
            "log_entries": self._log_entries,
            "clusters": [
                [cluster_id, *_texts(before), *_texts(proposed.after[cluster_id])]
                for cluster_id, before in proposed.before.items()
            ],
        }
        keys = [
            self._keys.of(namespace, name) for name in ("meta", "outbox", "operations", "operation_ids", "log", "idle")
        ]
        keys += [self._keys.cluster(namespace, cluster_id) for cluster_id in proposed.before]
        number = self._scripts["operate"](keys=keys, args=[orjson.dumps(request), operation_text(proposed)])
        return self._operation(namespace, int(number)) if number else None

    @on_namespace
    def operation(self, namespace: str, number: int) -> Operation | None:
        return self._operation(namespace, number)

    @on_namespace
    def operations(self, namespace: str, limit: int) -> list[Operation]:
        newest = self._client.hget(self._keys.of(namespace, "meta"), "operation_count")
        with reading("the namespace"):
            numbers = range(int(newest or 0), max(0, int(newest or 0) - limit), -1)
        return [operation for operation in self._read(namespace, numbers) if operation is not None]

    def _operation(self, namespace: str, number: int) -> Operation | None:
        return self._read(namespace, [number])[0]

    def _read(self, namespace: str, numbers: Sequence[int]) -> list[Operation | None]:
        if not numbers:
            return []
        fields = [name for number in numbers for name in (f"{number}", f"undone:{number}")]
        found = self._client.hmget(self._keys.of(namespace, "operations"), fields)
        with reading("an operation"):
            return [
                _parsed(number, text, undone_by)
                for number, text, undone_by in zip(numbers, found[::2], found[1::2], strict=True)
            ]


def _texts(ruling: Ruling) -> tuple[str, str, str, str]:
    return ruling.label or "", ruling.route or "", ruling_text(ruling), exemplars_text(ruling.exemplars)


def _parsed(number: int, text: bytes | None, undone_by: bytes | None) -> Operation | None:
    if text is None:
        return None
    time_ms, _, body = text.partition(b" ")
    return parse_operation(number, int(time_ms), body, None if undone_by is None else int(undone_by))
