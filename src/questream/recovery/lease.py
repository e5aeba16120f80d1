"""The lease of a recovery: one worker at a time recovers a namespace, while the others wait for it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from questream.errors import QuestreamError, RecoveryNeeded
from questream.store.protocol import Store

# A worker that dies is taken over from so much later.
LEASE_SECONDS = 10.0


class RecoveryLease:
    """The lease of one worker. `wait` waits for so many seconds and says whether the worker gives up meanwhile."""

    def __init__(self, store: Store, wait: Callable[[float], bool], seconds: float = LEASE_SECONDS) -> None:
        self._store = store
        self.wait = wait
        self._seconds = seconds
        self._holder = uuid.uuid4().hex[:12]
        self._lost = threading.Event()

    @contextmanager
    def held(self, namespace: str, token: str) -> Iterator[bool]:
        """Take the lease; true if this worker has it, which a thread then renews until it leaves."""
        # What became of an earlier lease, as one that ended with its recovery, says nothing of this one.
        self._lost.clear()
        if not self._store.lease_recovery(namespace, token, self._holder, self._seconds):
            yield False
            return
        left = threading.Event()
        renewing = threading.Thread(target=self._renew, args=(namespace, token, left), name="lease", daemon=True)
        renewing.start()
        try:
            yield True
        finally:
            left.set()
            renewing.join()
            # A store that does not answer lets it go by itself.
            with suppress(QuestreamError):
                self._store.lease_recovery(namespace, token, self._holder, 0)

    def require(self) -> None:
        """Raises RecoveryNeeded where another has taken over, as after this process was stopped for too long."""
        if self._lost.is_set():
            raise RecoveryNeeded("another worker continues the recovery")

    def _renew(self, namespace: str, token: str, left: threading.Event) -> None:
        while not left.wait(self._seconds / 5):
            with suppress(QuestreamError):
                if not self._store.lease_recovery(namespace, token, self._holder, self._seconds):
                    self._lost.set()
                    return
