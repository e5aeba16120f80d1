"""A correction as its topic carries it, under the key of the question's decision; `load_schema("correction")`."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any

import orjson

from questream.domain import Correction, Operation, format_cluster_id, parse_cluster_id
from questream.records.times import format_time
from questream.records.versions import SCHEMA_VERSION


def encode_corrections(namespace: str, stream: str, operation: Operation) -> list[tuple[bytes | None, bytes]]:
    """Key and JSON value for each question that an operation moved; the clusters' states are in the topic `stream`."""
    common = {
        "schema_version": SCHEMA_VERSION,
        "namespace": namespace,
        "cluster_topic": stream,
        "operation": operation.number,
        "kind": operation.kind,
        "time": format_time(operation.time_ms),
    }
    return [(one.key, orjson.dumps(common | _document(one))) for one in operation.corrections]


def correction_document(correction: Correction) -> dict[str, Any]:
    """A correction in the record of its operation: the fields of its own record, and its key, in base64."""
    key = None if correction.key is None else b64encode(correction.key).decode()
    return _document(correction) | {"key": key}


def read_correction(document: Mapping[str, Any]) -> Correction:
    """The inverse of `correction_document`. Raises ValueError, KeyError or TypeError for what is none."""
    source, key = document["source"], document.get("key")
    question_id = document.get("question_id")
    return Correction(
        (str(source["topic"]), int(source["partition"]), int(source["offset"])),
        _numbered(document["from"]),
        _numbered(document["to"]),
        None if question_id is None else str(question_id),
        None if key is None else b64decode(key),
    )


def _document(correction: Correction) -> dict[str, Any]:
    topic, partition, offset = correction.place
    return {
        "question_id": correction.question_id,
        "source": {"topic": topic, "partition": partition, "offset": offset},
        "from": _named(correction.before),
        "to": _named(correction.after),
    }


def _named(cluster_id: int | None) -> str | None:
    return None if cluster_id is None else format_cluster_id(cluster_id)


def _numbered(name: str | None) -> int | None:
    return None if name is None else parse_cluster_id(name)
