"""Retirement in Redis: what is due is read page by page from its index, and retired by a script that looks again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from questream.store.redis.codec import reading
from questream.store.redis.keys import Keys, Name
from questream.store.retention import Due, Index, Members, Retention, Retired, due_by_age, due_for_room, excess

_PAGE = 256
_SCRIPT_KEYS: tuple[Name, ...] = ("meta", "log", "outbox", "idle", "singletons", "aliases")
_AT: dict[Members, int] = {name: _SCRIPT_KEYS.index(name) + 1 for name in ("idle", "singletons", "aliases")}


class RedisRetirement:
    """Retires clusters of any namespace, for the RedisStore that all its arguments belong to."""

    def __init__(self, client: Any, keys: Keys, script: Any, log_entries: int) -> None:
        self._client = client
        self._keys = keys
        self._script = script
        self._log_entries = log_entries
        # How many that are kept although they are due (labels) come before those that are yet to be looked at.
        self._kept: dict[tuple[str, str, str], int] = {}

    def retire(self, namespace: str, retention: Retention, limit: int) -> Retired:
        """Retire what is due, having looked at about `limit` members of each index at most."""
        retired = Retired()
        for due in due_by_age(retention, self._newest(namespace)):
            retired.add(due.reason, self._sweep(namespace, due, retention, limit, limit))
        while gone := self._make_room(namespace, retention, limit):
            retired.add("full", gone)
            limit -= len(gone)
        return retired

    def _make_room(self, namespace: str, retention: Retention, limit: int) -> list[int]:
        if retention.max_clusters is None:
            return []
        too_many = min(limit, excess(retention, self._client.zcard(self._keys.of(namespace, "idle"))))
        for due in due_for_room(self._index(namespace)) if too_many else ():
            gone = self._sweep(namespace, due, retention, too_many, limit)
            if gone:
                return gone
        return []

    def _sweep(self, namespace: str, due: Due, retention: Retention, most: int, limit: int) -> list[int]:
        """Retire `most` of what is due, having looked at `limit` at most; returns what left."""
        at = (namespace, due.reason, due.among)
        kept, looked_at = self._kept.pop(at, 0), 0
        gone: list[int] = []
        while len(gone) < most:
            if looked_at >= limit:
                # Clusters that are kept are passed over the next time, or enough of them would hide the rest for ever.
                self._kept[at] = kept
                break
            page = self._page(namespace, due, kept, _PAGE)
            if not page:
                break
            left = self._retire(namespace, due, retention, page, most - len(gone))
            gone += left
            looked_at += len(page)
            kept += len(page) - len(left)
        return gone

    def _page(self, namespace: str, due: Due, skip: int, count: int) -> list[int]:
        oldest = "-inf" if due.timeless else "(0"
        members = self._client.zrange(
            self._keys.of(namespace, due.among), oldest, due.until, byscore=True, offset=skip, num=count
        )
        with reading("an index"):
            return [int(member) for member in members]

    def _retire(
        self, namespace: str, due: Due, retention: Retention, cluster_ids: Sequence[int], most: int
    ) -> list[int]:
        header = {
            "most": most,
            "log_entries": self._log_entries,
            "index": _AT[due.among],
            "until": due.until,
            "tombstone_ms": int(retention.tombstone_seconds * 1000),
            "ids": cluster_ids,
        }
        keys = [self._keys.of(namespace, name) for name in _SCRIPT_KEYS]
        keys += [self._keys.cluster(namespace, cluster_id) for cluster_id in cluster_ids]
        return [int(cluster_id) for cluster_id in self._script(keys=keys, args=[orjson.dumps(header)])]

    def _index(self, namespace: str) -> Index:
        idle = self._keys.of(namespace, "idle")
        clusters = self._client.zcard(idle)
        middle = max(0, clusters - 1) // 2
        median = self._client.zrange(idle, middle, middle, withscores=True)
        return Index(clusters, self._newest(namespace), _score(median))

    def _newest(self, namespace: str) -> int:
        return _score(self._client.zrange(self._keys.of(namespace, "idle"), -1, -1, withscores=True))


def _score(found: Sequence[tuple[bytes, float]]) -> int:
    return int(found[0][1]) if found else 0
