"""Why a record cannot be read: the vocabulary of this package in dead-letter headers and the metric label `reason`."""

from __future__ import annotations

from enum import StrEnum, unique

from questream.errors import BadRecord


@unique
class Reason(StrEnum):
    """A reason of this package. The values are public: never rename one."""

    NULL_VALUE = "null_value"
    NOT_UTF8 = "not_utf8"
    NOT_JSON = "not_json"
    NOT_OBJECT = "not_object"
    MISSING_TEXT = "missing_text"
    WRONG_TYPE = "wrong_type"
    EMPTY_TEXT = "empty_text"
    TEXT_TOO_LONG = "text_too_long"
    TEXT_NOT_ENCODABLE = "text_not_encodable"
    INVALID_ID = "invalid_id"
    INVALID_NAMESPACE = "invalid_namespace"
    INVALID_CLOUDEVENT = "invalid_cloudevent"
    INVALID_STATE = "invalid_state"
    INVALID_ORIGIN = "invalid_origin"
    NEWER_VERSION = "newer_version"


def undecodable(reason: Reason, expected: str) -> BadRecord:
    """The error for an input record; `expected` says what should have been there and never quotes what was."""
    return BadRecord("decode", reason.value, expected)
