"""Keeps the logs of all namespaces within the bytes that they may take in the store together.

A commit trims the log of its own namespace to `clusters.log_entries`, and knows nothing of others: a thousand tenants
would have a thousand full logs, most of which nobody follows any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping

from questream.errors import StoreRefused
from questream.metrics import Metrics
from questream.store.protocol import LogLength, Store

logger = logging.getLogger(__name__)

_LOOK_SECONDS = 10.0
# So that the looks of a worker cost the store the same, however many namespaces there are.
_LOOK_SECONDS_PER_NAMESPACE = 0.01
# Four micro-batches: a worker that races with others has seen the last of them, or loads all clusters again and again.
KEPT_IN_USE = 1024


class LogBudget:
    """Looks how long the logs are, and has the longest shortened. For one thread; `clock` gives seconds."""

    def __init__(
        self, store: Store, budget_bytes: int, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._budget_bytes = budget_bytes
        self._metrics = metrics
        self._clock = clock
        self._next_look = 0.0
        self._seqs: Mapping[str, int] = {}
        self._is_refused = False

    def look(self) -> None:
        """Every ten seconds at most. Raises StoreUnavailable."""
        if self._clock() < self._next_look:
            return
        namespaces = self._store.namespaces()
        try:
            self._hold(self._store.log_lengths(sorted(namespaces)))
        except StoreRefused as error:
            # Nothing else rests on it.
            if not self._is_refused:
                logger.warning("the logs are not held to clusters.log_bytes", extra={"reason": str(error)})
            self._is_refused = True
        self._next_look = self._clock() + max(_LOOK_SECONDS, _LOOK_SECONDS_PER_NAMESPACE * len(namespaces))

    def _hold(self, lengths: Mapping[str, LogLength]) -> None:
        in_use = [name for name, length in lengths.items() if self._seqs.get(name) != length.seq]
        most = entries_within(lengths, in_use, self._budget_bytes)
        if most:
            self._store.trim_logs(most)
            logger.info("logs shortened to keep to clusters.log_bytes", extra={"namespaces": len(most)})
        self._seqs = {name: length.seq for name, length in lengths.items()}
        self._metrics.log_bytes.set(
            sum(most.get(name, length.entries) * length.entry_bytes for name, length in lengths.items())
        )


def entries_within(lengths: Mapping[str, LogLength], in_use: Collection[str], budget_bytes: int) -> dict[str, int]:
    """The number of entries that each long log may keep, so that all together take `budget_bytes` at the most.

    All are cut at one number of bytes, the longest first; of those `in_use` KEPT_IN_USE entries stay, whatever they
    take.
    """
    least = {name: KEPT_IN_USE * lengths[name].entry_bytes for name in in_use}

    def kept_bytes(name: str, level: int) -> int:
        length = lengths[name]
        return min(length.entries * length.entry_bytes, max(level, least.get(name, 0)))

    low, high = 0, max((length.entries * length.entry_bytes for length in lengths.values()), default=0)
    while low < high:
        level = (low + high + 1) // 2
        if sum(kept_bytes(name, level) for name in lengths) <= budget_bytes:
            low = level
        else:
            high = level - 1
    kept = {name: kept_bytes(name, low) // length.entry_bytes for name, length in lengths.items()}
    return {name: entries for name, entries in kept.items() if entries < lengths[name].entries}
