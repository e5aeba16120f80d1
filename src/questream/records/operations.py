"""An operation as the operation topic carries it, by its namespace as key; `load_schema("operation")`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import orjson

from questream.domain import (
    LevelsChange,
    Operation,
    OperationKind,
    RulesChange,
    Ruling,
    format_cluster_id,
    parse_cluster_id,
)
from questream.errors import BadRecord
from questream.records.corrections import correction_document, read_correction
from questream.records.reasons import Reason
from questream.records.states import chosen_document, exemplar_document, read_chosen, read_exemplars
from questream.records.times import format_time, parse_time
from questream.records.versions import SCHEMA_VERSION, invalid, is_known, newer_version
from questream.rulings import read_ruling_fields, write_ruling_fields


def encode_operation(namespace: str, stream: str, operation: Operation) -> tuple[bytes, bytes]:
    """Key and JSON value of an operation on the clusters whose states are in the topic `stream`."""
    value = {
        "schema_version": SCHEMA_VERSION,
        "namespace": namespace,
        "cluster_topic": stream,
        "operation": operation.number,
        "id": operation.id,
        "kind": operation.kind,
        "actor": operation.actor,
        "reason": operation.reason,
        "time": format_time(operation.time_ms),
        "undoes": operation.undoes,
        "survivor": _named(operation.survivor),
        "parted": _named(operation.parted),
        "before": _documents(operation.before),
        "after": _documents(operation.after),
        "rules": operation.rules and operation.rules.document(),
        "levels": operation.levels and operation.levels.document(),
        "corrections": [correction_document(one) for one in operation.corrections],
        "asked": operation.asked,
    }
    return namespace.encode(), orjson.dumps(value)


def decode_operation(key: bytes | None, value: bytes | None) -> tuple[str, str, Operation]:
    """Namespace, cluster topic and operation: the inverse of `encode_operation`.

    Raises BadRecord with stage `restore` and reason `invalid_state` if the record is no operation, `newer_version` if a
    later release of questream wrote it.
    """
    try:
        body: dict[str, Any] = orjson.loads(value or b"")
        if not is_known(body["schema_version"]):
            raise newer_version("the operation is")
        namespace, number = str(body["namespace"]), int(body["operation"])
        if key != namespace.encode():
            raise _invalid()
        operation = Operation(
            id=str(body["id"]),
            number=number,
            kind=cast("OperationKind", body["kind"]),
            actor=str(body["actor"]),
            reason=str(body["reason"]),
            time_ms=parse_time(body["time"]),
            before=_rulings(body["before"]),
            after=_rulings(body["after"]),
            undoes=body["undoes"],
            survivor=_numbered(body.get("survivor")),
            parted=_numbered(body.get("parted")),
            rules=RulesChange.of(body["rules"]) if body.get("rules") else None,
            levels=LevelsChange.of(body["levels"]) if body.get("levels") else None,
            corrections=tuple(map(read_correction, body.get("corrections") or ())),
            asked=body.get("asked"),
        )
        return namespace, str(body["cluster_topic"]), operation
    except (BadRecord, ValueError, KeyError, TypeError, AttributeError) as error:
        if isinstance(error, BadRecord) and error.reason == Reason.NEWER_VERSION.value:
            raise
    raise _invalid()


def _named(cluster_id: int | None) -> str | None:
    return None if cluster_id is None else format_cluster_id(cluster_id)


def _numbered(name: str | None) -> int | None:
    return None if name is None else parse_cluster_id(name)


def _documents(rulings: Mapping[int, Ruling]) -> dict[str, dict[str, Any]]:
    return {
        format_cluster_id(cluster_id): {
            "label": ruling.label,
            "route": ruling.route,
            **write_ruling_fields(ruling),
            "separations": ruling.ends_of_clusters,
            "ends": ruling.separations if ruling.ends_of_levels else None,
            "exemplars": [exemplar_document(replace(one, text=None)) for one in ruling.exemplars],
            "represented_by": chosen_document(ruling.represented_by),
        }
        for cluster_id, ruling in rulings.items()
    }


def _rulings(documents: Mapping[str, Mapping[str, Any]]) -> dict[int, Ruling]:
    return {
        parse_cluster_id(cluster_id): Ruling(
            label=one["label"],
            route=one["route"],
            separations=tuple(map(str, one.get("ends") or one["separations"])),
            exemplars=read_exemplars(one.get("exemplars", [])),
            represented_by=read_chosen(one.get("represented_by")),
            **read_ruling_fields(one),
        )
        for cluster_id, one in documents.items()
    }


def _invalid() -> BadRecord:
    return invalid("an operation of the operation topic under its key")
