"""A value of a sweep from labelled pairs, whose texts are clustered as one stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from questream.errors import QuestreamError
from questream.lab.calibration.posterior import RowPosterior, last_rows_together, parting_counts
from questream.lab.calibration.proposal import (
    BOOTSTRAP_ROUNDS,
    Mistakes,
    Proposal,
    edge_remarks,
    interval_of,
    middle_of_best,
    settings_of,
)
from questream.lab.calibration.sweep import Floats, Sweep
from questream.records.files import LabelledPair

FEWEST_PAIRS = 20
FEWEST_SAME = 10

# That two are the same which no value joins has a chance of its own: without, one such pair would rule all others.
_LEAST_CHANCE = 3e-4


@dataclass(frozen=True, eq=False)
class PairStream:
    """Texts in an order to cluster them in, and the places of the two texts of each pair."""

    texts: list[str]
    first: NDArray[np.intp]
    second: NDArray[np.intp]
    same: NDArray[np.bool_]


def pair_stream(pairs: Sequence[LabelledPair], background: Sequence[str] = (), seed: int = 0) -> PairStream:
    """The distinct texts of the pairs and of the background, shuffled by `seed`.

    The two texts of a pair must not follow each other, or they would meet before anything competes with them.
    Raises QuestreamError for too few pairs, or too few that are the same question.
    """
    same = np.array([pair.same for pair in pairs], bool)
    if len(pairs) < FEWEST_PAIRS:
        raise QuestreamError(f"{len(pairs)} labelled pairs are too few: {FEWEST_PAIRS} at least")
    useful = sum(pair.same and pair.text_a != pair.text_b for pair in pairs)
    if useful < FEWEST_SAME:
        raise QuestreamError(
            f"{useful} pairs are labelled the same question in other words, {FEWEST_SAME} at least are needed:"
            " pairs that are different alone do not bound it from above"
        )
    texts = list(dict.fromkeys([*(text for pair in pairs for text in (pair.text_a, pair.text_b)), *background]))
    order = np.random.default_rng(seed).permutation(len(texts))
    place = {texts[i]: at for at, i in enumerate(order.tolist())}
    return PairStream(
        [texts[i] for i in order],
        np.array([place[pair.text_a] for pair in pairs], np.intp),
        np.array([place[pair.text_b] for pair in pairs], np.intp),
        same,
    )


def propose_from_pairs(sweep: Sweep, stream: PairStream, false_join_cost: float = 1.0, seed: int = 0) -> Proposal:
    """The value that the pairs of one question speak for, given all else that each of the two could have joined.

    A pair's likelihood is that of its second question among all of the stream to be the one that is the same as the
    first (conditional logit: McFadden 1974), by how high a value joins them; `posterior.py` has the model. It is
    not moved by how many pairs of each kind were labelled, nor by how near those are that are different: these serve to
    count false joins. The interval is from a bootstrap that draws pairs; mistakes are per 1,000 pairs of their kind.
    """
    posterior = RowPosterior(sweep, None, false_join_cost)
    likelihoods = _log_likelihoods(sweep, stream, posterior)
    draws = np.random.default_rng(seed).multinomial(
        len(likelihoods), np.full(len(likelihoods), 1 / len(likelihoods)), BOOTSTRAP_ROUNDS
    )
    chosen = []
    for draw in (*draws, np.ones(len(likelihoods))):
        posterior.log_odds = np.tensordot(draw, likelihoods, axes=1)
        scores = posterior.expected()
        chosen.append(middle_of_best(scores))
    low, high = interval_of(sweep.values, chosen[:-1])
    best = chosen[-1]
    mistakes = _mistakes(sweep, stream)
    return Proposal(
        value=sweep.values[best],
        low=low,
        high=high,
        measure="expected agreement",
        settings=settings_of(sweep, best, scores, mistakes),
        remarks=edge_remarks(sweep, best) + _remarks(mistakes[best], stream),
    )


def _log_likelihoods(sweep: Sweep, stream: PairStream, posterior: RowPosterior) -> Floats:
    """Of each pair that is the same question, for every best row and slope: (pairs, bests, slopes)."""
    rows = last_rows_together(sweep)
    counts = parting_counts(sweep, rows)
    counts = np.column_stack([sweep.questions - 1 - counts.sum(axis=1), counts])
    chance = _LEAST_CHANCE + (1.0 - _LEAST_CHANCE) * posterior.chance
    # A text beside itself was never chosen among others.
    pairs = [(i, j) for i, j in zip(stream.first[stream.same], stream.second[stream.same], strict=True) if i != j]
    likelihoods = np.zeros((len(pairs), *posterior.log_odds.shape))
    for at, (one, other) in enumerate(pairs):
        own = np.log(chance[:, :, int(rows[one, other]) + 1])
        # Either may be the one that the other was chosen for.
        likelihoods[at] = own - 0.5 * (np.log(chance @ counts[one]) + np.log(chance @ counts[other]))
    return likelihoods


def _mistakes(sweep: Sweep, stream: PairStream) -> list[Mistakes]:
    together = sweep.after[:, stream.first] == sweep.after[:, stream.second]
    joined = together[:, stream.same].mean(axis=1)
    # Where no pair is labelled different, none was falsely joined that is known of.
    false = together[:, ~stream.same].mean(axis=1) if not stream.same.all() else np.zeros(len(joined))
    return [
        Mistakes(1000.0 * wrong, 1000.0 * (1.0 - found), "pairs of their kind")
        for wrong, found in zip(false.tolist(), joined.tolist(), strict=True)
    ]


def _remarks(mistakes: Mistakes, stream: PairStream) -> tuple[str, ...]:
    if stream.same.all():
        return ("no pair is labelled different: false joins cannot be counted",)
    if mistakes.false_joins > 500.0:
        return (
            "most pairs labelled different are joined: near ones of a stream that has many more; if they weigh more"
            " than that, raise --false-join-cost",
        )
    return ()
