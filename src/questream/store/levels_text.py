"""Levels as the store keeps them: one JSON text, additive by release."""

from __future__ import annotations

import orjson

from questream.clustering.stored_levels import StoredLevels
from questream.errors import NamespaceRefused
from questream.records import levels_document, read_levels_document

VERSION = 1


def levels_text(levels: StoredLevels) -> bytes:
    """`levels_document` with v, the version of the format."""
    return orjson.dumps({"v": VERSION, **levels_document(levels)})


def parse_levels(text: bytes, version: int) -> StoredLevels:
    """The inverse of `levels_text`; what cannot be read is of no levels.

    Raises NamespaceRefused where a later release has written it with another meaning.
    """
    try:
        found = orjson.loads(text)
        written_as = int(found["v"])
    except (ValueError, TypeError, LookupError):
        return StoredLevels(version=version)
    if written_as > VERSION:
        raise NamespaceRefused(
            f"the levels of a namespace are written as version {written_as}, this release reads {VERSION}",
            "upgrade questream",
        )
    try:
        return read_levels_document(found, version)
    except (ValueError, TypeError, LookupError, AttributeError):
        return StoredLevels(version=version)
