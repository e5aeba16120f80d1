"""Envelopes of Kafka Connect and Debezium around a row, and the prefixes of schema registries.

Sources: Kafka Connect's JsonConverter (`schemas.enable`), Debezium 3 (change event value, MongoDB's `after`, the
`__deleted` and `__op` fields of ExtractNewRecordState), Confluent's wire format, AWS Glue's and Apicurio's serializers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from questream.domain import Headers
from questream.records.parsing import opens_object, parse_object
from questream.records.reasons import PassedOverReason, passed_over

if TYPE_CHECKING:
    from questream.settings import InputSettings

_SCHEMA_ID_HEADER = "__value_schema_id"
_GLUE_HEADER_BYTES = 18
_CONFLUENT_HEADER_BYTES = 5
_CREATED, _READ, _UPDATED, _DELETED = "c", "r", "u", "d"
# The value that Debezium sends for a column too large for the log of a database where an update left it as it was.
UNAVAILABLE = "__debezium_unavailable_value"
_OPERATIONS = frozenset((_CREATED, _READ, _UPDATED, _DELETED, "t", "m"))


def is_framed(value: bytes, headers: Headers) -> bool:
    """True if a schema registry's id is in front of the value, or in a header and the value is no JSON object."""
    first = value[:1]
    if first == b"\x00":
        # A zero in every other byte is UTF-16, no id.
        return len(value) >= _CONFLUENT_HEADER_BYTES and (value[1:2] == b"\x00" or value[2:5:2] != b"\x00\x00")
    if first == b"\x03":
        return value[1:2] in (b"\x00", b"\x05") and len(value) >= _GLUE_HEADER_BYTES
    return bool(headers) and any(name == _SCHEMA_ID_HEADER for name, _ in headers) and not opens_object(value)


def opened(document: dict[str, Any], input: InputSettings) -> list[Any]:
    """The document and what it is the envelope of, the outermost first: a Connect payload, a Debezium row.

    Raises PassedOver for a change or a null that is no question by the settings, BadRecord where a row in a string is
    no JSON.
    """
    levels: list[Any] = [document]
    if _is_connect(document):
        payload = document["payload"]
        if payload is None and input.tombstones == "skip":
            raise passed_over(PassedOverReason.TOMBSTONE)
        levels.append(payload)
    change = levels[-1]
    if type(change) is dict and _is_change(change):
        change = _row_of(change, input)
        levels.append(change)
    if type(change) is dict:
        _pass_over_flattened(change, input)
    return levels


def payload_of(document: dict[str, Any]) -> Any:
    """The payload of a Connect envelope; None for another document."""
    return document["payload"] if _is_connect(document) else None


def _pass_over_flattened(row: dict[str, Any], input: InputSettings) -> None:
    """A flattened row has its change in fields of its own: `__deleted`, and `__op` where the connector adds it."""
    operation = row.get("__op")
    if (operation == _DELETED or row.get("__deleted") in ("true", True)) and input.deletes == "skip":
        raise passed_over(PassedOverReason.DELETE)
    if operation == _UPDATED and input.updates == "skip":
        raise passed_over(PassedOverReason.UPDATE)


def _is_connect(document: dict[str, Any]) -> bool:
    return document.keys() == {"schema", "payload"} and isinstance(document["schema"], dict | None)


def _is_change(document: dict[str, Any]) -> bool:
    return (
        type(document.get("op")) is str
        and document["op"] in _OPERATIONS
        and ("after" in document or "before" in document or "message" in document or document["op"] == "t")
        and ("source" in document or "ts_ms" in document)
    )


def _row_of(change: dict[str, Any], input: InputSettings) -> Any:
    operation = change["op"]
    if operation == _UPDATED and input.updates == "skip":
        raise passed_over(PassedOverReason.UPDATE)
    if operation not in (_CREATED, _READ, _UPDATED) and input.deletes == "skip":
        raise passed_over(PassedOverReason.DELETE if operation == _DELETED else PassedOverReason.NOT_A_ROW)
    row = change.get("after")
    # MongoDB's rows are JSON in a string.
    return parse_object(row.encode("utf-8", "surrogatepass")) if type(row) is str else row
