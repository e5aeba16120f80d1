"""Levels in JSON: whole as the store keeps them, in parts as the cluster topic carries them; `load_schema("levels")`.

A part's key is `namespace/levels/0` and on. Parts of one version are published by one transaction, each of its own key:
where a later version has fewer of them, the rest of an earlier one stays in the topic and counts for nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import orjson

from questream.clustering.levels import Levels, Node, parse_node
from questream.clustering.stored_levels import StoredLevels
from questream.domain import Naming
from questream.errors import BadRecord
from questream.records.versions import SCHEMA_VERSION, invalid, is_known, newer_version

# Nodes and ended communities of a part: about 100 kB, far below what a topic takes.
_NODES_OF_A_PART = 5000
# Of one version: those of ten million nodes.
_MOST_PARTS = 2000
_KEY = re.compile(rb"([^/]*)/levels/(0|[1-9][0-9]{0,3})")


def levels_document(levels: StoredLevels) -> dict[str, Any]:
    """{next: [number of each level], opened, within: {community: [nodes]}, ended: [[community, where or null]],
    kept: [numbers of clusters]}."""
    return {
        "next": list(levels.levels.next_numbers),
        "opened": levels.opened,
        "within": {str(node): [str(child) for child in within] for node, within in levels.levels.children().items()},
        "ended": [[str(node), None if into is None else str(into)] for node, into in levels.ended.items()],
        "kept": sorted(levels.levels.kept),
    }


def read_levels_document(document: Mapping[str, Any], version: int) -> StoredLevels:
    """The inverse of `levels_document`.

    Raises ValueError, TypeError, LookupError or AttributeError for anything else.
    """
    parents: dict[Node, Node] = {}
    for community, within in document["within"].items():
        parent = parse_node(community)
        parents.update((parse_node(child), parent) for child in within)
    ended = {parse_node(node): None if into is None else parse_node(into) for node, into in document["ended"]}
    one, two = document["next"]
    kept = frozenset(map(int, document.get("kept", ())))
    return StoredLevels(Levels(parents, (int(one), int(two)), kept), int(document["opened"]), ended, version)


def read_names(document: Mapping[str, Any]) -> dict[Node, Naming]:
    """Labels and routes of communities by id. Raises as `read_levels_document`."""
    return {parse_node(node): _naming(one["label"], one["route"]) for node, one in document.items()}


def names_document(levels: StoredLevels) -> dict[str, dict[str, str | None]]:
    """The inverse of `read_names`."""
    return {str(node): {"label": label, "route": route} for node, (label, route) in sorted(levels.named.items())}


def is_levels_key(key: bytes) -> bool:
    """True if a key of the cluster topic is that of a part of a namespace's levels."""
    return _KEY.fullmatch(key) is not None


def encode_levels(namespace: str, levels: StoredLevels) -> list[tuple[bytes, bytes]]:
    """Key and JSON value of each part."""
    whole = levels_document(levels)
    parts = list(_parts(whole, names_document(levels)))
    of_all = {
        "schema_version": SCHEMA_VERSION,
        "cluster_id": None,
        "namespace": namespace,
        "event": "levels",
        "version": levels.version,
        "parts": len(parts),
        "next": whole["next"],
        "opened": levels.opened,
        "operation": levels.operation,
    }
    return [
        (f"{namespace}/levels/{number}".encode(), orjson.dumps({**of_all, "part": number, **part}))
        for number, part in enumerate(parts)
    ]


@dataclass(slots=True)
class PublishedLevels:
    """The levels of a namespace out of the records of the cluster topic.

    `version` is that of the newest part, 0 without one. Parts of earlier versions are let go when the newest is whole.
    """

    version: int = 0
    _parts: dict[int, dict[int, dict[str, Any]]] = field(default_factory=dict)

    def add(self, key: bytes, value: bytes | None) -> None:
        """Take a record.

        Raises BadRecord with stage `restore` and reason `invalid_state` if it is no such part, `newer_version` if a
        later release of questream wrote it.
        """
        if value is None:
            self._forget(key)
            return
        try:
            part = orjson.loads(value)
            if not is_known(part["schema_version"]):
                raise newer_version("the levels are")
            number, of = int(part["part"]), int(part["parts"])
            if key != f"{part['namespace']}/levels/{number}".encode() or not 0 <= number < of <= _MOST_PARTS:
                raise _invalid()
            read = read_levels_document(part, int(part["version"]))
            read_names(part.get("named", {}))
            int(part.get("operation", 0))
        except (BadRecord, ValueError, TypeError, LookupError, AttributeError) as error:
            raise error if isinstance(error, BadRecord) else _invalid() from None
        self._parts.setdefault(read.version, {})[number] = part
        self.version = max(self.version, read.version)
        newest = max((version for version in self._parts if self._is_whole(version)), default=0)
        self._parts = {version: parts for version, parts in self._parts.items() if version >= newest}

    def whole(self) -> StoredLevels | None:
        """The newest levels of which all parts are there, None without any part.

        A publication without transactions may leave parts of a later version, or no version whole: the numbers that
        come next are the highest of all parts, so that no id comes to mean something else.
        """
        if not self._parts:
            return None
        newest = max((version for version in self._parts if self._is_whole(version)), default=0)
        held = [part["next"] for parts in self._parts.values() for part in parts.values()]
        next_numbers = (max(int(one) for one, _ in held), max(int(two) for _, two in held))
        if not newest:
            return StoredLevels(Levels(next_numbers=next_numbers), version=self.version)
        parts = [part for _, part in sorted(self._parts[newest].items())]
        within: dict[str, list[str]] = {}
        for part in parts:
            for community, nodes in part["within"].items():
                within.setdefault(community, []).extend(nodes)
        ended = [pair for part in parts for pair in part["ended"]]
        kept = [number for part in parts for number in part.get("kept", ())]
        document = {**parts[0], "next": next_numbers, "within": within, "ended": ended, "kept": kept}
        named = {node: naming for part in parts for node, naming in read_names(part.get("named", {})).items()}
        found = read_levels_document(document, self.version)
        return replace(found, named=named, operation=int(parts[0].get("operation", 0)))

    def _forget(self, key: bytes) -> None:
        """The namespace was deleted: what is published later is of one that began anew."""
        found = _KEY.fullmatch(key)
        for parts in self._parts.values():
            parts.pop(int(found[2]) if found else -1, None)
        self._parts = {version: parts for version, parts in self._parts.items() if parts}
        self.version = max(self._parts, default=0)

    def _is_whole(self, version: int) -> bool:
        parts = self._parts[version]
        return len(parts) == int(next(iter(parts.values()))["parts"])


def _parts(whole: Mapping[str, Any], named: Mapping[str, dict[str, str | None]]) -> Iterator[dict[str, Any]]:
    """One part at least, each of so many nodes, ended and named communities and kept clusters at most."""
    rows: list[tuple[str, str, Any]] = [
        ("within", community, node) for community, nodes in whole["within"].items() for node in nodes
    ]
    rows += [(what, "", value) for what in ("ended", "kept") for value in whole[what]]
    rows += [("named", node, naming) for node, naming in named.items()]
    for start in range(0, max(1, len(rows)), _NODES_OF_A_PART):
        part: dict[str, Any] = {"within": {}, "ended": [], "kept": [], "named": {}}
        for what, node, value in rows[start : start + _NODES_OF_A_PART]:
            if what == "within":
                part["within"].setdefault(node, []).append(value)
            elif what in ("ended", "kept"):
                part[what].append(value)
            else:
                part["named"][node] = value
        yield part


def _naming(label: object, route: object) -> Naming:
    if not all(name is None or isinstance(name, str) for name in (label, route)):
        raise TypeError("a label or a route is a text")
    return cast("Naming", (label, route))


def _invalid() -> BadRecord:
    return invalid("a part of levels under its own key")
