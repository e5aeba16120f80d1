"""Bytes to text and JSON, with every way they can be broken told apart.

The parsers' own exceptions carry the whole document (`JSONDecodeError.doc`, `UnicodeDecodeError.object`), so a
BadRecord is raised after their handlers end: chained to it, they would take question text into a log.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from questream.records.reasons import Reason, undecodable

# Some Windows tools write it in front of UTF-8; it is no part of the text, and orjson refuses it.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OPENS_OBJECT = re.compile(rb"(?:\xef\xbb\xbf)?[ \t\r\n]*\{")


def decode_text(value: bytes) -> str:
    """The text of UTF-8 bytes, without a byte order mark.

    Raises BadRecord `not_utf8`.
    """
    try:
        return value.removeprefix(_BYTE_ORDER_MARK).decode()
    except UnicodeDecodeError:
        pass
    raise undecodable(Reason.NOT_UTF8, "the value must be UTF-8")


def parse_json(value: bytes) -> Any:
    """The JSON value (RFC 8259, at most 1,024 levels deep) that UTF-8 bytes hold; of equal keys the last one counts.

    Raises BadRecord `not_utf8`, `text_not_encodable` (an escape of half a surrogate pair) or `not_json`.
    """
    try:
        return orjson.loads(value.removeprefix(_BYTE_ORDER_MARK))
    except orjson.JSONDecodeError as error:
        complaint = error.msg
    decode_text(value)
    if "surrogate" in complaint:
        raise undecodable(
            Reason.TEXT_NOT_ENCODABLE, "every \\u escape must name a character, not half a surrogate pair"
        )
    raise undecodable(Reason.NOT_JSON, "the value must be JSON (RFC 8259: no NaN, nested at most 1,024 levels deep)")


def parse_object(value: bytes) -> dict[str, Any]:
    """The JSON object that UTF-8 bytes hold.

    Raises BadRecord as `parse_json` does, and `not_object`.
    """
    document = parse_json(value)
    if type(document) is not dict:
        raise undecodable(Reason.NOT_OBJECT, "the value must be a JSON object")
    return document


def opens_object(value: bytes) -> bool:
    """Whether the first character of `value`, white space aside, is `{`."""
    return _OPENS_OBJECT.match(value) is not None
