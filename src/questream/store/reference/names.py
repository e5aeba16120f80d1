"""Made names in memory."""

from __future__ import annotations

from collections.abc import Mapping

from questream.store.protocol import MadeName
from questream.store.reference.base import MemoryBase


class MemoryNames(MemoryBase):
    """The part of the protocol Names."""

    def made_names(self, namespace: str) -> dict[int, MadeName]:
        with self._lock:
            state = self._namespaces.get(namespace)
            return {} if state is None else dict(state.made_names)

    def name_changes(self, namespace: str) -> int:
        with self._lock:
            state = self._namespaces.get(namespace)
            return 0 if state is None else state.name_changes

    def write_names(
        self, namespace: str, store_epoch: str, names: Mapping[int, MadeName | None], as_of: int | None = None
    ) -> bool:
        with self._lock:
            state = self._get_recovered(namespace, store_epoch)
            if as_of is not None and as_of != state.name_changes:
                return False
            for cluster_id, made in names.items():
                if made is None:
                    state.made_names.pop(cluster_id, None)
                else:
                    state.made_names[cluster_id] = made
            state.name_changes = max(state.name_changes + 1, int(self._clock() * 1000))
            return True
