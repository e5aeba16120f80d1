"""A part of the data held out, such that no text, and no question in other words, is on both sides."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from questream.errors import QuestreamError
from questream.lab.evaluation.agreement import numbered
from questream.lab.training.corpus import Components, Corpus, LeftOut

# Groups that a negative pair ties are held out together up to this share of all texts: without a bound, a chain of
# such pairs ties everything.
_TIED_SHARE = 0.02
_FEWEST_GROUPS = 2


@dataclass(frozen=True, eq=False)
class Split:
    """The training part, the held-out part, and the rest that neither could use."""

    train: Corpus
    held_out: Corpus
    left_out: LeftOut


def split(corpus: Corpus, share: float, seed: int) -> Split:
    """Hold out about a `share` of the texts, in whole groups drawn by `seed`.

    Raises QuestreamError where either side lacks two groups with two questions each.
    """
    clumps = _clumps(corpus)
    sizes = np.bincount(clumps)
    room = share * len(clumps)
    held = np.zeros(len(sizes), np.bool_)
    for clump in np.random.default_rng(seed).permutation(len(sizes)):
        # One larger than what is left is passed over, or a single large group would be all that is held out.
        if sizes[clump] <= room:
            held[clump] = True
            room -= sizes[clump]
    chosen = held[clumps]
    train, held_out = corpus.part(~chosen), corpus.part(chosen)
    for side, part in (("to train on", train), ("held out", held_out)):
        shared = int((np.bincount(part.groups) > 1).sum()) if len(part.groups) else 0
        if shared < _FEWEST_GROUPS:
            raise QuestreamError(
                f"too little data: {shared} groups of questions {side} have two questions or more, at least"
                f" {_FEWEST_GROUPS} are needed",
                "give more pairs or groups, or another --held-out",
            )
    kept = sum(len(part.same) + len(part.different) for part in (train, held_out))
    parted = LeftOut(parted_pairs=len(corpus.same) + len(corpus.different) - kept)
    return Split(train, held_out, corpus.left_out + parted)


def bounded(corpus: Corpus, texts: int, seed: int) -> Corpus:
    """At most `texts` texts, in whole groups drawn by `seed`; all of them where there are not more."""
    if len(corpus.texts) <= texts:
        return corpus
    sizes = np.bincount(corpus.groups)
    order = np.random.default_rng(seed).permutation(len(sizes))
    kept = order[np.cumsum(sizes[order]) <= texts]
    return replace(corpus.part(np.isin(corpus.groups, kept)), left_out=corpus.left_out)


def _clumps(corpus: Corpus) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """The number of each text's clump (n,): its group, with groups that negative pairs tie to it."""
    most = max(2.0, _TIED_SHARE * len(corpus.texts))
    components = Components([None] * len(corpus.texts))
    founders: dict[int, int] = {}
    for at, group in enumerate(corpus.groups.tolist()):
        components.join(founders.setdefault(group, at), at)
    for one, other in corpus.different.tolist():
        one, other = components.find(one), components.find(other)
        if one != other and components.sizes[one] + components.sizes[other] <= most:
            components.join(one, other)
    return numbered(components.labels().tolist())
