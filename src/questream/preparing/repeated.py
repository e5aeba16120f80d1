"""Sentences that stand in many mails of a namespace, such as a line of its contact form: what frames mails there.

A sentence that asks or requests is never counted. One that is often all that a mail says is what people write about,
in the same words: each such mail outweighs nine in which it stands beside something else.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from hashlib import blake2b

# Of a namespace, and of a worker between two exchanges with the store.
MOST_SENTENCES = 1024
# At so many mails all counts are halved: what was written lately counts more.
MOST_MAILS = 4096
LEAST_MAILS = 32
_LEAST_COUNT = 5
_LEAST_SHARE = 0.05
_ALONE = -9
_LEAST_WORDS = 2


@dataclass(frozen=True, slots=True)
class SentenceCounts:
    """How often sentences stand in the mails of a namespace, by digest.

    Of more than 1,024 sentences the frequent ones are kept, with counts that are low by a thousandth of all sentences
    at most (Misra and Gries, Finding repeated elements, 1982).
    """

    mails: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)

    def added(self, mails: int, seen: Mapping[str, int]) -> SentenceCounts:
        """With what was seen since."""
        total = self.mails + mails
        counts = {digest: self.counts.get(digest, 0) + seen.get(digest, 0) for digest in {*self.counts, *seen}}
        if total >= MOST_MAILS:
            total //= 2
            counts = {digest: count // 2 for digest, count in counts.items()}
        return SentenceCounts(total, _bounded(counts))

    @property
    def repeated(self) -> frozenset[str]:
        """The sentences in a twentieth of at least 32 mails, and in five at least."""
        if self.mails < LEAST_MAILS:
            return frozenset()
        least = max(_LEAST_COUNT, _LEAST_SHARE * self.mails)
        return frozenset(digest for digest, count in self.counts.items() if count >= least)


NO_COUNTS = SentenceCounts()


class SeenMails:
    """The sentences of the mails that were prepared since the last exchange with the store."""

    def __init__(self) -> None:
        self.mails = 0
        self.counts: dict[str, int] = {}

    def add(self, digests: Set[str], *, alone: bool) -> None:
        """Count a mail by its sentences that ask nothing; `alone` where it says one thing."""
        self.mails += 1
        for digest in digests:
            self.counts[digest] = self.counts.get(digest, 0) + (_ALONE if alone else 1)
        if len(self.counts) >= 2 * MOST_SENTENCES:
            self.counts = _bounded(self.counts)


def digest_of(words: list[str]) -> str:
    """The digest of a sentence of these words, in lower case; '' for one that is too short to be told from a name.

    All numbers are one word.
    """
    if len(words) < _LEAST_WORDS:
        return ""
    plain = " ".join(["0" if word[0].isdigit() else word for word in words])
    return blake2b(plain.encode(), digest_size=8).hexdigest()


def _bounded(counts: Mapping[str, int]) -> dict[str, int]:
    found = sorted(count for count in counts.values() if count > 0)
    taken = found[-MOST_SENTENCES - 1] if len(found) > MOST_SENTENCES else 0
    return {digest: count - taken for digest, count in counts.items() if count > taken}
