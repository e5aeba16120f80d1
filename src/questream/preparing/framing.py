"""Sentences that frame a mail in words that no list of phrases has, by their likeness to sentences that do.

A naive Bayes classifier over the beginnings of words and pairs of neighbours, counted when it is first asked:
`sentences/` has, for each language, sentences `beside` what a mail is about, and sentences `about` it.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from itertools import chain, pairwise
from math import inf, log
from typing import NamedTuple

from questream.preparing.words import words_of

# A word that neither kind of sentence has is rather a name of what the mail is about.
_UNKNOWN = -0.5
_SMOOTHING = 0.5
_MOST = 3.0
_EDGE = "."
# The languages of the examples inflect a word behind its first letters.
_STEM = 5


class Framing(NamedTuple):
    """The logarithm of the ratio of the probabilities of a sentence beside what a mail is about, and about it.

    A classifier has it that takes words for independent. `known` is the part of the words and pairs that examples have,
    `total` has words that no example has too.
    """

    total: float
    known: float


UNLIKE = Framing(-inf, -inf)


def framing(words: Sequence[str]) -> Framing:
    """How much a sentence of these words, in lower case, is like one beside what a mail is about; below 0: about it."""
    evidence = _evidence()
    plain = list(_plain(words))
    known = sum(evidence.get(one, 0.0) for one in chain(plain, _pairs(words)))
    return Framing(known + _UNKNOWN * sum(word not in evidence for word in plain), known)


def _plain(words: Iterable[str]) -> Iterator[str]:
    """The beginnings of the words; all numbers are one word. "S23" is none: it is rather a name."""
    return ("0" if word[0].isdigit() else word[:_STEM] for word in words)


def _pairs(words: Sequence[str]) -> Iterator[str]:
    return map(" ".join, pairwise([_EDGE, *_plain(words), _EDGE]))


@cache
def _evidence() -> Mapping[str, float]:
    """How much a word or a pair speaks for a sentence beside, as the logarithm of the ratio of its rates."""
    beside, about = _sentences("beside"), _sentences("about")
    return _ratios(map(_plain, beside), map(_plain, about)) | _ratios(map(_pairs, beside), map(_pairs, about))


def _ratios(beside: Iterable[Iterable[str]], about: Iterable[Iterable[str]]) -> dict[str, float]:
    counts = [Counter(one for sentence in sentences for one in sentence) for sentences in (beside, about)]
    totals = [count.total() for count in counts]

    def rate(one: str, kind: int) -> float:
        return log((counts[kind][one] + _SMOOTHING) / totals[kind])

    return {one: max(-_MOST, min(_MOST, rate(one, 0) - rate(one, 1))) for one in counts[0] | counts[1]}


def _sentences(kind: str) -> list[list[str]]:
    folder = files("questream.preparing") / "sentences"
    texts = [file.read_text("utf-8") for file in folder.iterdir() if file.name.endswith(".toml")]
    return [words_of(one.lower()) for text in texts for one in tomllib.loads(text)[kind]]
