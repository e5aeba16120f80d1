"""State under one lock that can be copied and pickled nevertheless."""

from __future__ import annotations

import threading


class Guarded:
    """Has a lock of its own, and so has each copy: a lock cannot be pickled, and nobody holds that of a copy."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __getstate__(self) -> dict[str, object]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
