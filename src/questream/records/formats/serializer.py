"""The protocol of a record format that questions can be written in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol


class Serialized(NamedTuple):
    """A value, and the headers that its format needs beside it."""

    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()


class Serializer(Protocol):
    """Writes questions such that the deserializer of the same format reads them back."""

    @property
    def has_fields(self) -> bool:
        """True if a value has a place for fields beside the text."""

    def __call__(self, id: str, text: str, fields: dict[str, Any], /) -> Serialized:
        """The value of a question; `fields`, none where the format has no place for them, become a part of it."""
