"""What the store knows of the sentences of mails, for texts that are embedded beside the workers."""

from __future__ import annotations

import time
from collections.abc import Callable

from questream.preparing import KnownSentences
from questream.settings import Settings
from questream.store.protocol import Store
from questream.store.redis.store import open_store

_READ_AGAIN_SECONDS = 2.0


class StoredSentences:
    """The sentences that stand in many mails of a namespace, read every other second at most, once a mail is prepared.

    `open` gives the store, and may raise what a store does, as each call.
    """

    def __init__(self, open: Callable[[], Store]) -> None:
        self._open = open
        self._store: Store | None = None
        self._read: dict[str, tuple[float, KnownSentences]] = {}

    def __call__(self, namespace: str) -> KnownSentences:
        """What is known of the mails of a namespace; its new ones are not counted."""
        now = time.monotonic()
        read_at, known = self._read.get(namespace, (-_READ_AGAIN_SECONDS, KnownSentences()))
        if now - read_at >= _READ_AGAIN_SECONDS:
            self._store = self._store or self._open()
            known = KnownSentences(self._store.sentence_counts(namespace).repeated)
            # Another thread may read beside this one: what it read is read again.
            lately = [one for one in list(self._read.items()) if now - one[1][0] < _READ_AGAIN_SECONDS]
            self._read = {**dict(lately), namespace: (now, known)}
        return known


def sentences_stored(settings: Settings) -> StoredSentences:
    """Those of the store that the settings lead to."""
    return StoredSentences(lambda: open_store(settings.redis))
