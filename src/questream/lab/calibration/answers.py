"""A threshold from a few answers to "same question?", each asked where it tells most.

An answer turns the odds of all thresholds to be the best, and may be wrong. The next is asked about the threshold at
which it is expected to say most about the best one (mutual information: Lindley 1956, MacKay 1992).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from questream.errors import QuestreamError
from questream.lab.calibration.belief import Belief, last_rows_together, parting_counts
from questream.lab.calibration.proposal import Proposal, edge_remarks, middle_of_best, settings_of
from questream.lab.calibration.sweep import Floats, Sweep, require_enough

_WRONG_ANSWERS = 0.06
# Fewer questions than this share part at a threshold: what they tell is their own affair.
_FEWEST_PARTING = 0.02
_DRAWS = 20

# Clusters at the proposed threshold then agree so well with those at the best one that more answers hardly matter.
ENOUGH_AGREEMENT = 0.98
FEWEST_ANSWERS = 12


@dataclass(frozen=True, slots=True)
class Ask:
    """Are questions `first` and `second` the same? They are in one cluster up to the sweep's threshold of `row`."""

    first: int
    second: int
    row: int


class Inquiry:
    """What answers about the questions of a sweep tell of its best threshold; `guess` is what the sample alone says.

    Raises QuestreamError for fewer than 100 questions, or where no two ever meet.
    """

    def __init__(self, sweep: Sweep, guess: float | None = None, false_join_cost: float = 1.0, seed: int = 0) -> None:
        require_enough(sweep.questions)
        self._sweep = sweep
        self._random = np.random.default_rng(seed)
        self._belief = Belief(sweep, guess, false_join_cost)
        self._same = _WRONG_ANSWERS + (1.0 - 2.0 * _WRONG_ANSWERS) * self._belief.chance[:, :, 1:]
        self._rows = last_rows_together(sweep)
        sizes = np.stack([np.bincount(clusters)[clusters] for clusters in sweep.after], axis=1)
        # Of each question's cluster at each threshold the share that it is not with at any higher one, (n, t).
        self._share = parting_counts(sweep, self._rows) / sizes
        if not self._share.any():
            raise QuestreamError("no two questions of the sample are alike: there is nothing to ask about")
        parting = (self._share > 0).mean(axis=0)
        # In a stream of duplicates few part anywhere: then all that do are worth asking about.
        self._askable = parting >= min(_FEWEST_PARTING, float(parting.max()))
        self.answers: dict[tuple[int, int], bool] = {}
        self._passed_over: set[tuple[int, int]] = set()

    def next(self) -> Ask | None:
        """The pair whose answer is expected to tell most; None where all that are worth it were asked.

        A question is drawn by how much of its cluster parts at that threshold, and then one of those that it parts
        from: so an answer stands for the share of the cluster that the threshold decides about.
        """
        worth = np.where(self._askable, self._information(), -1.0)
        for row in np.argsort(-worth).tolist():
            if worth[row] < 0.0:
                break
            chances = self._share[:, row] / self._share[:, row].sum()
            for first in self._random.choice(len(chances), size=_DRAWS, p=chances).tolist():
                second = int(self._random.choice(np.flatnonzero(self._rows[first] == row)))
                if _key(first, second) not in self.answers.keys() | self._passed_over:
                    return Ask(first, second, row)
        return None

    def tell(self, first: int, second: int, same: bool) -> bool:
        """Learn an answer; False if it tells nothing, because the two never meet or were asked about before."""
        row = int(self._rows[first, second])
        if row < 0 or _key(first, second) in self.answers:
            return False
        self.answers[_key(first, second)] = same
        chance = self._same[:, :, row]
        self._belief.log_odds += np.log(chance if same else 1.0 - chance)
        return True

    def pass_over(self, ask: Ask) -> None:
        """The user cannot tell: it is not asked again."""
        self._passed_over.add(_key(ask.first, ask.second))

    @property
    def expected_agreement(self) -> float:
        """BCubed F that clusters at the proposed threshold are expected to have with those at the best one."""
        return float(self._belief.expected().max())

    @property
    def is_sure(self) -> bool:
        """Whether more answers would hardly change the clusters."""
        return len(self.answers) >= FEWEST_ANSWERS and self.expected_agreement >= ENOUGH_AGREEMENT

    def proposal(self) -> Proposal:
        """What the answers so far come to. Raises QuestreamError without any."""
        if not self.answers:
            raise QuestreamError("no answers: without any, calibrate from the sample alone")
        expected = self._belief.expected()
        best, thresholds = middle_of_best(expected), self._sweep.thresholds
        low, high = self._belief.interval()
        return Proposal(
            threshold=thresholds[best],
            low=low,
            high=high,
            measure="expected agreement",
            settings=settings_of(self._sweep, best, expected),
            remarks=edge_remarks(thresholds, best) + _one_sided(list(self.answers.values())),
        )

    def _information(self) -> Floats:
        """What an answer about each row is expected to tell of the best threshold, whatever the slope, in nats."""
        belief = self._belief.odds()
        weight = belief.sum(axis=1)
        expected = np.einsum("bs,bsr->br", belief, self._same)
        given = expected / np.maximum(weight, 1e-300)[:, None]
        information: Floats = _entropy(expected.sum(axis=0)) - weight @ _entropy(given)
        return information


def _key(first: int, second: int) -> tuple[int, int]:
    return min(first, second), max(first, second)


def _entropy(chance: Floats) -> Floats:
    chance = np.clip(chance, 1e-12, 1.0 - 1e-12)
    entropy: Floats = -(chance * np.log(chance) + (1.0 - chance) * np.log(1.0 - chance))
    return entropy


def _one_sided(answers: Sequence[bool]) -> tuple[str, ...]:
    if all(answers):
        return ("every answer was yes: they tell that the threshold may be lower, not how low",)
    if not any(answers):
        return ("every answer was no: they tell that the threshold must be higher, not how high",)
    return ()
