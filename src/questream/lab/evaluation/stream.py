"""A stream of questions with gold groups, and what clustering it gives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from questream.domain import Matrix
from questream.lab.evaluation.agreement import Labels
from questream.lab.evaluation.files import read_gold_file
from questream.records.files import FileTexts


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

    def first(self, questions: int) -> Stream:
        """The stream after that many questions."""
        return Stream(self.texts[:questions], self.vectors[:questions], self.gold[:questions])

    def batches(self, questions: int) -> Iterator[slice]:
        """Micro-batches of at most `questions`, in order."""
        for start in range(0, len(self), questions):
            yield slice(start, min(start + questions, len(self)))


@dataclass(frozen=True, slots=True)
class Clustering:
    """The cluster of each question in the order of the stream: at the moment it was published, and after the stream.

    `published` is None for methods that see all questions before they answer. `similarity` (n,) is that to the cluster
    that a question joined, NaN where it opened one; None for methods that have none.
    """

    published: Labels | None
    after: Labels
    similarity: NDArray[np.float64] | None = None

    @property
    def as_published(self) -> Labels:
        """The cluster of each question (n,) at the moment it was published; after the stream where none was before."""
        return self.after if self.published is None else self.published

    @property
    def changed(self) -> NDArray[np.bool_]:
        """Which questions (n,) are in another cluster after the stream than they were published with."""
        changed: NDArray[np.bool_] = self.as_published != self.after
        return changed


def read_gold(path: Path, questions: int, seed: int, texts: FileTexts) -> tuple[list[str], Labels]:
    """At most `questions` texts of a file and their gold groups, as `read_gold_file` draws them."""
    file = read_gold_file(path, questions, seed, texts)
    return list(file.texts), file.gold


def orders_of(questions: int, shuffles: int, seed: int) -> list[NDArray[np.intp]]:
    """The order of the file, and `shuffles` others."""
    random = np.random.default_rng(seed)
    return [np.arange(questions), *(random.permutation(questions) for _ in range(shuffles))]
