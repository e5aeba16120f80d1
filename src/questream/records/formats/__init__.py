"""Record formats, a file each: bytes of a value become a text or a document that the question is found in."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING

from questream.records.formats.deserializer import Content, Deserializer, Event, Read
from questream.settings.formats import FORMATS

if TYPE_CHECKING:
    from questream.settings import InputSettings

__all__ = ["Content", "Deserializer", "Event", "Read", "open_deserializer"]


def open_deserializer(input: InputSettings) -> Deserializer:
    """What reads values of `input.format`."""
    deserializer: Deserializer = resolve_name(FORMATS[input.format])(input)
    return deserializer
