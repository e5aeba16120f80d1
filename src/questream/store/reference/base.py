"""The base of every part of the store in memory: the namespaces, and one lock for all of them."""

from __future__ import annotations

import time
from collections.abc import Callable

from questream.clustering.mirror import Change
from questream.errors import StoreRefused
from questream.guarded import Guarded
from questream.store.protocol import UNDO_SECONDS, OutboxPosition
from questream.store.reference.state import Namespace, recovery_needed


class MemoryBase(Guarded):
    """The namespaces of a store in memory, and what bounds them. One lock guards all; a notebook may pickle it."""

    def __init__(
        self,
        *,
        log_commits: int = 1024,
        clock: Callable[[], float] = time.monotonic,
        undo_seconds: float = UNDO_SECONDS,
    ) -> None:
        super().__init__()
        self._log_commits = log_commits
        self._undo_seconds = undo_seconds
        self._clock = clock
        self._namespaces: dict[str, Namespace] = {}
        # Namespaces that may begin, opened or not.
        self._admitted: set[str] = set()
        self._streams: dict[str, str] = {}
        # Of deleted namespaces, the next cluster's number and that of the last operation.
        self._deleted: dict[str, tuple[int, int]] = {}

    def store_epoch(self, namespace: str) -> str | None:
        with self._lock:
            state = self._namespaces.get(namespace)
            return None if state is None else state.store_epoch

    def _get_recovered(self, namespace: str, store_epoch: str) -> Namespace:
        state = self._namespaces.get(namespace)
        if state is None or state.store_epoch != store_epoch:
            raise recovery_needed(namespace)
        return state

    def _get(self, namespace: str) -> Namespace:
        try:
            return self._namespaces[namespace]
        except KeyError:
            raise StoreRefused(f"namespace {namespace!r} was never opened") from None

    def _log(self, state: Namespace, changes: list[Change]) -> None:
        if changes:
            state.seq += 1
            state.log.append((state.seq, changes))
            del state.log[: -self._log_commits]

    def _position(self, state: Namespace) -> OutboxPosition:
        return OutboxPosition(state.store_epoch or "", state.outdated_count, int(self._clock() * 1000))
