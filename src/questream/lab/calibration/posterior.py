"""The posterior of the best row of a sweep, given labels about pairs of its questions.

Two questions end in one group up to some row of the sweep: that is the decision a label judges. Joins that a coarse row
alone makes are mostly wrong, those that a fine one makes too mostly right; with the best row b, that two which are one
up to row t are the same question is taken to have the chance

    1 / (1 + exp(-slope (t - b) - log(p / (1 - p))))

Several slopes represent streams in which groups are more or less distinct. p is what it takes at b: F gains by joins
that are right with more than half of the best F itself (Lipton, Elkan, Naryanaswamy: "Optimal Thresholding of
Classifiers to Maximize F1 Measure", 2014). Proposed is the row whose groups are expected to agree best with
those of b, whichever it is.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from questream.lab.calibration.proposal import CONFIDENCE, bounds_of
from questream.lab.calibration.sweep import Floats, Sweep, weighted_f
from questream.lab.evaluation.agreement import shared_counts

# A row: .025 of a cosine, or half an octave of a resolution.
SLOPES = (0.3, 0.5, 0.875)
# The best F of a stream of intents. Duplicates, whose best F is near 1, lose little by it: few of their joins are in
# doubt.
_BEST_F = 0.54
# Half of the odds stay even, however sure the guess: a sample alone can be wholly wrong.
_GUESS_WEIGHT = 0.5
_GUESS_SPREAD = 2.0
# The best row may lie beyond the grid on either side: all is one, or nothing is.
_ROWS_BELOW = 2
_ROWS_BEYOND = 5


class RowPosterior:
    """The probability of each row to be the best of the sweep; `guess` is the value that the sample alone speaks for.

    `chance` (bests, slopes, rows + 1) is that two are the same question if they share a group up to row r - 1; at
    r = 0 they never do. `log_odds` (bests, slopes) are those of the labels so far.
    """

    def __init__(self, sweep: Sweep, guess: float | None, false_join_cost: float) -> None:
        self._values = sweep.values
        self.bests: NDArray[np.int64] = np.arange(-_ROWS_BELOW, len(sweep.values) + _ROWS_BEYOND)
        self.chance = self._chances(false_join_cost)
        self.agreement = self._agreements(sweep, false_join_cost)
        self.log_odds = np.log(self._prior(None if guess is None else sweep.at(guess)))[:, None].repeat(
            len(SLOPES), axis=1
        )

    def odds(self) -> Floats:
        """Probability of each best row and slope, (bests, slopes)."""
        odds: Floats = np.exp(self.log_odds - self.log_odds.max())
        odds /= odds.sum()
        return odds

    def expected(self) -> Floats:
        """BCubed F that the groups of each row are expected to have with those of the best one."""
        expected: Floats = self.agreement @ self.odds().sum(axis=1)
        return expected

    def interval(self) -> tuple[float | None, float | None]:
        """The 90 % interval of the best value; None at an end of the grid."""
        reached, tail = self.odds().sum(axis=1).cumsum(), (1.0 - CONFIDENCE) / 2.0
        low, high = (float(self.bests[int(np.searchsorted(reached, q))]) for q in (tail, 1.0 - tail))
        return bounds_of(self._values, low, high)

    def _prior(self, guess: int | None) -> Floats:
        even = np.full(len(self.bests), 1.0 / len(self.bests))
        if guess is None:
            return even
        near = np.exp(-0.5 * ((self.bests - guess) / _GUESS_SPREAD) ** 2)
        prior: Floats = _GUESS_WEIGHT * near / near.sum() + (1.0 - _GUESS_WEIGHT) * even
        return prior

    def _chances(self, false_join_cost: float) -> Floats:
        needed = false_join_cost / (1.0 + false_join_cost) * _BEST_F
        # Two that part between a row and the next are on average half way between them.
        parts = np.arange(-1, len(self._values)) + 0.5
        distance = parts[None, None, :] - self.bests[:, None, None]
        logit = np.array(SLOPES)[None, :, None] * distance + np.log(needed / (1.0 - needed))
        chances: Floats = 1.0 / (1.0 + np.exp(-np.clip(logit, -50, 50)))
        return chances

    def _agreements(self, sweep: Sweep, false_join_cost: float) -> Floats:
        """BCubed F of the groups of each row where those of each best one are true, (rows, bests)."""
        alone = np.arange(sweep.questions)
        columns = []
        for best in range(len(self.bests)):
            row = max(0, best - _ROWS_BELOW)
            true = sweep.after[row] if row < len(sweep.after) else alone
            counts = [shared_counts(clusters, true) for clusters in sweep.after]
            precision = np.array([(shared / here).mean() for shared, here, _ in counts])
            recall = np.array([(shared / there).mean() for shared, _, there in counts])
            columns.append(weighted_f(precision, recall, false_join_cost))
        return np.stack(columns, axis=1)


def last_rows_together(sweep: Sweep) -> NDArray[np.int8]:
    """The last row in which two questions share a group, (n, n); -1 for none and for itself."""
    rows = np.full((sweep.questions, sweep.questions), -1, np.int8)
    for row, clusters in enumerate(sweep.after):
        rows[clusters[:, None] == clusters[None, :]] = row
    np.fill_diagonal(rows, -1)
    return rows


def parting_counts(sweep: Sweep, rows: NDArray[np.int8]) -> NDArray[np.int64]:
    """The number of others that each question shares a group with up to each row, (n, t); `rows` as above."""
    return np.stack([(rows == row).sum(axis=1) for row in range(len(sweep.values))], axis=1)
