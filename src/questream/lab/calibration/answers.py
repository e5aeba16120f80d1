"""A value of a sweep from a few answers to "same question?", each asked where it informs most.

An answer turns the odds of all values to be the best, and may be wrong. The next is asked about the one at
which it is expected to say most about the best one (mutual information: Lindley 1956, MacKay 1992).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from questream.errors import QuestreamError
from questream.lab.calibration.posterior import RowPosterior, last_rows_together, parting_counts
from questream.lab.calibration.proposal import Proposal, edge_remarks, middle_of_best, settings_of
from questream.lab.calibration.sweep import Floats, Sweep, require_enough

_WRONG_ANSWERS = 0.06
# Fewer questions than this share part at a value: their answers say nothing about others.
_FEWEST_PARTING = 0.02
_DRAWS = 20

# Every so many answers one is about the biggest clusters, which the values tried may not part.
_BIGGEST_EVERY = 4
_BIGGEST_CLUSTERS = 3
_BIGGEST_QUESTIONS = 5
_FEWEST_OF_BIGGEST = 5
_MOSTLY_APART = 2 / 3

# Clusters at the proposed value then agree so well with those at the best one that more answers hardly matter.
ENOUGH_AGREEMENT = 0.98
# With less, what is proposed may cost points: most of what loses more than 3 of them has less (docs/calibration.md).
_CLEAR_AGREEMENT = 0.95
# Less than this is expected to be gained: what is in force stays.
_NO_CLEAR_GAIN = 0.1
FEWEST_ANSWERS = 12


@dataclass(frozen=True, slots=True)
class Ask:
    """Are questions `first` and `second` the same? They are in one cluster up to the sweep's `row`."""

    first: int
    second: int
    row: int


class Inquiry:
    """The best value of a sweep, by answers about its questions; `guess` is the best value by the sample alone.

    A value `in_force` is proposed unless the answers speak clearly for another, which would give all a new id.
    Raises QuestreamError for fewer than 100 questions, or where no two ever meet.
    """

    def __init__(
        self,
        sweep: Sweep,
        guess: float | None = None,
        false_join_cost: float = 1.0,
        seed: int = 0,
        in_force: float | None = None,
    ) -> None:
        require_enough(sweep.questions)
        self._sweep = sweep
        self._in_force = in_force
        self._random = np.random.default_rng(seed)
        self._posterior = RowPosterior(sweep, guess, false_join_cost)
        self._same = _WRONG_ANSWERS + (1.0 - 2.0 * _WRONG_ANSWERS) * self._posterior.chance[:, :, 1:]
        self._rows = last_rows_together(sweep)
        sizes = np.stack([np.bincount(clusters)[clusters] for clusters in sweep.after], axis=1)
        # Of each question's cluster in each row the share that it is not with at any higher one, (n, t).
        self._share = parting_counts(sweep, self._rows) / sizes
        if not self._share.any():
            raise QuestreamError("no two questions of the sample are alike: there is nothing to ask about")
        parting = (self._share > 0).mean(axis=0)
        # In a stream of duplicates few part anywhere: then all that do are worth asking about.
        self._askable = parting >= min(_FEWEST_PARTING, float(parting.max()))
        self.answers: dict[tuple[int, int], bool] = {}
        self._passed_over: set[tuple[int, int]] = set()
        self._of_biggest: set[tuple[int, int]] = set()

    def asks(self, most: int) -> Iterator[Ask]:
        """One question after the other, each answered or passed over before the next; up to `most` answers, with those
        before, until they suffice or nothing is left that is worth asking.
        """
        while len(self.answers) < most and not self.is_sure:
            ask = self.next()
            if ask is None:
                return
            yield ask

    def next(self) -> Ask | None:
        """The pair whose answer is expected to inform most; None once every pair that is worth it was asked.

        A question is drawn by how much of its cluster parts there, and then one of those that it parts
        from: so an answer represents the share of the cluster that the value decides about. Now and then a pair is
        drawn from the biggest clusters at the value that the answers speak for so far.
        """
        if (len(self.answers) + 1) % _BIGGEST_EVERY == 0:
            ask = self._next_of_biggest()
            if ask is not None:
                return ask
        worth = np.where(self._askable, self._information(), -1.0)
        for row in np.argsort(-worth).tolist():
            if worth[row] < 0.0:
                break
            chances = self._share[:, row] / self._share[:, row].sum()
            for first in self._random.choice(len(chances), size=_DRAWS, p=chances).tolist():
                second = int(self._random.choice(np.flatnonzero(self._rows[first] == row)))
                if self._is_new(first, second):
                    return Ask(first, second, row)
        return None

    def _next_of_biggest(self) -> Ask | None:
        """Two of one of the biggest clusters, any two alike, so that the answers say what such a cluster is made of."""
        clusters = self._sweep.after[middle_of_best(self._posterior.expected())]
        sizes = np.bincount(clusters)
        biggest = np.argsort(-sizes, kind="stable")[:_BIGGEST_CLUSTERS]
        members = np.flatnonzero(np.isin(clusters, biggest[sizes[biggest] >= _BIGGEST_QUESTIONS]))
        for first in self._random.permutation(members)[:_DRAWS].tolist():
            second = int(self._random.choice(members[(clusters[members] == clusters[first]) & (members != first)]))
            if self._is_new(first, second):
                self._of_biggest.add(_key(first, second))
                return Ask(first, second, int(self._rows[first, second]))
        return None

    def _is_new(self, first: int, second: int) -> bool:
        return _key(first, second) not in self.answers.keys() | self._passed_over

    def add_answer(self, first: int, second: int, same: bool) -> bool:
        """Learn an answer; False if it adds nothing, because the two never meet or were asked about before."""
        row = int(self._rows[first, second])
        if row < 0 or _key(first, second) in self.answers:
            return False
        self.answers[_key(first, second)] = same
        chance = self._same[:, :, row]
        self._posterior.log_odds += np.log(chance if same else 1.0 - chance)
        return True

    def pass_over(self, ask: Ask) -> None:
        """The user does not know: the pair is not asked again."""
        self._passed_over.add(_key(ask.first, ask.second))

    @property
    def expected_agreement(self) -> float:
        """BCubed F that clusters at the likeliest value are expected to have with those at the best one."""
        return float(self._posterior.expected().max())

    @property
    def is_sure(self) -> bool:
        """True if more answers would hardly change the clusters."""
        return len(self.answers) >= FEWEST_ANSWERS and self.expected_agreement >= ENOUGH_AGREEMENT

    def proposal(self) -> Proposal:
        """The proposal of the answers so far. Raises QuestreamError without any."""
        if not self.answers:
            raise QuestreamError("no answers: without any, calibrate from the sample alone")
        expected = self._posterior.expected()
        best = middle_of_best(expected)
        value = self._sweep.values[best]
        kept: tuple[str, ...] = ()
        low, high = self._posterior.interval()
        row_in_force = best if self._in_force is None else self._sweep.at(self._in_force)
        if self._in_force is not None and expected[row_in_force] >= expected[best] - _NO_CLEAR_GAIN:
            kept = self._kept(self._in_force, value)
            best, value = row_in_force, self._in_force
        return Proposal(
            value=value,
            low=low,
            high=high,
            measure="expected agreement",
            settings=settings_of(self._sweep, best, expected),
            remarks=kept
            + edge_remarks(self._sweep, best)
            + self._one_sided()
            + (() if kept else self._open(best, float(expected[best])))
            + self._heaps(best),
        )

    def _open(self, best: int, agreement: float) -> tuple[str, ...]:
        if agreement >= _CLEAR_AGREEMENT:
            return ()
        dial = self._sweep.dial
        return (
            f"the answers leave the {dial.name} open: groups at the best one are expected to agree with those at"
            f" {dial.written(self._sweep.values[best])} by {agreement:.2f}; compare the examples, or give more answers",
        )

    def _kept(self, in_force: float, likely: float) -> tuple[str, ...]:
        dial = self._sweep.dial
        if self._sweep.at(in_force) == self._sweep.at(likely):
            return ()
        return (
            f"{dial.written(likely)} suits these answers best, but not clearly better than"
            f" {dial.written(in_force)}, the value of {dial.key}, which stays: more answers show more",
        )

    def _heaps(self, best: int) -> tuple[str, ...]:
        """Answers at another value say nothing about the clusters at this one."""
        clusters, dial = self._sweep.after[best], self._sweep.dial
        answers = [
            self.answers[one, two]
            for one, two in self._of_biggest & self.answers.keys()
            if clusters[one] == clusters[two]
        ]
        apart = answers.count(False)
        if len(answers) < _FEWEST_OF_BIGGEST or apart < _MOSTLY_APART * len(answers):
            return ()
        return (
            "the biggest clusters may be heaps, which no team can take: of"
            f" {len(answers)} pairs drawn from them at {dial.written(self._sweep.values[best])} {apart} are not the"
            f" same; a higher {dial.name} parts more of them",
        )

    def _one_sided(self) -> tuple[str, ...]:
        name = self._sweep.dial.name
        if all(self.answers.values()):
            return (f"every answer was yes: the {name} may be lower, by an unknown amount",)
        if not any(self.answers.values()):
            return (f"every answer was no: the {name} must be higher, by an unknown amount",)
        return ()

    def _information(self) -> Floats:
        """The information that an answer about each row is expected to give on the best row, at any slope, in nats."""
        posterior = self._posterior.odds()
        weight = posterior.sum(axis=1)
        expected = np.einsum("bs,bsr->br", posterior, self._same)
        given = expected / np.maximum(weight, 1e-300)[:, None]
        information: Floats = _entropy(expected.sum(axis=0)) - weight @ _entropy(given)
        return information


def _key(first: int, second: int) -> tuple[int, int]:
    return min(first, second), max(first, second)


def _entropy(chance: Floats) -> Floats:
    chance = np.clip(chance, 1e-12, 1.0 - 1e-12)
    entropy: Floats = -(chance * np.log(chance) + (1.0 - chance) * np.log(1.0 - chance))
    return entropy
