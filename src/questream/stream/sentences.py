"""Sentences that stand in many mails: counted in the store, so that all workers of a namespace know the same ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from questream.deciding.namespaces import Namespaces
from questream.preparing import NO_SENTENCES, KnownSentences
from questream.preparing.repeated import LEAST_MAILS, MOST_SENTENCES, SeenMails
from questream.store.protocol import Store
from questream.stream.polling import PollingRetry

# Between two exchanges; of fewer mails than tell anything, the second.
_EXCHANGE_SECONDS = 2.0
_FEW_MAILS_SECONDS = 60.0


@dataclass(slots=True)
class _Known:
    repeated: frozenset[str]
    since: float
    seen: SeenMails = field(default_factory=SeenMails)

    def is_due(self, now: float) -> bool:
        mails, age = self.seen.mails, now - self.since
        if mails == 0:
            return False
        return len(self.seen.counts) >= MOST_SENTENCES or age >= (
            _EXCHANGE_SECONDS if mails >= LEAST_MAILS else _FEW_MAILS_SECONDS
        )


class Sentences:
    """The sentences of the mails of each namespace. It belongs to the thread of the intake.

    What this worker saw is added to the counts in the store, every other second at most. The store answers with those
    of all workers.
    """

    def __init__(
        self,
        store: Store,
        namespaces: Namespaces,
        retry: PollingRetry,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._namespaces = namespaces
        self._retry = retry
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def of(self, namespace: str) -> KnownSentences:
        """The sentences that stand in many mails, and where those of a mail are counted; none before it is open."""
        known = self._known.get(namespace)
        if known is None:
            if self._namespaces.unopened([namespace]):
                return NO_SENTENCES
            counts = self._retry.call(self._store.sentence_counts, namespace)
            known = self._known[namespace] = _Known(counts.repeated, self._clock())
        return KnownSentences(known.repeated, known.seen)

    def exchange(self) -> None:
        """Add what was seen to the counts in the store."""
        now = self._clock()
        for namespace, known in self._known.items():
            if known.is_due(now):
                seen, known.seen, known.since = known.seen, SeenMails(), now
                counts = self._retry.call(self._store.count_sentences, namespace, seen.mails, seen.counts)
                # None is counted while the namespace is being recovered.
                known.repeated = counts.repeated if counts.mails else known.repeated
