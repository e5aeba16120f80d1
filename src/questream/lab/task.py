"""A thread beside the one that measures or shows, whose failure reaches that one."""

from __future__ import annotations

import threading
from typing import Self


class Task:
    """Runs `_work` in a thread of its own while the context is entered; `_work` returns soon after `_stopping` is set.

    Leaving waits for the thread, for `join_seconds` at most: a client may wait for a broker that is gone, and as a
    daemon its thread ends with the process.
    """

    def __init__(self, name: str, join_seconds: float | None = None) -> None:
        self._stopping = threading.Event()
        self._error: BaseException | None = None
        self._join_seconds = join_seconds
        self._thread = threading.Thread(target=self._guarded, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join(self._join_seconds)

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._error is not None:
            raise self._error

    def _guarded(self) -> None:
        try:
            self._work()
        except BaseException as error:  # raised by `check`
            self._error = error

    def _work(self) -> None:
        raise NotImplementedError
