"""Record headers: what passes through to a decision, and what a dead letter adds."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import NamedTuple

import orjson

from questream.domain import Record, Unread
from questream.errors import BadRecord
from questream.records.reasons import Reason

_OWN_HEADERS = 7
_TOPIC = "questream-topic"
_PARTITION = "questream-partition"
_OFFSET = "questream-offset"
_REFERENCE = "questream-reference"
# The part of a record that a dead letter by reference keeps: enough to identify it, small enough for every topic.
_MOST_KEY_BYTES = 1024
_MOST_HEADER_BYTES = 8192
DEAD_LETTER_HEADERS = frozenset(
    {
        "questream-stage",
        "questream-error",
        "questream-reason",
        _TOPIC,
        _PARTITION,
        _OFFSET,
        "questream-attempts",
        _REFERENCE,
    }
)


class Origin(NamedTuple):
    """The place in the input topic that a dead letter came from."""

    topic: str
    partition: int
    offset: int


def passthrough_headers(record: Record) -> list[tuple[str, bytes | None]]:
    """The headers of a decision: those of its input in their order, `traceparent` and `tracestate` among them.

    `content-type` and `ce_*` stay behind: they would declare the decision to be the event, or to have the media type,
    that its input was.
    """
    return [
        (name, value)
        for name, value in record.headers
        if (lowered := name.lower()) != "content-type" and not lowered.startswith("ce_")
    ]


def dead_letter_headers(record: Record, error: BadRecord, attempts: int) -> list[tuple[str, bytes | None]]:
    """The headers of a dead letter: the record's own in their order, then the seven of `DEAD_LETTER_HEADERS`.

    Those of an earlier dead-lettering are replaced. Other names that begin with `questream-` are the user's and stay.
    """
    source = record.source
    return [
        *strip_dead_letter_headers(record.headers),
        ("questream-stage", error.stage.encode()),
        ("questream-error", type(error).__name__.encode()),
        ("questream-reason", error.reason.encode()),
        (_TOPIC, source.topic.encode()),
        (_PARTITION, b"%d" % source.partition),
        (_OFFSET, b"%d" % source.offset),
        ("questream-attempts", b"%d" % attempts),
    ]


class Reference(NamedTuple):
    """The reference of a dead letter to its record: sizes in bytes and the SHA-256 of the value, in hexadecimal.

    All are None where the record was not read: see `Unread`.
    """

    key_bytes: int | None
    value_bytes: int | None
    header_bytes: int | None
    sha256: str | None


_UNREAD = Reference(None, None, None, None)


def reference_letter(
    record: Record, error: BadRecord, attempts: int
) -> tuple[bytes | None, list[tuple[str, bytes | None]]]:
    """Key and headers of a dead letter that has no value: its record is at its origin.

    Of a record that no topic takes as it is, or that was not read. A long key is left out, and headers beyond the first
    few thousand bytes.
    """
    key, value = record.key or b"", record.value or b""
    kept: list[tuple[str, bytes | None]] = []
    total = 0
    for name, header in strip_dead_letter_headers(record.headers):
        byte_count = len(name.encode()) + len(header or b"")
        total += byte_count
        room = _MOST_HEADER_BYTES - sum(len(n.encode()) + len(h or b"") for n, h in kept)
        if byte_count <= room:
            kept.append((name, header))
    is_read = not isinstance(record.value, Unread)
    reference = Reference(len(key), len(value), total, sha256(value).hexdigest()) if is_read else _UNREAD
    own = dead_letter_headers(record, error, attempts)[-_OWN_HEADERS:]
    return (
        record.key if len(key) <= _MOST_KEY_BYTES else None,
        [*kept, *own, (_REFERENCE, orjson.dumps(reference._asdict()))],
    )


def dead_letter_reference(headers: Iterable[tuple[str, bytes | None]]) -> Reference | None:
    """The reference of a dead letter; None where it has the record itself, or no reference."""
    reference = next((value for name, value in headers if name == _REFERENCE), None)
    try:
        found = orjson.loads(reference or b"null")
        return Reference(*(found[name] for name in Reference._fields)) if found else None
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def strip_dead_letter_headers(headers: Iterable[tuple[str, bytes | None]]) -> list[tuple[str, bytes | None]]:
    """The headers that the record had before it became a dead letter, in their order."""
    return [(name, value) for name, value in headers if name not in DEAD_LETTER_HEADERS]


def dead_letter_origin(headers: Iterable[tuple[str, bytes | None]]) -> Origin:
    """The origin of a dead letter.

    Raises BadRecord with stage `replay` and reason `invalid_origin` if the headers do not say.
    """
    found = {name: value for name, value in headers if name in DEAD_LETTER_HEADERS and value is not None}
    try:
        origin = Origin(found[_TOPIC].decode(), int(found[_PARTITION]), int(found[_OFFSET]))
    except (KeyError, ValueError):
        origin = None
    if origin is None or not origin.topic or origin.partition < 0 or origin.offset < 0:
        raise BadRecord(
            "replay", Reason.INVALID_ORIGIN.value, f"a dead letter has the headers {_TOPIC}, {_PARTITION} and {_OFFSET}"
        )
    return origin
