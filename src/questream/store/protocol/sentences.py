"""Sentences that stand in many mails of a namespace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from questream.preparing.repeated import SentenceCounts


class SentenceCalls(Protocol):
    """The counts of sentences in the mails of a namespace. They are not restored after a loss, but begin anew."""

    def sentence_counts(self, namespace: str) -> SentenceCounts:
        """All of them, without those that cannot be read."""

    def count_sentences(self, namespace: str, mails: int, seen: Mapping[str, int]) -> SentenceCounts:
        """Add what was seen in so many mails, by `SentenceCounts.added`; returns the counts since.

        Nothing is counted of a namespace that has to be recovered first, or that somebody holds.
        """
