"""The lengths of the logs of all namespaces in Redis, and their trimming."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import redis.exceptions

from questream.store.protocol import LogLength
from questream.store.redis.calls import RedisCalls, answered, chunked
from questream.store.redis.failures import translated
from questream.store.redis.rights import concerns_key

# Measured in Redis 7.0.15: 3.85 KB for a vector of 768 numbers, 1.93 KB for one of 384.
_STORED_PER_BYTE = 1.25
_BYTES_BESIDE = 32


class RedisLogs(RedisCalls):
    """The part of the protocol Commits that bounds the logs of all namespaces together.

    No script: an older login may lack XLEN, and everything else has to go on.
    """

    @translated()
    def log_lengths(self, namespaces: Sequence[str]) -> dict[str, LogLength]:
        found: dict[str, LogLength] = {}
        for names in chunked(namespaces):
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.xlen(self._keys.of(name, "log"))
                pipeline.hmget(self._keys.of(name, "meta"), ["seq", "dimension"])
            replies = iter(_of_namespaces(pipeline.execute(raise_on_error=False)))
            for name, entries, numbers in zip(names, replies, replies, strict=True):
                seq, dimension = numbers or (None, None)
                if entries is not None and seq and dimension and seq.isdigit() and dimension.isdigit():
                    entry_bytes = int(4 * int(dimension) * _STORED_PER_BYTE) + _BYTES_BESIDE
                    found[name] = LogLength(entries, entry_bytes, int(seq))
        return found

    @translated()
    def trim_logs(self, entries: Mapping[str, int]) -> None:
        for names in chunked(list(entries)):
            pipeline = self._client.pipeline(transaction=False)
            for name in names:
                pipeline.xtrim(self._keys.of(name, "log"), maxlen=entries[name], approximate=False)
            _of_namespaces(pipeline.execute(raise_on_error=False))


def _of_namespaces(replies: Sequence[Any]) -> list[Any]:
    """The replies; None for a key that this login may not touch, or that is of another type. Raises any other error."""
    return [None if isinstance(reply, Exception) and _is_about_key(reply) else answered(reply) for reply in replies]


def _is_about_key(error: Exception) -> bool:
    if isinstance(error, redis.exceptions.NoPermissionError):
        return concerns_key(str(error))
    # A reader of the log finds it lost, and has it begun anew.
    return isinstance(error, redis.exceptions.ResponseError) and "WRONGTYPE" in str(error)
