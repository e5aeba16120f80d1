"""Levels in Redis: one hash for each namespace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from questream.errors import LostMemory
from questream.store.levels_text import levels_text, names_text, parse_levels
from questream.store.protocol import LevelsMark, StoredLevels
from questream.store.redis.calls import RedisCalls, chunked, on_namespace
from questream.store.redis.codec import is_count, reading
from questream.store.redis.failures import translated
from questream.store.rules_text import level_rules_text, parse_rules


class RedisLevels(RedisCalls):
    """The protocol LevelCalls."""

    @on_namespace
    def levels(self, namespace: str) -> StoredLevels:
        return self._read_levels(namespace)

    @translated()
    def levels_marks(self, namespaces: Sequence[str]) -> dict[str, LevelsMark]:
        marks: dict[str, LevelsMark] = {}
        for chunk in chunked(namespaces):
            pipeline = self._client.pipeline(transaction=False)
            for namespace in chunk:
                pipeline.hmget(
                    self._keys.of(namespace, "levels"), ["version", "opened", "published", "heeded", "ruled"]
                )
                pipeline.hmget(self._keys.of(namespace, "meta"), ["next", "live", "rules"])
            replies = pipeline.execute(raise_on_error=False)
            for namespace, written, counted in zip(chunk, replies[::2], replies[1::2], strict=True):
                version, opened, published, heeded, ruled = _fields(written, 5)
                next_id, live, rules = _fields(counted, 3)
                if _count(next_id):
                    marks[namespace] = LevelsMark(
                        version=_count(version),
                        opened=_count(opened),
                        opened_now=_count(next_id) - 1,
                        live=_count(live),
                        published=_count(published),
                        heeding=heeded is None or _count(heeded) == _count(version),
                        by_rules=(ruled or b"") == _level_rules(rules),
                    )
        return marks

    @on_namespace
    def lease_levels(self, namespace: str, holder: str, seconds: float) -> bool:
        self.require_rights(namespace)
        keys = [self._keys.of(namespace, "meta"), self._keys.of(namespace, "levels")]
        return bool(self._scripts["lease_levels"](keys=keys, args=[holder, int(seconds * 1000)]))

    @on_namespace
    def write_levels(self, namespace: str, store_epoch: str, levels: StoredLevels, ruled: str = "") -> bool:
        self.require_rights(namespace)
        keys = [self._keys.of(namespace, "meta"), self._keys.of(namespace, "levels")]
        args = [store_epoch, levels.version, levels.opened, levels_text(levels), names_text(levels), ruled]
        return bool(self._scripts["write_levels"](keys=keys, args=args))

    @on_namespace
    def confirm_levels(self, namespace: str, version: int) -> None:
        self._scripts["confirm_levels"](keys=[self._keys.of(namespace, "levels")], args=[version])

    @on_namespace
    def restore_levels(self, namespace: str, token: str, levels: StoredLevels, published: int | None = None) -> bool:
        meta_key, levels_key = self._keys.of(namespace, "meta"), self._keys.of(namespace, "levels")
        try:
            with translated():
                self._read_levels(namespace)
        except LostMemory:
            # Only a run or a recovery writes them, and none but this recovery does now.
            self._client.delete(levels_key)
        if not levels.version:
            return False
        args = [token, levels.version, levels.opened, levels_text(levels), names_text(levels)]
        args.append(levels.version if published is None else published)
        return bool(self._scripts["restore_levels"](keys=[meta_key, levels_key], args=args))

    def _read_levels(self, namespace: str) -> StoredLevels:
        """Raises LostMemory, or the client's error, where they cannot be read."""
        key = self._keys.of(namespace, "levels")
        version, text, names = self._client.hmget(key, ["version", "levels", "named"])
        if (version, text, names) == (None, None, None):
            return StoredLevels()
        with reading("the levels"):
            return parse_levels(text, _positive(version), names)


def _fields(reply: Any, fields: int) -> list[bytes | None]:
    """So many fields of a hash; none where the key is of another type, to which an error is the reply."""
    return reply if isinstance(reply, list) else [None] * fields


def _count(field: bytes | None) -> int:
    """A field as a count, 0 for what is none."""
    return int(field or 0) if is_count(field) else 0


def _level_rules(text: bytes | None) -> bytes:
    """The level rules in force, '' where those of the namespace cannot be read: a worker reports that."""
    try:
        return level_rules_text(parse_rules(text)).encode()
    except ValueError:
        return b""


def _positive(raw: bytes | None) -> int:
    if not is_count(raw):
        raise ValueError("a version is a number above zero")
    return int(raw or 0)
