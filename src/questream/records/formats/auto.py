"""`auto`: the format is recognised record by record.

A CloudEvent where `content-type` or all four required `ce_` headers declare one; else a value that begins with `{` is
JSON, and a structured CloudEvent if it has `specversion`, `id`, `source` and `type`; one that is a JSON string as a
whole is what that holds, an array is one as under `json`, and a number, truth or null is refused; all else is text. A
broken JSON object is refused, not clustered as text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from questream.domain import Headers
from questream.records.formats.cloudevents import is_event, read_declared, read_structured, to_read
from questream.records.formats.deserializer import Deserializer, Read
from questream.records.formats.json import serializer
from questream.records.parsing import opens_object, parse_object, parse_undeclared
from questream.records.reasons import Reason, undecodable

if TYPE_CHECKING:
    from questream.settings import InputSettings

# Questions are written as JSON, which is recognised.
__all__ = ["deserializer", "serializer"]


def deserializer(_input: InputSettings) -> Deserializer:
    """Detects the format of a record without settings."""
    return _read


def _read(value: bytes, headers: Headers) -> Read:
    declared = read_declared(value, headers) if headers else None
    if declared is not None:
        return to_read(declared)
    if opens_object(value):
        return _of_object(parse_object(value))
    found = parse_undeclared(value)
    if type(found) is str:
        # A value that was made JSON twice is an object in a string.
        encoded = found.encode("utf-8", "surrogatepass")
        return _of_object(parse_object(encoded)) if opens_object(encoded) else Read(found)
    if type(found) is list:
        return Read(found, element=_of_element)
    raise undecodable(Reason.NOT_OBJECT, "the value must be a JSON object or a text, not a number, truth or null")


def _of_element(element: str | dict[str, Any]) -> Read:
    return _of_object(element) if isinstance(element, dict) else Read(element)


def _of_object(document: dict[str, Any]) -> Read:
    return to_read(read_structured(document)) if is_event(document) else Read(document, element=_of_element)
