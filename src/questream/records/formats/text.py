"""`text`: the value is the question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from questream.domain import Headers
from questream.records.formats.deserializer import Deserializer, Read
from questream.records.parsing import read_plain

if TYPE_CHECKING:
    from questream.settings import InputSettings


def deserializer(_input: InputSettings) -> Deserializer:
    """Text needs no settings."""
    return _read


def _read(value: bytes, _headers: Headers) -> Read:
    return Read(read_plain(value))
