"""Levels as the store keeps them: one JSON text, additive by release."""

from __future__ import annotations

from typing import Any

import orjson

from questream.clustering.levels import Levels, Node, parse_node
from questream.errors import NamespaceRefused
from questream.store.protocol.levels import StoredLevels

VERSION = 1


def levels_text(levels: StoredLevels) -> bytes:
    """{v, next: [number of each level], opened, within: {community: [nodes]}, ended: [[community, where or null]]}."""
    return orjson.dumps(
        {
            "v": VERSION,
            "next": list(levels.levels.next_numbers),
            "opened": levels.opened,
            "within": {
                str(node): [str(child) for child in within] for node, within in levels.levels.children().items()
            },
            "ended": [[str(node), None if into is None else str(into)] for node, into in levels.ended.items()],
        }
    )


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
        return _parsed(found, version)
    except (ValueError, TypeError, LookupError, AttributeError):
        return StoredLevels(version=version)


def _parsed(found: dict[str, Any], version: int) -> StoredLevels:
    parents: dict[Node, Node] = {}
    for community, within in found["within"].items():
        parent = parse_node(community)
        parents.update((parse_node(child), parent) for child in within)
    ended = {parse_node(node): None if into is None else parse_node(into) for node, into in found["ended"]}
    one, two = found["next"]
    return StoredLevels(Levels(parents, (int(one), int(two))), int(found["opened"]), ended, version)
