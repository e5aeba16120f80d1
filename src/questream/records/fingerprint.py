"""The fingerprint of a record, which an earlier one at its offset does not have: logs are truncated and restored."""

from __future__ import annotations

import hashlib
import re
import struct
from typing import NamedTuple

from questream.domain import Record, Unread

_BYTES = 8
_METADATA = re.compile(rf"last=(-?[0-9]{{1,19}})/([0-9a-f]{{{2 * _BYTES}}})")


def fingerprint(record: Record) -> str:
    """16 hexadecimal digits over timestamp, key and value; headers, which tools in between add to, are left out."""
    key, value = record.key, record.value
    known = struct.pack(">qqq", record.source.timestamp, *(-1 if part is None else len(part) for part in (key, value)))
    return hashlib.blake2b(known + (key or b"") + (value or b""), digest_size=_BYTES).hexdigest()


class LastRecord(NamedTuple):
    """The record before a committed offset, which the offset's metadata names: a log that was cut shorter and has grown
    again holds another one there. `timestamp` is in ms.
    """

    timestamp: int
    fingerprint: str

    @classmethod
    def of(cls, record: Record) -> LastRecord | None:
        """The fingerprint of a record, None if its value was not read."""
        return None if isinstance(record.value, Unread) else cls(record.source.timestamp, fingerprint(record))

    @classmethod
    def parse(cls, metadata: str | None) -> LastRecord | None:
        """Parse the metadata of an offset; None where it was committed without a fingerprint."""
        found = _METADATA.fullmatch(metadata or "")
        return cls(int(found[1]), found[2]) if found else None

    def __str__(self) -> str:
        return f"last={self.timestamp}/{self.fingerprint}"
