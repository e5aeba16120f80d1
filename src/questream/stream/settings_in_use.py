"""Checks that all workers of a namespace run by the same settings.

A rolling change of a threshold or of a retention is legitimate, and for its time two kinds of workers decide. For
longer it is a mistake that nothing else shows: what one worker opens another would have joined.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from questream.domain import NamespaceRules
from questream.metrics import Metrics
from questream.store.redis.store import RedisStore

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
# Some looks: a worker in a long batch is still there.
GONE_SECONDS = 60.0


Noted = tuple[str, bytes]

_SETTINGS_ELSEWHERE = {
    "routing_precision": "routing.precision",
    "confidence": None,
    "intent_resolution": "levels.intent_resolution",
    "topic_resolution": "levels.topic_resolution",
}


class SettingsInUse:
    """Notes this worker's settings, and compares those of others; one thread looks, any may ask."""

    def __init__(
        self, store: RedisStore, namespace: str, worker: str, settings: Mapping[str, Any], metrics: Metrics
    ) -> None:
        self._store = store
        self._namespace = namespace
        self._worker = worker
        self._settings = settings
        self._metrics = metrics
        self._next_look = 0.0
        self.differences: Sequence[str] = ()

    def look(self) -> None:
        """Every ten seconds at most."""
        if time.monotonic() < self._next_look:
            return
        others = self._store.note_settings(self._namespace, self._worker, as_noted(self._settings), GONE_SECONDS)
        self._next_look = time.monotonic() + _LOOK_SECONDS
        differences = differences_of(self._settings, others, self._store.rules(self._namespace))
        self._metrics.settings_differ.set(len(differences))
        if differences and differences != self.differences:
            logger.warning(
                "workers of one namespace run by different settings: each decides by its own",
                extra={"namespace": self._namespace, "settings": differences},
            )
        elif self.differences and not differences:
            logger.info("all workers run by the same settings again", extra={"namespace": self._namespace})
        self.differences = differences

    def remark(self) -> str | None:
        """The differences for a probe; None where all settings are the same."""
        return f"workers run by different settings: {'; '.join(self.differences)}" if self.differences else None


def setting_of(rule: str) -> str | None:
    """The key of the setting that is in force where a rule of a namespace is not set; None where there is none."""
    return _SETTINGS_ELSEWHERE.get(rule, f"clusters.{rule}")


def as_noted(settings: Mapping[str, Any]) -> bytes:
    """The text form of settings: equal ones have the same."""
    return orjson.dumps(settings, option=orjson.OPT_SORT_KEYS)


def settings_of(noted: bytes) -> dict[str, Any]:
    """The inverse of `as_noted`; empty where it cannot be read."""
    try:
        settings = orjson.loads(noted)
    except ValueError:
        return {}
    return settings if isinstance(settings, dict) else {}


def differences_of(
    settings: Mapping[str, Any], others: Sequence[Noted], rules: NamespaceRules | None = None
) -> list[str]:
    """`key: value here, value in worker NAME`, sorted; a key that only another release knows is no difference.

    Nor is one that people set for the namespace by `rules`: its setting is not in force.
    """
    found = {}
    ruled = {setting_of(name) for name in (rules or NamespaceRules()).values()}
    settings = {key: value for key, value in settings.items() if key not in ruled}
    for worker, noted in others:
        for key, value in settings_of(noted).items():
            if key in settings and settings[key] != value:
                found[key] = f"{key}: {_shown(settings[key])} here, {_shown(value)} in worker {worker}"
    return [found[key] for key in sorted(found)]


def _shown(value: Any) -> str:
    return "unset" if value is None else orjson.dumps(value).decode()
