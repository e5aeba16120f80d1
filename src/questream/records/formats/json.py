"""`json`: a JSON object, or an array into which `input.text_field` leads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from questream.domain import Headers
from questream.records.formats.deserializer import Deserializer, Read
from questream.records.formats.serializer import Serialized, Serializer
from questream.records.parsing import parse_json
from questream.records.reasons import Reason, undecodable

if TYPE_CHECKING:
    from questream.settings import InputSettings


def deserializer(_input: InputSettings) -> Deserializer:
    """JSON needs no settings."""
    return _read


def serializer(input: InputSettings) -> Serializer:
    """Id and text at `input.id_field` and `input.text_field`."""
    return _Serializer(input)


class _Serializer:
    has_fields = True

    def __init__(self, input: InputSettings) -> None:
        self._input = input

    def __call__(self, id: str, text: str, fields: dict[str, Any], /) -> Serialized:
        for path, value in ((self._input.id_field, id), (self._input.text_field, text)):
            put(fields, path, value)
        return Serialized(orjson.dumps(fields))


def put(document: dict[str, Any], path: str, value: str) -> None:
    """Put a value where a dotted path leads."""
    *parents, name = path.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
    document[name] = value


def _read(value: bytes, _headers: Headers) -> Read:
    found = parse_json(value)
    if type(found) not in (dict, list):
        raise undecodable(Reason.NOT_OBJECT, "the value must be a JSON object")
    return Read(found)
