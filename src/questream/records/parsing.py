"""Bytes to text and JSON, with an error for each way they can be broken.

The parsers' own exceptions carry the whole document (`JSONDecodeError.doc`, `UnicodeDecodeError.object`), so a
BadRecord is raised after their handlers end: chained to it, they would take question text into a log.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import orjson

from questream.records.reasons import Reason, undecodable

# Some Windows tools write it in front of UTF-8; it is no part of the text, and orjson refuses it.
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# White space, controls, and what Unicode calls Default_Ignorable_Code_Point (zero-width, fillers, variation selectors,
# tags), with the empty Braille cell: a text of these alone shows nothing.
_VISIBLE = re.compile(
    r"[^\s\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    r"\U000e0000-\U000e0fff]"
)
# No text has them: controls but white space and escape. Avro, Protobuf and UTF-16 without a mark are full of them.
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
# The same, and what a lossy conversion leaves of bytes that are no text.
_NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\ufffd]")
_NUMBER = re.compile(rb"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WHITE_SPACE = b" \t\r\n"
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


def read_plain(value: bytes) -> str:
    """The question that is a value itself.

    Raises BadRecord `not_utf8`, and `binary` for a control character but white space and escape.
    """
    text = decode_text(value)
    if _CONTROL.search(text) is not None and is_visible(text):
        raise undecodable(Reason.BINARY, "a text has no control characters but white space")
    return text


def plain_number(number: float) -> str:
    """A number of JSON in digits, without an exponent."""
    return str(number) if type(number) is int else format(Decimal(repr(number)), "f")


def is_visible(text: str) -> bool:
    """True if a text shows anything."""
    return _VISIBLE.search(text) is not None


def is_binary(text: str) -> bool:
    """True if a JSON string is no text: it has a NUL, or one in ten of its characters is a control or U+FFFD."""
    if _NO_TEXT.search(text) is None:
        return False
    return "\x00" in text or len(_NO_TEXT.findall(text)) * 10 > len(text)


def parse_undeclared(value: bytes) -> Any:
    """The JSON array, string, number, truth or null that a value without an object is as a whole, else its text.

    Raises BadRecord as `read_plain` does.
    """
    bare = value.removeprefix(_BYTE_ORDER_MARK).strip(_WHITE_SPACE)
    if bare[:1] in (b"[", b'"') or bare in (b"null", b"true", b"false") or _NUMBER.fullmatch(bare):
        try:
            return orjson.loads(bare)
        except orjson.JSONDecodeError:
            pass
    return read_plain(value)


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
    """True if the first character of `value`, white space aside, is `{`."""
    return _OPENS_OBJECT.match(value) is not None
