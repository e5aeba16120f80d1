"""A corpus of labelled questions: groups and pairs of the same question, as one set of texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from questream.errors import QuestreamError
from questream.lab.evaluation.agreement import Labels, numbered
from questream.prepared import about_in
from questream.records.files import AS_THEY_STAND, FileQuestion, FileTexts, LabelledPair, read_pairs, read_questions

Pairs = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LeftOut:
    """The rows that could not be used.

    Texts in two groups of a kind; pairs that contradict groups or other pairs; pairs of a text with itself
    or with an ambiguous one; pairs of which one text is held out and the other is not.
    """

    ambiguous_texts: int = 0
    contradicting_pairs: int = 0
    unusable_pairs: int = 0
    parted_pairs: int = 0

    def __add__(self, other: LeftOut) -> LeftOut:
        """Both together."""
        return LeftOut(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(LeftOut)))


@dataclass(frozen=True, eq=False)
class Corpus:
    """Different texts, the number of each one's group (n,), and pairs (k, 2) of texts that somebody labelled.

    Texts of one group are the same question. Two texts that differ in case and white space alone are one.
    """

    texts: Sequence[str]
    groups: Labels
    same: Pairs
    different: Pairs
    left_out: LeftOut = LeftOut()

    def part(self, chosen: NDArray[np.bool_]) -> Corpus:
        """The chosen texts (n,) alone, with the pairs that lie among them."""
        place = np.cumsum(chosen) - 1

        def within(pairs: Pairs) -> Pairs:
            return place[pairs[chosen[pairs].all(axis=1)]]

        kept = np.flatnonzero(chosen).tolist()
        groups = numbered(self.groups[kept].tolist())
        return Corpus([self.texts[i] for i in kept], groups, within(self.same), within(self.different))


class Components:
    """Components of n elements; a component may carry a name, and two of different names never join."""

    def __init__(self, names: Sequence[int | None]) -> None:
        self._above = list(range(len(names)))
        self._names = list(names)
        self.sizes = [1] * len(names)

    def find(self, one: int) -> int:
        """The element that identifies the component of `one`."""
        while self._above[one] != one:
            self._above[one] = self._above[self._above[one]]
            one = self._above[one]
        return one

    def join(self, one: int, other: int) -> bool:
        """Join two components; False, and nothing happens, where their names differ."""
        one, other = self.find(one), self.find(other)
        if one == other:
            return True
        named, other_named = self._names[one], self._names[other]
        if named is not None and other_named is not None and named != other_named:
            return False
        self._above[other] = one
        self._names[one] = named if named is not None else other_named
        self.sizes[one] += self.sizes[other]
        return True

    def labels(self) -> Labels:
        """The number of each thing's component (n,)."""
        return numbered([self.find(one) for one in range(len(self._above))])


def read_corpus(pairs: Sequence[Path], groups: Sequence[Path], texts: FileTexts = AS_THEY_STAND) -> Corpus:
    """All texts of files of labelled pairs and of questions with gold groups; a group's name holds in its own file.

    `texts` says which of a row, prepared how, are embedded.

    Raises QuestionFileError, or QuestreamError where a file of groups names none.
    """
    questions: dict[int, list[FileQuestion]] = {at: list(read_questions(path, texts)) for at, path in enumerate(groups)}
    for at, path in enumerate(groups):
        if all(question.gold is None for question in questions[at]):
            raise QuestreamError(f'{path} names no groups: each question needs a "gold"')
    return corpus_of([pair for path in pairs for pair in read_pairs(path, texts)], questions)


def corpus_of(pairs: Iterable[LabelledPair], questions: Mapping[int, Iterable[FileQuestion]]) -> Corpus:
    """One set of texts of labelled pairs and, by file, of questions with groups.

    Pairs that are labelled the same make groups too, of what they connect. Where pairs and groups contradict each other
    the groups hold. A question without a group is passed over: nothing is known of it.
    """
    texts: dict[str, str] = {}
    gold: dict[str, set[tuple[int, str]]] = {}
    for at, rows in questions.items():
        for row in rows:
            text = about_in(row.text)
            key = text_key(text)
            if key and row.gold is not None:
                texts.setdefault(key, text.strip())
                gold.setdefault(key, set()).add((at, row.gold))
    ambiguous = {key for key, names in gold.items() if len(names) > 1}
    for key in ambiguous:
        del texts[key]
    usable: list[tuple[str, str, bool]] = []
    unusable = 0
    for pair in pairs:
        text_a, text_b = about_in(pair.text_a), about_in(pair.text_b)
        one, other = text_key(text_a), text_key(text_b)
        if not one or not other or one == other or ambiguous & {one, other}:
            unusable += 1
            continue
        texts.setdefault(one, text_a.strip())
        texts.setdefault(other, text_b.strip())
        usable.append((one, other, pair.same))
    return _joined(texts, gold, usable, LeftOut(ambiguous_texts=len(ambiguous), unusable_pairs=unusable))


def text_key(text: str) -> str:
    """A key that texts share which differ in case and white space alone."""
    return " ".join(text.split()).casefold()


def _joined(
    texts: Mapping[str, str],
    gold: Mapping[str, set[tuple[int, str]]],
    answers: Sequence[tuple[str, str, bool]],
    left_out: LeftOut,
) -> Corpus:
    index = {key: at for at, key in enumerate(texts)}
    names: dict[tuple[int, str], int] = {}
    named = [names.setdefault(next(iter(gold[key])), len(names)) if key in gold else None for key in texts]
    components = Components(named)
    founders: dict[int, int] = {}
    for at, name in enumerate(named):
        if name is not None:
            components.join(founders.setdefault(name, at), at)
    same = {_ordered(index[one], index[other]): None for one, other, alike in answers if alike}
    agreeing = [pair for pair in same if components.join(*pair)]
    groups = components.labels()
    different = {_ordered(index[one], index[other]): None for one, other, alike in answers if not alike}
    apart = [pair for pair in different if groups[pair[0]] != groups[pair[1]]]
    contradicting = len(same) - len(agreeing) + len(different) - len(apart)
    return Corpus(
        list(texts.values()),
        groups,
        as_pairs(agreeing),
        as_pairs(apart),
        left_out + LeftOut(contradicting_pairs=contradicting),
    )


def _ordered(one: int, other: int) -> tuple[int, int]:
    return (one, other) if one < other else (other, one)


def as_pairs(pairs: Sequence[tuple[int, int]]) -> Pairs:
    """Pairs as an array (k, 2), also where there are none."""
    return np.array(pairs, np.int64).reshape(-1, 2)
