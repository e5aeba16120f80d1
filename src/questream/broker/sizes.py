"""Sizes of records that topics have refused: the next such records need not be tried."""

from __future__ import annotations

import time
import zlib
from typing import NamedTuple

from questream.broker.port import Outgoing

# An operator may have a topic take more; then records of that size are tried again.
_REMEMBERED_SECONDS = 600.0
_MOST_REMEMBERED = 8
# kafka-python hashes a key in Python, four bytes at a time, and that counts against the deadline of the call: 3 MB take
# a second of an idle processor, and keys of 50 MB would end the worker each time that it is started.
_MOST_KEY_BYTES = 1_048_576


class _Size(NamedTuple):
    raw: int
    compressed: int
    until: float


def is_sendable(key: bytes | None) -> bool:
    """True if a record with this key can be sent in time, whatever its topic takes."""
    return len(key or b"") <= _MOST_KEY_BYTES


class SizeLimits:
    """Remembers by topic which sizes it refused. For one thread.

    A broker compares a record as it was sent, compressed or not: one is not tried again that is as large as a refused
    one in both ways. Whatever is tried in vain is refused by the broker itself.
    """

    def __init__(self) -> None:
        self._refused: dict[str, list[_Size]] = {}

    def refused(self, record: Outgoing) -> None:
        """The topic does not take this record."""
        size = _Size(_raw(record), _compressed(record), time.monotonic() + _REMEMBERED_SECONDS)
        kept = [old for old in self._refused.get(record.topic, ()) if not _as_large(old, size)]
        self._refused[record.topic] = [*kept[-_MOST_REMEMBERED + 1 :], size]

    def may_fit(self, record: Outgoing) -> bool:
        """True if nothing was refused lately that was no larger, and its key is one that can be sent in time."""
        if not is_sendable(record.key):
            return False
        sizes = self._refused.get(record.topic)
        if not sizes:
            return True
        now, raw = time.monotonic(), _raw(record)
        smaller = [size for size in sizes if size.raw <= raw and now < size.until]
        return not smaller or _compressed(record) < min(size.compressed for size in smaller)


def _as_large(size: _Size, other: _Size) -> bool:
    return size.raw >= other.raw and size.compressed >= other.compressed


def _parts(record: Outgoing) -> list[bytes]:
    return [part for part in (record.key, record.value, *(value for _, value in record.headers)) if part]


def _raw(record: Outgoing) -> int:
    return sum(map(len, _parts(record)))


def _compressed(record: Outgoing) -> int:
    # By a codec that is always there, whichever is set: it distinguishes similar records.
    compressor = zlib.compressobj(1)
    return sum(len(compressor.compress(part)) for part in _parts(record)) + len(compressor.flush())
