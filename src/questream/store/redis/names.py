"""Made names in Redis: one hash for each namespace."""

from __future__ import annotations

from collections.abc import Mapping

import redis.exceptions

from questream.store.names_text import name_text, parse_name
from questream.store.protocol.names import MadeName
from questream.store.redis.calls import CHUNK, RedisCalls, on_namespace
from questream.store.redis.codec import is_count

_CHANGES = b"changes"


class RedisNames(RedisCalls):
    """The protocol NameCalls."""

    @on_namespace
    def made_names(self, namespace: str) -> dict[int, MadeName]:
        try:
            fields = self._client.hgetall(self._keys.of(namespace, "names"))
        except redis.exceptions.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return {}
        found = ((int(field), parse_name(text)) for field, text in fields.items() if field.isdigit())
        return {cluster_id: made for cluster_id, made in found if made is not None}

    @on_namespace
    def name_changes(self, namespace: str) -> int:
        try:
            changes = self._client.hget(self._keys.of(namespace, "names"), _CHANGES)
        except redis.exceptions.ResponseError as error:
            if "WRONGTYPE" not in str(error):
                raise
            return 0
        return int(changes) if is_count(changes) else 0

    @on_namespace
    def write_names(
        self, namespace: str, store_epoch: str, names: Mapping[int, MadeName | None], as_of: int | None = None
    ) -> bool:
        self.require_rights(namespace)
        keys = [self._keys.of(namespace, "meta"), self._keys.of(namespace, "names")]
        items = [(str(cluster_id), "" if made is None else name_text(made)) for cluster_id, made in names.items()]
        for start in range(0, len(items), CHUNK):
            chunk = [part for item in items[start : start + CHUNK] for part in item]
            # A name written for one of these is a change too.
            since = "" if as_of is None or start else as_of
            if not self._scripts["write_names"](keys=keys, args=[store_epoch, since, *chunk]):
                return False
        return True
