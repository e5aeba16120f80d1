"""`json`: a JSON object, or an array into which `input.text_field` leads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from questream.domain import Headers
from questream.records.formats.deserializer import Deserializer, Read
from questream.records.parsing import parse_json
from questream.records.reasons import Reason, undecodable

if TYPE_CHECKING:
    from questream.settings import InputSettings


def deserializer(_input: InputSettings) -> Deserializer:
    """JSON needs no settings."""
    return _read


def _read(value: bytes, _headers: Headers) -> Read:
    found = parse_json(value)
    if type(found) not in (dict, list):
        raise undecodable(Reason.NOT_OBJECT, "the value must be a JSON object")
    return Read(found)
