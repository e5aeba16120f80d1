"""JSON Schemas (2020-12) of what questream produces: package data, and the contract with other teams' consumers."""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import orjson

SCHEMA_NAMES = (
    *("decision", "cluster-state", "namespace-state", "dead-letter", "cluster-event", "operation", "correction"),
    "levels",
)


def load_schema(name: str) -> dict[str, Any]:
    """The schema of `decision`, `cluster-state`, `namespace-state`, `dead-letter`, `cluster-event`,
    `operation`, `correction` or `levels`.

    Raises ValueError for another name.
    """
    if name not in SCHEMA_NAMES:
        raise ValueError(f"schemas are {', '.join(SCHEMA_NAMES)}")
    schema: dict[str, Any] = orjson.loads(files(__name__).joinpath(f"{name}.schema.json").read_bytes())
    return schema
