"""The text form of an operation in the store: what its proposal says, as JSON. A later release may add fields."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import orjson

from questream.domain import Correction, LevelsChange, Operation, RulesChange, Ruling
from questream.rulings import read_ruling_fields, write_ruling_fields
from questream.store.protocol import ProposedLevels, ProposedOperation, kept_rulings
from questream.store.redis.codec import (
    exemplars_text,
    parse_exemplars,
    parse_represented,
    represented_text,
    require_version,
)


def operation_text(proposed: ProposedOperation | Operation) -> bytes:
    """The operation, but for its number, its time and what undoes it, which the store gives."""
    before, after = kept_rulings(proposed.before, proposed.after), kept_rulings(proposed.after, proposed.before)
    if proposed.kind == "forget":
        before = {i: ruling.without_texts() for i, ruling in before.items()}
    namings = proposed.levels.change if isinstance(proposed.levels, ProposedLevels) else proposed.levels
    return orjson.dumps(
        {
            "id": proposed.id,
            "kind": proposed.kind,
            "actor": proposed.actor,
            "reason": proposed.reason,
            "before": _documents(before),
            "after": _documents(after),
            "undoes": proposed.undoes,
            "survivor": proposed.survivor,
            "parted": proposed.parted,
        }
        | ({"rules": proposed.rules.document()} if proposed.rules else {})
        | ({"levels": namings.document()} if namings else {})
        | ({"corrections": [_corrected(one) for one in proposed.corrections]} if proposed.corrections else {})
        | ({"asked": proposed.asked} if proposed.asked else {})
    )


def parse_operation(number: int, time_ms: int, text: bytes, undone_by: int | None) -> Operation:
    """The inverse of `operation_text`. Raises NamespaceRefused where a later release wrote it in another version."""
    body: dict[str, Any] = orjson.loads(text)
    require_version(body.get("version"), "an operation of the namespace")
    return Operation(
        id=body["id"],
        number=number,
        kind=body["kind"],
        actor=body["actor"],
        reason=body["reason"],
        time_ms=time_ms,
        before=_rulings(body["before"]),
        after=_rulings(body["after"]),
        undoes=body["undoes"],
        undone_by=undone_by,
        survivor=body.get("survivor"),
        rules=RulesChange.of(body["rules"]) if body.get("rules") else None,
        parted=body.get("parted"),
        levels=LevelsChange.of(body["levels"]) if body.get("levels") else None,
        corrections=tuple(_correction(one) for one in body.get("corrections", ())),
        asked=body.get("asked"),
    )


def _corrected(one: Correction) -> list[Any]:
    key = None if one.key is None else b64encode(one.key).decode()
    return [*one.place, one.before, one.after, one.question_id, key]


def _correction(document: list[Any]) -> Correction:
    topic, partition, offset, before, after, question_id, key = document[:7]
    return Correction((topic, partition, offset), before, after, question_id, None if key is None else b64decode(key))


def _documents(rulings: Mapping[int, Ruling]) -> dict[str, dict[str, Any]]:
    return {
        str(cluster_id): {
            "label": ruling.label,
            "route": ruling.route,
            "separations": ruling.separations,
            **write_ruling_fields(ruling),
            "exemplars": exemplars_text(ruling.exemplars),
            "represented": represented_text(ruling.represented_by),
        }
        for cluster_id, ruling in rulings.items()
    }


def _rulings(documents: Mapping[str, Mapping[str, Any]]) -> dict[int, Ruling]:
    return {
        int(cluster_id): Ruling(
            one["label"],
            one["route"],
            separations=tuple(one["separations"]),
            exemplars=parse_exemplars(one.get("exemplars", "").encode()),
            represented_by=parse_represented(one.get("represented", "").encode()),
            **read_ruling_fields(one),
        )
        for cluster_id, one in documents.items()
    }
