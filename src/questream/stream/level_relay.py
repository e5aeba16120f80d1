"""Levels on their way to the cluster topic: each version that a run wrote is published whole, by one transaction.

The records of a version are in the log before the store is asked if that version is still current. A later one is read
and sent after it was written: so versions are in the topic in their order, however many workers publish them.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass

from questream.errors import QuestreamError, RecoveryNeeded
from questream.records import encode_levels
from questream.store.protocol import Store
from questream.stream.retry import Retry

logger = logging.getLogger(__name__)

# It spares a publication that is made twice; the worker that has it may die.
_LEASE_SECONDS = 30.0
_LOOK_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class ClaimedLevels:
    """The levels of a namespace as keys and values of records, and what they rest on."""

    namespace: str
    store_epoch: str
    version: int
    records: list[tuple[bytes, bytes]]


class LevelRelay:
    """Claims and confirms levels; it belongs to the publisher's thread.

    What the topic does not take is tried again after half a minute, and questions are decided meanwhile.
    """

    def __init__(self, store: Store, retry: Retry) -> None:
        self._store = store
        self._retry = retry
        self._holder = f"publisher-{uuid.uuid4().hex[:12]}"
        self._held_until = -_LOOK_AGAIN_SECONDS

    def claim(self, namespace: str) -> ClaimedLevels | None:
        """The present levels of a namespace; None where none is to be published by this worker now."""
        if time.monotonic() < self._held_until:
            return None
        store_epoch = self._retry.call(self._store.store_epoch, namespace)
        if store_epoch is None or not self._retry.call(
            self._store.lease_levels, namespace, self._holder, _LEASE_SECONDS
        ):
            return None
        levels = self._retry.call(self._store.levels, namespace)
        if not levels.version:
            return None
        return ClaimedLevels(namespace, store_epoch, levels.version, encode_levels(namespace, levels))

    def require(self, claimed: ClaimedLevels) -> None:
        """Raises RecoveryNeeded unless the levels still are as they were claimed. Their records are in the log."""
        mark = self._store.levels_marks([claimed.namespace]).get(claimed.namespace)
        if mark is None or mark.version != claimed.version:
            raise RecoveryNeeded("the levels of this namespace were replaced while they were published")

    def confirm(self, claimed: ClaimedLevels) -> None:
        """They are published."""
        self._retry.call(self._store.confirm_levels, claimed.namespace, claimed.version)
        self._retry.call(self._store.lease_levels, claimed.namespace, self._holder, 0)

    def hold(self, error: QuestreamError) -> None:
        """The topic takes none for now."""
        self._held_until = time.monotonic() + _LOOK_AGAIN_SECONDS
        logger.error("levels wait in Redis: the cluster topic does not take them", extra={"reason": str(error)})
