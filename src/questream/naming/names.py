"""Names of clusters: the words that most of a cluster's questions have and few other clusters do.

It is class-based TF-IDF (Grootendorst, arXiv 2203.05794), a class being a cluster. How many questions have a word is
counted in what clusters keep of their members for a second look, so that no text is needed but the one that the name's
words are taken from. A word's weight against the namespace is rounded: a name stays when the namespace grows a little.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator

from questream.clustering.second_look.kept import Kept, unpack
from questream.domain import ClusterState
from questream.naming.terms import Term, naming_items, terms_of
from questream.prepared import about_in

# A cluster of fewer questions says nothing yet that its question does not.
LEAST_NAMED = 3
_MOST_TERMS = 4
_LONGEST_NAME = 60
# A word of less than this share of the best one's score adds nothing.
_LEAST_SHARE = 0.35
# The weight of a word that nearly any question may have.
_VAGUE_WEIGHT = 0.15
# How much more a word, number or code is worth that looks like a name.
_FORM_WEIGHT = 1.3
# Rarer words come in one cluster or two: that they are not counted makes no difference.
_MOST_COUNTED = 200_000


class Vocabulary:
    """The number of clusters of a namespace with each word. Memory is bounded: beyond 200,000 words none is added."""

    def __init__(self) -> None:
        self._clusters: Counter[int] = Counter()
        self._total = 0

    def add(self, kept: Kept) -> None:
        """There is a cluster that keeps these."""
        self._total += 1
        for item in naming_items(kept):
            if item in self._clusters or len(self._clusters) < _MOST_COUNTED:
                self._clusters[item] += 1

    def remove(self, kept: Kept) -> None:
        """A cluster that was added is gone, or keeps others now."""
        self._total = max(0, self._total - 1)
        for item in naming_items(kept):
            left = self._clusters[item] - 1
            if left > 0:
                self._clusters[item] = left
            else:
                del self._clusters[item]

    @property
    def stage(self) -> int:
        """Another number once a hundredth more or fewer clusters are counted: weights hardly change until then."""
        return int(100 * math.log1p(self._total))

    def counting(self, states: Iterable[ClusterState]) -> Iterator[ClusterState]:
        """The same clusters, each added as it passes."""
        for state in states:
            self.add(unpack(state.features))
            yield state

    def weight(self, item: int) -> float:
        """The weight of a word that distinguishes a cluster, at least 1: in half steps, of the power of two."""
        share = (1 + self._total) / (1 + self._clusters[item])
        return 1 + round(2 * math.log2(max(1.0, share))) / 2


def name_of(state: ClusterState, vocabulary: Vocabulary, made: str | None = None) -> str | None:
    """A cluster's name: its label, else the one that a model made, else words of its representative question.

    None where it has none of them, or too few questions.

    The name is text of people's questions, and may be shown only where these may.
    """
    if state.label:
        return state.label
    if state.size < LEAST_NAMED or not state.representative:
        return None
    if made is not None:
        return made
    return keywords(state.representative, unpack(state.features), vocabulary)


def keywords_of(state: ClusterState, vocabulary: Vocabulary) -> list[str]:
    """The words that most of a cluster's questions have and few other clusters do, whatever its name is."""
    if state.size < LEAST_NAMED or not state.representative:
        return []
    return _key_terms(state.representative, unpack(state.features), vocabulary)


def keywords(text: str, kept: Kept, vocabulary: Vocabulary) -> str:
    """At most four terms of a text in its order; its beginning where it has none."""
    return _cut(" ".join(_key_terms(text, kept, vocabulary) or about_in(text).split()))


def _key_terms(text: str, kept: Kept, vocabulary: Vocabulary) -> list[str]:
    terms = terms_of(text)
    if not terms:
        return []
    members = [naming_items((one,)) for one in kept]

    def score(term: Term) -> float:
        having = sum(term.item in items for items in members)
        # A word of one question in four has little weight, one of half of them about half.
        support: float = ((having + 0.5) / (len(members) + 0.5)) ** 1.25
        is_formed = term.shown != term.shown.lower() or any(letter.isdigit() for letter in term.shown)
        form = _VAGUE_WEIGHT if term.vague else _FORM_WEIGHT if is_formed else 1.0
        return support * vocabulary.weight(term.item) * form

    scores = {term: score(term) for term in terms}
    best = sorted(terms, key=lambda term: -scores[term])[:_MOST_TERMS]
    least = _LEAST_SHARE * scores[best[0]]
    return [term.shown for term in terms if term in best and scores[term] >= least]


def _cut(name: str) -> str:
    if len(name) <= _LONGEST_NAME:
        return name
    shorter = name[: _LONGEST_NAME - 1].rsplit(" ", 1)[0]
    return shorter.rstrip() + "…"
