"""A decision read from the output topic."""

from __future__ import annotations

import functools
import logging
from typing import Any

import orjson

from questream.records.versions import is_known

logger = logging.getLogger(__name__)


def read_decision(value: bytes | None) -> dict[str, Any] | None:
    """The fields of a decision, by the rule of `versions`.

    None for what is no JSON object, and for a decision of a later release, which may mean something else by them: each
    such version is logged once.
    """
    try:
        document = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        return None
    if not isinstance(document, dict):
        return None
    version = document.get("schema_version")
    if not is_known(version):
        _warn_of_version(version if isinstance(version, int) else 0)
        return None
    return document


@functools.lru_cache(maxsize=8)
def _warn_of_version(version: int) -> None:
    logger.warning(
        "decisions of a later release are passed over: upgrade questream", extra={"schema_version": version or "?"}
    )
