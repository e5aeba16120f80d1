"""Mirrors of the namespaces that somebody asks about: loaded once, in the background, and kept up by the log."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from questream.clustering.mirror import Mirror
from questream.errors import QuestreamError, RecoveryNeeded
from questream.garbage import garbage_collection_delayed
from questream.server.failures import Failures, read_failure, without_traceback
from questream.server.problems import loading
from questream.store.protocol import Store

logger = logging.getLogger(__name__)

_MOST_NAMESPACES = 8


@dataclass(slots=True)
class _Kept:
    read: threading.Event = field(default_factory=threading.Event)
    guard: threading.Lock = field(default_factory=threading.Lock)
    mirror: Mirror | None = None
    failure: QuestreamError | None = None


class Mirrors:
    """Mirrors by namespace, at most 8; the one used least recently is let go. For any thread."""

    def __init__(self, store: Store, now: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._failures = Failures(now)
        self._guard = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    @contextmanager
    def of(self, namespace: str, wait_seconds: float = 0.5) -> Iterator[Mirror]:
        """The mirror of a namespace, up to the head of its log, for one thread at a time.

        Raises Refused while it is being read, and what the store raises: that is raised again for a while
        before the store is asked again.
        """
        kept = self._current(namespace)
        if not kept.read.wait(wait_seconds):
            raise loading(f"the centroids of {namespace}")
        with kept.guard:
            if kept.failure is not None or kept.mirror is None or not self._is_brought_up(namespace, kept.mirror):
                self._drop(namespace, kept)
                if kept.failure is not None:
                    raise without_traceback(kept.failure)
                self._current(namespace)
                raise loading(f"the centroids of {namespace}")
            yield kept.mirror

    def _current(self, namespace: str) -> _Kept:
        with self._guard:
            kept = self._kept.get(namespace)
            if kept is not None:
                self._kept.move_to_end(namespace)
                return kept
            self._failures.check(namespace)
            kept = self._kept[namespace] = _Kept()
            while len(self._kept) > _MOST_NAMESPACES:
                self._kept.popitem(last=False)
        threading.Thread(target=self._load, args=(namespace, kept), name=f"mirror-{namespace}", daemon=True).start()
        return kept

    def _load(self, namespace: str, kept: _Kept) -> None:
        try:
            with garbage_collection_delayed():
                kept.mirror = self._store.load(namespace)
        except Exception as error:
            kept.failure = read_failure(error, f"the centroids of {namespace}")
            self._failures.add(namespace, kept.failure)
            logger.warning("centroids could not be read", extra={"namespace": namespace, "reason": str(kept.failure)})
        else:
            self._failures.clear(namespace)
        finally:
            kept.read.set()

    def _is_brought_up(self, namespace: str, mirror: Mirror) -> bool:
        """Follow the log from the mirror's position on; false if the log no longer reaches back to it."""
        try:
            tail = self._store.tail(namespace, mirror.store_epoch, mirror.seq)
        except RecoveryNeeded:
            return False
        if tail.changes is None:
            return False
        mirror.apply(tail.changes)
        mirror.seq = tail.seq
        return True

    def _drop(self, namespace: str, kept: _Kept) -> None:
        with self._guard:
            if self._kept.get(namespace) is kept:
                del self._kept[namespace]
