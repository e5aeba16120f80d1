"""Files to evaluate on, and which part of them is taken."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from questream.errors import QuestreamError
from questream.lab.evaluation.agreement import Labels, numbered
from questream.lab.evaluation.pairs import OneSidedPairs, require_both
from questream.records.files import AS_THEY_STAND, FileTexts, read_pairs, read_questions

# Groups that are on average smaller are drawn whole: of single questions drawn from them hardly two belong together.
_SMALL_GROUP_QUESTIONS = 20


@dataclass(frozen=True, eq=False)
class PairFile:
    """The labelled pairs of a file that are evaluated, in its order.

    `empty` is how many pairs were passed over because a text of them is blank, `left_out` how many were not drawn.
    """

    first: Sequence[str]
    second: Sequence[str]
    same: Sequence[bool]
    empty: int
    left_out: int


@dataclass(frozen=True, eq=False)
class GoldFile:
    """The questions of a file that are evaluated, in its order: texts, gold groups (n,) by number, their names.

    `asked_at` (n,) has the time of each, None unless all have one. `empty` and `ungrouped` are how many questions
    were passed over because they have no text or no gold group, `left_out` how many others were not drawn.
    """

    texts: Sequence[str]
    gold: Labels
    groups: Sequence[str]
    asked_at: NDArray[np.float64] | None
    empty: int
    ungrouped: int
    left_out: int

    @property
    def contradicted(self) -> int:
        """The number of questions whose text is also in another gold group: no method can separate these."""
        groups: dict[str, set[int]] = {}
        for text, group in zip(self.texts, self.gold.tolist(), strict=True):
            groups.setdefault(text, set()).add(group)
        return sum(len(groups[text]) > 1 for text in self.texts)


def read_gold_file(path: Path, questions: int, seed: int, texts: FileTexts = AS_THEY_STAND) -> GoldFile:
    """At most `questions` of a file with their gold groups, drawn by `seed`; small groups are drawn whole.

    `texts` says which of a row, prepared how, is embedded.

    Raises QuestionFileError, or QuestreamError without gold groups.
    """
    every = list(read_questions(path, texts))
    asked = [row for row in every if row.text.strip()]
    rows = [row for row in asked if row.gold is not None]
    if len(rows) < 2:
        raise QuestreamError(f'{path} names no gold groups: each question needs a "gold"')
    chosen = _drawn(numbered([row.gold for row in rows]), questions, seed)
    drawn = [rows[i] for i in chosen]
    moments = np.array([math.nan if row.asked_at is None else row.asked_at for row in drawn])
    return GoldFile(
        texts=[row.text for row in drawn],
        gold=numbered([row.gold for row in drawn]),
        groups=list(dict.fromkeys(str(row.gold) for row in drawn)),
        asked_at=None if np.isnan(moments).any() else moments,
        empty=len(every) - len(asked),
        ungrouped=len(asked) - len(rows),
        left_out=len(rows) - len(drawn),
    )


def read_pair_file(path: Path, pairs: int, seed: int, texts: FileTexts = AS_THEY_STAND) -> PairFile:
    """At most `pairs` of a file, drawn by `seed`, prepared as `texts` says.

    Raises QuestionFileError, or OneSidedPairs if not both labels occur among those that were drawn.
    """
    every = list(read_pairs(path, texts))
    rows = [row for row in every if row.text_a.strip() and row.text_b.strip()]
    chosen = np.sort(np.random.default_rng(seed).permutation(len(rows))[:pairs])
    drawn = [rows[i] for i in chosen]
    same = [row.same for row in drawn]
    try:
        require_both(same)
    except OneSidedPairs as error:
        raise OneSidedPairs(f"{path}: {error}") from None
    return PairFile(
        first=[row.text_a for row in drawn],
        second=[row.text_b for row in drawn],
        same=same,
        empty=len(every) - len(rows),
        left_out=len(rows) - len(drawn),
    )


def _drawn(gold: Labels, questions: int, seed: int) -> NDArray[np.intp]:
    if len(gold) <= questions:
        return np.arange(len(gold))
    random = np.random.default_rng(seed)
    sizes = np.bincount(gold)
    if sizes.mean() >= _SMALL_GROUP_QUESTIONS:
        return np.sort(random.permutation(len(gold))[:questions])
    groups = random.permutation(len(sizes))
    kept = groups[: max(1, int(np.searchsorted(np.cumsum(sizes[groups]), questions, side="right")))]
    return np.flatnonzero(np.isin(gold, kept))
