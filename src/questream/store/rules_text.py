"""The text form of the rules of a namespace in the store: the operation that set them last, then JSON of those set."""

from __future__ import annotations

import orjson

from questream.domain import NamespaceRules


def values_text(rules: NamespaceRules) -> str:
    """JSON of the rules that are set: equal rules have the same text, and '' is that of none."""
    values = rules.values()
    return orjson.dumps(values, option=orjson.OPT_SORT_KEYS).decode() if values else ""


def rules_text(rules: NamespaceRules) -> str:
    """The inverse of `parse_rules`."""
    return f"{rules.operation} {values_text(rules)}" if rules.operation else ""


def parse_rules(text: bytes | None) -> NamespaceRules:
    """The rules; those of a later release that this one does not know are left out. Raises ValueError."""
    if not text:
        return NamespaceRules()
    operation, _, values = text.partition(b" ")
    return NamespaceRules.of(orjson.loads(values) if values else {}, int(operation))


def level_rules_text(rules: NamespaceRules) -> str:
    """JSON of the rules that levels are found by, '' where none is set."""
    resolutions = [rules.intent_resolution, rules.topic_resolution]
    return "" if resolutions == [None, None] else orjson.dumps(resolutions).decode()
