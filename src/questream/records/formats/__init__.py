"""Record formats, a file each: bytes of a value become a text or a document that the question is found in.

The function `deserializer` of a format's module makes what reads values. A module may have a function `serializer` too,
which makes what writes questions in that format.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from questream.errors import SettingsError
from questream.records.formats.deserializer import Content, Deserializer, Event, Read
from questream.records.formats.serializer import Serialized, Serializer
from questream.settings.formats import FORMATS

if TYPE_CHECKING:
    from questream.settings import InputSettings

__all__ = [
    "Content",
    "Deserializer",
    "Event",
    "Read",
    "Serialized",
    "Serializer",
    "is_written",
    "open_deserializer",
    "open_serializer",
]


def open_deserializer(input: InputSettings) -> Deserializer:
    """The deserializer of `input.format`."""
    deserializer: Deserializer = resolve_name(FORMATS[input.format])(input)
    return deserializer


def open_serializer(input: InputSettings) -> Serializer:
    """The serializer of `input.format`. Raises SettingsError where questions cannot be written in it."""
    if not is_written(input.format):
        written = ", ".join(name for name in FORMATS if is_written(name))
        raise SettingsError(
            f"no questions can be written with input.format = {input.format!r}",
            f"write them with a producer of your own, or choose one of {written}",
        )
    serializer: Serializer = _module_of(input.format).serializer(input)
    return serializer


def is_written(format: str) -> bool:
    """True if questions can be written in a format."""
    return hasattr(_module_of(format), "serializer")


def _module_of(format: str) -> Any:
    return import_module(FORMATS[format].partition(":")[0])
