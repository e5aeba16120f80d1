"""Admission of new namespaces: a flood of them must cost the existing ones nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from fnmatch import fnmatchcase

from questream.errors import BadRecord
from questream.settings import NamespaceSettings
from questream.store.protocol import Store

logger = logging.getLogger(__name__)

_WARNING_SECONDS = 60.0


class Admission:
    """Holds new namespaces to `limits`; `own` always may begin. Not for more than one thread at a time.

    `published` returns the namespaces that the cluster topic knows: after a loss the store knows none of them.
    """

    def __init__(
        self,
        store: Store,
        published: Callable[[], Collection[str]],
        limits: NamespaceSettings,
        own: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._published = published
        self._limits = limits
        self._own = own
        self._clock = clock
        self._left = float(limits.per_minute)
        self._left_at = clock()
        self._warned: dict[str, float] = {}

    def refused(self, namespaces: Collection[str]) -> dict[str, BadRecord]:
        """The new namespaces that may not begin, each with the reason for its dead letters.

        Raises what the store does, KafkaUnavailable and KafkaRefused.
        """
        unseen = set(namespaces) - {self._own}
        stored = set(self._store.namespaces()) if unseen else set()
        new = sorted(unseen - stored)
        if new:
            known = set(self._published())
            new = [name for name in new if name not in known]
        refused = {}
        admitted: list[str] = []
        self._refill()
        for name in new:
            error = self._refuse(name, len(stored) + len(admitted), self._left - len(admitted))
            if error is None:
                admitted.append(name)
            else:
                refused[name] = error
        if admitted:
            # Other workers count too.
            refused |= {name: _too_many() for name in self._store.admit(admitted, self._limits.max)}
            # Only now: a call that fails is made again.
            self._left -= len(admitted)
        self._warn(refused)
        return refused

    def _refuse(self, namespace: str, count: int, left: float) -> BadRecord | None:
        limits = self._limits
        if limits.allow and not any(fnmatchcase(namespace, pattern) for pattern in limits.allow):
            return BadRecord("recall", "namespace_not_allowed", "no name of namespaces.allow is that of this namespace")
        if count >= limits.max:
            return _too_many()
        if left < 1.0:
            limit = "a worker lets no more namespaces begin in a minute than namespaces.per_minute"
            return BadRecord("recall", "too_many_new_namespaces", limit)
        return None

    def _refill(self) -> None:
        """What a minute lets begin comes back evenly."""
        now, most = self._clock(), float(self._limits.per_minute)
        self._left = min(most, self._left + (now - self._left_at) * most / 60.0)
        self._left_at = now

    def _warn(self, refused: dict[str, BadRecord]) -> None:
        """A reason once a minute: a flood must not fill the log too."""
        now = self._clock()
        for error in refused.values():
            if now >= self._warned.get(error.reason, 0.0):
                self._warned[error.reason] = now + _WARNING_SECONDS
                logger.warning(
                    "new namespaces are refused: their records are dead letters", extra={"reason": str(error)}
                )


def _too_many() -> BadRecord:
    return BadRecord("recall", "too_many_namespaces", "Redis has as many namespaces as namespaces.max lets begin")
