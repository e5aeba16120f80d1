"""Levels in Redis: one hash for each namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import redis.exceptions

from questream.store.levels_text import levels_text, parse_levels
from questream.store.protocol import LevelsMark, StoredLevels
from questream.store.redis.calls import CHUNK, RedisCalls, on_namespace
from questream.store.redis.codec import is_count
from questream.store.redis.failures import translated


class RedisLevels(RedisCalls):
    """The protocol LevelCalls."""

    @on_namespace
    def levels(self, namespace: str) -> StoredLevels:
        try:
            version, text = self._client.hmget(self._keys.of(namespace, "levels"), ["version", "levels"])
        except redis.exceptions.ResponseError as error:
            # The next run writes it anew; to recover the namespace would not mend it.
            if "WRONGTYPE" not in str(error):
                raise
            return StoredLevels()
        return parse_levels(text, int(version)) if is_count(version) and text is not None else StoredLevels()

    @translated()
    def levels_marks(self, namespaces: Sequence[str]) -> dict[str, LevelsMark]:
        marks: dict[str, LevelsMark] = {}
        for start in range(0, len(namespaces), CHUNK):
            chunk = namespaces[start : start + CHUNK]
            pipeline = self._client.pipeline(transaction=False)
            for namespace in chunk:
                pipeline.hmget(self._keys.of(namespace, "levels"), ["version", "opened", "published"])
                pipeline.hmget(self._keys.of(namespace, "meta"), ["next", "live"])
            replies = pipeline.execute(raise_on_error=False)
            for namespace, written, counted in zip(chunk, replies[::2], replies[1::2], strict=True):
                version, opened, published = _counts(written, 3)
                opened_now, live = _counts(counted, 2)
                if opened_now:
                    marks[namespace] = LevelsMark(version, opened, opened_now - 1, live, published)
        return marks

    @on_namespace
    def lease_levels(self, namespace: str, holder: str, seconds: float) -> bool:
        self.require_rights(namespace)
        keys = [self._keys.of(namespace, "levels")]
        return bool(self._scripts["lease_levels"](keys=keys, args=[holder, int(seconds * 1000)]))

    @on_namespace
    def write_levels(self, namespace: str, store_epoch: str, levels: StoredLevels) -> bool:
        self.require_rights(namespace)
        keys = [self._keys.of(namespace, "meta"), self._keys.of(namespace, "levels")]
        args = [store_epoch, levels.version, levels.opened, levels_text(levels)]
        return bool(self._scripts["write_levels"](keys=keys, args=args))

    @on_namespace
    def confirm_levels(self, namespace: str, version: int) -> None:
        self._scripts["confirm_levels"](keys=[self._keys.of(namespace, "levels")], args=[version])

    @on_namespace
    def restore_levels(self, namespace: str, token: str, levels: StoredLevels) -> bool:
        keys = [self._keys.of(namespace, "meta"), self._keys.of(namespace, "levels")]
        args = [token, levels.version, levels.opened, levels_text(levels)]
        return bool(self._scripts["restore_levels"](keys=keys, args=args))


def _counts(reply: Any, fields: int) -> list[int]:
    """So many fields as counts, 0 for what is none."""
    return [int(value) if is_count(value) else 0 for value in reply] if isinstance(reply, list) else [0] * fields
