"""Counts of sentences in memory."""

from __future__ import annotations

from collections.abc import Mapping

from questream.preparing.repeated import NO_COUNTS, SentenceCounts
from questream.store.reference.base import MemoryBase


class MemorySentences(MemoryBase):
    """The protocol SentenceCalls."""

    def sentence_counts(self, namespace: str) -> SentenceCounts:
        with self._lock:
            state = self._namespaces.get(namespace)
            return NO_COUNTS if state is None else state.sentence_counts

    def count_sentences(self, namespace: str, mails: int, seen: Mapping[str, int]) -> SentenceCounts:
        with self._lock:
            state = self._namespaces.get(namespace)
            if state is None or state.store_epoch is None:
                return NO_COUNTS
            state.sentence_counts = state.sentence_counts.added(mails, seen)
            return state.sentence_counts
