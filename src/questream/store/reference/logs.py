"""The logs of all namespaces in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from questream.store.protocol import LogLength
from questream.store.reference.base import MemoryBase
from questream.store.reference.state import entry_count


class MemoryLogs(MemoryBase):
    """The part of the protocol Commits that bounds the logs of all namespaces together."""

    def log_lengths(self, namespaces: Sequence[str]) -> dict[str, LogLength]:
        with self._lock:
            return {
                name: LogLength(entry_count(state), 4 * state.identity.dimension, state.seq)
                for name in namespaces
                if (state := self._namespaces.get(name)) is not None
            }

    def trim_logs(self, entries: Mapping[str, int]) -> None:
        with self._lock:
            for name in entries.keys() & self._namespaces.keys():
                state = self._namespaces[name]
                while entry_count(state) > entries[name]:
                    del state.log[0]
