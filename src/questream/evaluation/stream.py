"""A stream of questions with gold groups, and what clustering it gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.errors import QuestreamError
from questream.evaluation.agreement import Labels, numbered
from questream.records.files import read_questions

# Groups that are on average smaller are drawn whole: of single questions drawn from them hardly two belong together.
_SMALL_GROUP_QUESTIONS = 20


@dataclass(frozen=True, eq=False)
class Stream:
    """Questions in one order: texts, unit vectors (n, d) and the number of each one's gold group (n,)."""

    texts: Sequence[str]
    vectors: Matrix
    gold: Labels

    def __len__(self) -> int:
        return len(self.texts)

    def in_order(self, order: NDArray[np.intp]) -> Stream:
        """The questions in another order."""
        return Stream([self.texts[i] for i in order], np.ascontiguousarray(self.vectors[order]), self.gold[order])

    def batches(self, questions: int) -> Iterator[slice]:
        """Micro-batches of at most `questions`, in order."""
        for start in range(0, len(self), questions):
            yield slice(start, min(start + questions, len(self)))


@dataclass(frozen=True, slots=True)
class Clustering:
    """The cluster of each question in the order of the stream: at the moment it was published, and after the stream.

    `published` is None for methods that see all questions before they answer.
    """

    published: Labels | None
    after: Labels


def read_gold(path: Path, questions: int, seed: int) -> tuple[list[str], Labels]:
    """At most `questions` texts of a file and their gold groups, drawn by `seed` and in the order of the file.

    Where groups are small they are drawn whole. Raises QuestionFileError, or QuestreamError without gold groups.
    """
    rows = [row for row in read_questions(path) if row.text.strip() and row.gold is not None]
    if len(rows) < 2:
        raise QuestreamError(f'{path} names no gold groups: each question needs a "gold"')
    gold = numbered([row.gold for row in rows])
    random = np.random.default_rng(seed)
    sizes = np.bincount(gold)
    if len(rows) <= questions:
        chosen = np.arange(len(rows))
    elif sizes.mean() < _SMALL_GROUP_QUESTIONS:
        groups = random.permutation(len(sizes))
        kept = groups[: max(1, int(np.searchsorted(np.cumsum(sizes[groups]), questions, side="right")))]
        chosen = np.flatnonzero(np.isin(gold, kept))
    else:
        chosen = np.sort(random.permutation(len(rows))[:questions])
    return [rows[i].text for i in chosen], gold[chosen]


def orders_of(questions: int, shuffles: int, seed: int) -> list[NDArray[np.intp]]:
    """The order of the file, and `shuffles` others."""
    random = np.random.default_rng(seed)
    return [np.arange(questions), *(random.permutation(questions) for _ in range(shuffles))]
