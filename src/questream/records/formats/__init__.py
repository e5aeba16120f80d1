"""Record formats, a file each: bytes of a value become a text or a document that the question is found in.

The function `deserializer` of a format's module makes what reads values. A module may have a function `serializer` too,
which makes what writes questions in that format.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import resolve_name
from typing import TYPE_CHECKING

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
    "open_deserializer",
    "open_serializer",
]


def open_deserializer(input: InputSettings) -> Deserializer:
    """What reads values of `input.format`."""
    deserializer: Deserializer = resolve_name(FORMATS[input.format])(input)
    return deserializer


def open_serializer(input: InputSettings) -> Serializer:
    """What writes values of `input.format`. Raises SettingsError where questions cannot be written in it."""
    module = import_module(FORMATS[input.format].partition(":")[0])
    if not hasattr(module, "serializer"):
        written = ", ".join(name for name in FORMATS if _is_written(name))
        raise SettingsError(
            f"no questions can be written with input.format = {input.format!r}",
            f"write them with a producer of your own, or choose one of {written}",
        )
    serializer: Serializer = module.serializer(input)
    return serializer


def _is_written(format: str) -> bool:
    return hasattr(import_module(FORMATS[format].partition(":")[0]), "serializer")
