"""Levels as the store keeps them: JSON of what a run found, and beside it what people named; additive by release."""

from __future__ import annotations

from dataclasses import replace

import orjson

from questream.clustering.stored_levels import StoredLevels
from questream.errors import NamespaceRefused
from questream.records import levels_document, names_document, read_levels_document, read_names

VERSION = 1


def levels_text(levels: StoredLevels) -> bytes:
    """`levels_document` with v, the version of the format."""
    return orjson.dumps({"v": VERSION, **levels_document(levels)})


def names_text(levels: StoredLevels) -> str:
    """The number of the last operation that named any, and `names_document`; '' where none has.

    A release before names writes levels without it, and leaves it as it is.
    """
    return f"{levels.operation} {orjson.dumps(names_document(levels)).decode()}" if levels.operation else ""


def parse_levels(text: bytes, version: int, names: bytes | None = None) -> StoredLevels:
    """The inverse of `levels_text` and `names_text`.

    Raises NamespaceRefused where a later release has written it with another meaning, ValueError, TypeError,
    LookupError or AttributeError where it cannot be read.
    """
    found = orjson.loads(text)
    written_as = int(found["v"])
    if written_as > VERSION:
        raise NamespaceRefused(
            f"the levels of a namespace are written as version {written_as}, this release reads {VERSION}",
            "upgrade questream",
        )
    levels = read_levels_document(found, version)
    if not names:
        return levels
    operation, _, document = names.partition(b" ")
    return replace(levels, named=read_names(orjson.loads(document)), operation=int(operation))
