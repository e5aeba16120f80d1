"""Reasons why a record cannot be read: the values of dead-letter headers and of the metric label `reason`."""

from __future__ import annotations

from enum import StrEnum, unique

from questream.errors import BadRecord, PassedOver


@unique
class Reason(StrEnum):
    """A reason of this package. The values are public: never rename one."""

    TOO_LARGE_TO_UNPACK = "too_large_to_unpack"
    VALUE_TOO_LARGE = "value_too_large"
    NULL_VALUE = "null_value"
    SCHEMA_FRAMED = "schema_framed"
    NOT_UTF8 = "not_utf8"
    BINARY = "binary"
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


@unique
class PassedOverReason(StrEnum):
    """Reasons why a record is no question: the metric label `reason` of those passed over. Never rename one."""

    TOMBSTONE = "tombstone"
    DELETE = "delete"
    UPDATE = "update"
    NOT_A_ROW = "not_a_row"
    ARRAY = "array"


def passed_over(reason: PassedOverReason) -> PassedOver:
    """The error for an input record that its sender does not mean as a question."""
    return PassedOver("decode", reason.value, "the record is passed over, as the settings of `input` say")


def undecodable(reason: Reason, expected: str) -> BadRecord:
    """The error for an input record; `expected` says what should have been there and never quotes what was."""
    return BadRecord("decode", reason.value, expected)
