"""`text`: the value is the question."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from questream.domain import Headers
from questream.records.formats.deserializer import Deserializer, Read
from questream.records.formats.serializer import Serialized, Serializer
from questream.records.parsing import read_plain

if TYPE_CHECKING:
    from questream.settings import InputSettings


def deserializer(_input: InputSettings) -> Deserializer:
    """Text needs no settings."""
    return _read


def serializer(_input: InputSettings) -> Serializer:
    """A text carries no id: the worker names such a question by its place in the topic."""
    return _Serializer()


class _Serializer:
    has_fields = False

    def __call__(self, _id: str, text: str, _fields: dict[str, Any], /) -> Serialized:
        return Serialized(text.encode())


def _read(value: bytes, _headers: Headers) -> Read:
    return Read(read_plain(value))
