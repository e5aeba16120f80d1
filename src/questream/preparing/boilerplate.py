"""What many mails of a namespace have in common is not what they ask.

Sentences are counted by their hashes in a sketch of bounded size, after Metwally et al., "Efficient Computation of
Frequent and Top-k Elements in Data Streams" (2005): the count of a sentence is too high by at most that of the one
whose place it took.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from heapq import nsmallest

_END = re.compile(r"(?<=[.!?\u3002\uff01\uff1f])\s+|\n+")
_WORD = re.compile(r"\w+")
_MOST_SENTENCES = 64


class Boilerplate:
    """Counts the sentences of a namespace's mails, and leaves out of a mail those that too many others have.

    At most `places` sentences are counted, the rarest make room. A sentence is common that stands in `share` of the
    last mails, one that asks in `asking_share`; none is before `least_mails`. The counts are halved at every `window`
    mails, so that they follow the stream.
    """

    def __init__(
        self,
        *,
        places: int = 2048,
        share: float = 0.03,
        asking_share: float = 0.2,
        least_mails: int = 100,
        window: int = 20_000,
    ) -> None:
        self.places = places
        self.share = share
        self.asking_share = asking_share
        self.least_mails = least_mails
        self.window = window
        self.mails = 0
        self.counts: dict[int, int] = {}

    def learn(self, text: str) -> None:
        """Count the sentences of a mail, each once."""
        self.add({_hash(sentence): 1 for sentence in _sentences(text)}, 1)

    def add(self, counts: Mapping[int, int], mails: int) -> None:
        """Count what so many mails brought: how many of them have a sentence, by its hash."""
        self.mails += mails
        for sentence, count in counts.items():
            self.counts[sentence] = self.counts.get(sentence, 0) + count
        if len(self.counts) > 2 * self.places:
            self._forget(len(self.counts) - self.places)
        if self.mails > self.window:
            self.mails //= 2
            self.counts = {sentence: count // 2 for sentence, count in self.counts.items() if count > 1}

    def without_common(self, text: str) -> str:
        """The text without the sentences that are common; of a text that has no others, the least common one."""
        if self.mails < self.least_mails:
            return text
        sentences = _sentences(text)
        shares = [self.counts.get(_hash(sentence), 0) / self.mails for sentence in sentences]
        kept = [
            sentence
            for sentence, share in zip(sentences, shares, strict=True)
            if share < (self.asking_share if "?" in sentence else self.share)
        ]
        if len(kept) == len(sentences) or not sentences:
            return text
        return "\n".join(kept) if kept else sentences[shares.index(min(shares))]

    def _forget(self, count: int) -> None:
        rarest: Iterable[int] = nsmallest(count, self.counts, key=self.counts.__getitem__)
        for sentence in list(rarest):
            del self.counts[sentence]


def _sentences(text: str) -> list[str]:
    return [sentence for sentence in _END.split(text, maxsplit=_MOST_SENTENCES) if _WORD.search(sentence)]


def _hash(sentence: str) -> int:
    words = " ".join(_WORD.findall(sentence.lower()))
    return int.from_bytes(blake2b(words.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big")
