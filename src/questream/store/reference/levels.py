"""Levels in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from questream.store.protocol import LevelsMark, StoredLevels
from questream.store.reference.base import MemoryBase
from questream.store.reference.state import members_of
from questream.store.rules_text import level_rules_text


class MemoryLevels(MemoryBase):
    """The part of the protocol Levels."""

    def levels(self, namespace: str) -> StoredLevels:
        with self._lock:
            state = self._namespaces.get(namespace)
            return StoredLevels() if state is None else state.levels

    def levels_marks(self, namespaces: Sequence[str]) -> dict[str, LevelsMark]:
        with self._lock:
            known = {name: self._namespaces[name] for name in namespaces if name in self._namespaces}
            return {
                name: LevelsMark(
                    state.levels.version,
                    state.levels.opened,
                    state.next_id - 1,
                    len(list(members_of(state, "idle"))),
                    state.levels_published,
                    state.levels_heeding,
                    state.levels_ruled == level_rules_text(state.rules),
                )
                for name, state in known.items()
            }

    def lease_levels(self, namespace: str, holder: str, seconds: float) -> bool:
        with self._lock:
            state, now = self._get(namespace), self._clock()
            of, until = state.levels_lease
            if of not in ("", holder) and until > now:
                return False
            state.levels_lease = (holder, now + seconds) if seconds else ("", 0.0)
            return True

    def write_levels(self, namespace: str, store_epoch: str, levels: StoredLevels, ruled: str = "") -> bool:
        with self._lock:
            state = self._get_recovered(namespace, store_epoch)
            if state.levels.version != levels.version:
                return False
            version = max(levels.version + 1, int(self._clock() * 1000))
            state.levels = replace(_with_later_names(levels, state.levels), version=version)
            state.levels_heeding, state.levels_ruled = True, ruled
            return True

    def confirm_levels(self, namespace: str, version: int) -> None:
        with self._lock:
            state = self._get(namespace)
            if state.levels.version == version:
                state.levels_published = version

    def restore_levels(self, namespace: str, token: str, levels: StoredLevels, published: int | None = None) -> bool:
        with self._lock:
            state = self._get(namespace)
            is_late = state.levels.version > levels.version
            if is_late or not levels.version or state.store_epoch is not None or state.recovery_token != token:
                return False
            state.levels = _with_later_names(levels, state.levels)
            state.operation_count = max(state.operation_count, levels.operation)
            state.levels_published = levels.version if published is None else published
            state.levels_heeding = not levels.operation
            return True


def _with_later_names(levels: StoredLevels, current: StoredLevels) -> StoredLevels:
    if levels.operation >= current.operation:
        return levels
    return replace(levels, named=current.named, operation=current.operation)
