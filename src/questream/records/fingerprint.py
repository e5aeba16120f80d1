"""What tells a record from another that had its offset before: logs are truncated, and restored from backups."""

from __future__ import annotations

import hashlib
import struct

from questream.domain import Record

_BYTES = 8


def fingerprint(record: Record) -> str:
    """16 hexadecimal digits over timestamp, key and value; headers, which tools in between add to, are left out."""
    key, value = record.key, record.value
    known = struct.pack(">qqq", record.source.timestamp, *(-1 if part is None else len(part) for part in (key, value)))
    return hashlib.blake2b(known + (key or b"") + (value or b""), digest_size=_BYTES).hexdigest()
