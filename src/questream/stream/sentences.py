"""Sentences that stand in many mails: counted in the store, so that all workers of a namespace know the same ones."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Concatenate, ParamSpec

from questream.deciding.namespaces import Namespaces
from questream.errors import NamespaceRefused, RecoveryNeeded
from questream.preparing import NO_SENTENCES, KnownSentences
from questream.preparing.repeated import LEAST_MAILS, NO_COUNTS, SeenMails, SentenceCounts
from questream.store.protocol import Store
from questream.stream.polling import PollingRetry

P = ParamSpec("P")

# Between two exchanges; of fewer mails than tell anything, the second.
_EXCHANGE_SECONDS = 2.0
_FEW_MAILS_SECONDS = 60.0


@dataclass(slots=True)
class _Known:
    repeated: frozenset[str]
    since: float
    used: float
    seen: SeenMails = field(default_factory=SeenMails)

    def is_due(self, now: float) -> bool:
        least = _EXCHANGE_SECONDS if self.seen.mails >= LEAST_MAILS else _FEW_MAILS_SECONDS
        return self.seen.mails > 0 and now - self.since >= least


class Sentences:
    """The sentences of the mails of namespaces, `most` at most. All but `of` belongs to the thread of the intake.

    What this worker saw is added to the counts in the store, every other second at most. The store answers with those
    of all workers. Of more namespaces those whose mails are longest ago are added and let go, and read again when
    needed.
    """

    def __init__(
        self,
        store: Store,
        namespaces: Namespaces,
        retry: PollingRetry,
        most: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._store = store
        self._namespaces = namespaces
        self._retry = retry
        self._most = most
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._asked_for: set[str] = set()

    def of(self, namespace: str) -> KnownSentences:
        """The sentences that stand in many mails, and where those of a mail are counted; none before they were read.

        Without a call of the store: a record that is decoded again and again is decoded on a thread of its own, which
        must not poll the group.
        """
        known = self._known.get(namespace)
        if known is None:
            self._asked_for.add(namespace)
            return NO_SENTENCES
        known.used = self._clock()
        return KnownSentences(known.repeated, known.seen)

    def read(self) -> set[str]:
        """Read those of opened namespaces that were asked for in vain; returns these, whose mails to prepare again."""
        found = self._asked_for - self._namespaces.unopened(self._asked_for)
        self._asked_for.clear()
        for namespace in found:
            counts = self._answer(self._store.sentence_counts, namespace)
            now = self._clock()
            self._known[namespace] = _Known(counts.repeated, now, now)
        return found

    def exchange(self) -> None:
        """Add what was seen to the counts in the store."""
        now = self._clock()
        for namespace, known in self._known.items():
            if known.is_due(now):
                self._add(namespace, known, now)
        excess = len(self._known) - self._most
        if excess > 0:
            for namespace in sorted(self._known, key=lambda name: self._known[name].used)[:excess]:
                # Else a namespace that is let go within a minute again and again would learn nothing.
                if self._known[namespace].seen.mails:
                    self._add(namespace, self._known[namespace], now)
                del self._known[namespace]

    def _add(self, namespace: str, known: _Known, now: float) -> None:
        seen, known.seen, known.since = known.seen, SeenMails(), now
        counts = self._answer(self._store.count_sentences, namespace, seen.mails, seen.counts)
        # None is counted while the namespace is being recovered.
        known.repeated = counts.repeated if counts.mails else known.repeated

    def _answer(
        self, call: Callable[Concatenate[str, P], SentenceCounts], namespace: str, *args: P.args, **kwargs: P.kwargs
    ) -> SentenceCounts:
        """No counts of a namespace that is refused or has to be recovered: its questions meet with the same."""
        try:
            return self._retry.call(call, namespace, *args, **kwargs)
        except (NamespaceRefused, RecoveryNeeded):
            return NO_COUNTS
