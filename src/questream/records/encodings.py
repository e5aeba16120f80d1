"""The encoding of a file by its first bytes, or the finding that it is no text."""

from __future__ import annotations

import codecs

# So many first bytes are looked at.
HEAD_BYTES = 6
# Every byte order mark with its encoding; that of UTF-16 is the beginning of UTF-32's.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_COMPRESSED = "compressed; unpack it first"
_NO_TEXT = (
    (b"\x1f\x8b", _COMPRESSED),
    (b"BZh", _COMPRESSED),
    (b"\xfd7zXZ\x00", _COMPRESSED),
    (b"\x28\xb5\x2f\xfd", _COMPRESSED),
    (b"\x04\x22\x4d\x18", _COMPRESSED),
    (b"7z\xbc\xaf\x27\x1c", _COMPRESSED),
    (b"PK\x03\x04", "an archive or a workbook; unpack it, or save its sheet as CSV, first"),
    (b"\xd0\xcf\x11\xe0", "a workbook or a document; save its sheet as CSV first"),
    (b"PAR1", "a Parquet file; save its rows as CSV or as JSON, an object a line, first"),
    (b"Obj\x01", "an Avro file; save its rows as JSON, an object a line, first"),
    (b"SQLite", "a database; save its rows as CSV first"),
    (b"%PDF-", "a PDF; save its text first"),
)


def encoding_of(head: bytes) -> str:
    """The encoding of a text that begins so: what its byte order mark says, else UTF-8, or UTF-16 by its zeros."""
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    # Latin letters in UTF-16 without a mark: every other byte is null.
    match [byte == 0 for byte in head[:4]]:
        case [False, True, False, True]:
            return "utf-16-le"
        case [True, False, True, False]:
            return "utf-16-be"
    return "utf-8"


def no_text(head: bytes) -> str | None:
    """The kind of a file that begins so and is no text, with the remedy; None for possible text."""
    return next((found for magic, found in _NO_TEXT if head.startswith(magic)), None)
