"""A plan is made again after others moved or opened clusters: of the last one all is kept that they come not near to.

Workers that open clusters in one namespace refuse each other's commits all the time, and the one that was refused holds
up the rest for as long as it looks again. Nearly always little that it missed matters to its questions: one product of
the batch with the missed changes shows which of them have to be decided anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from questream.clustering.choices import Choice, Found, Plan
from questream.clustering.constraints import Constraints
from questream.clustering.mirror import Ids, Mirror
from questream.clustering.scores import ROUNDING, ScoreTerms
from questream.domain import Matrix, RunnerUp


@dataclass(frozen=True, slots=True)
class MadePlan:
    """A plan and what it was made against: the mirror's clusters by row (count,), its mean, what people decided."""

    plan: Plan
    ids: Ids
    next_id: int
    mean_questions: int
    constraints: Constraints
    thresholds: Mapping[int, float]

    @classmethod
    def of(cls, plan: Plan, mirror: Mirror) -> MadePlan:
        """The plan that was made against the present mirror."""
        return cls(
            plan, mirror.ids.copy(), mirror.next_id, mirror.mean_questions, mirror.constraints, mirror.thresholds
        )

    def may_hold(self, mirror: Mirror, rows: Sequence[int]) -> bool:
        """True if clusters moved or were opened in `rows` alone, and none that a person decided on."""
        return (
            not self.plan.mean_learned
            and mirror.mean_questions == self.mean_questions
            and mirror.constraints is self.constraints
            and mirror.thresholds is self.thresholds
            and np.array_equal(mirror.ids[: len(self.ids)], self.ids)
            and set(mirror.ids[list(rows)].tolist()).isdisjoint(self.constraints.owners.tolist())
        )

    def choices(
        self, mirror: Mirror, rows: Sequence[int], terms: ScoreTerms, dots: Matrix, dot_mean_sum: Matrix
    ) -> list[Choice | None]:
        """The choices that hold beside the mirror's `rows` (k,), which changed; None for a question to decide anew.

        `dots` (n, k) are the products of the questions with these rows' sums and `dot_mean_sum` (n,) those with the
        mean's, `terms` are those of `rows`. What the plan opens has the numbers that are next in the mirror.
        """
        numbered = [self.numbered(choice, mirror) for choice in self.plan.choices]
        if not rows:
            return list(numbered)
        moved = set(mirror.ids[[row for row in rows if row < len(self.ids)]].tolist())
        constants, lengths = np.array([terms.question_terms(dot) for dot in dot_mean_sum.tolist()], np.float32).T
        at = np.array(rows, np.intp)
        scores = _scores(terms, slice(None), dots, constants[:, None], lengths[:, None])
        best = scores.argmax(axis=1)
        ids, similarities = mirror.ids[at[best]].tolist(), scores.max(axis=1).tolist()
        return [
            None
            if choice.cluster_id in moved or (choice.runner_up and choice.runner_up.cluster_id in moved)
            else _beside(choice, RunnerUp(near, similarity), terms.least_threshold, may_pass_fewer=bool(moved))
            for choice, near, similarity in zip(numbered, ids, similarities, strict=True)
        ]

    def kept(self, mirror: Mirror, rows: Sequence[int], choices: Sequence[Choice | None]) -> Plan | None:
        """The plan with these choices beside the changed `rows`, if there is a choice for each question."""
        kept = [choice for choice in choices if choice is not None]
        if len(kept) < len(choices):
            return None
        shift, own = mirror.next_id - self.next_id, self.next_id
        touched = [
            replace(one, cluster_id=one.cluster_id + shift) if one.created else one
            for one in self.plan.touched.values()
        ]
        may_merge = self.plan.may_merge
        if may_merge is not None:
            may_merge = may_merge.renumbered(own, shift, mirror.ids[list(rows)].tolist())
        return Plan(kept, {one.cluster_id: one for one in touched}, 0, may_merge)

    def numbered(self, choice: Choice, mirror: Mirror) -> Choice:
        """The choice with the numbers that what the plan opens has now."""
        shift, own, runner_up = mirror.next_id - self.next_id, self.next_id, choice.runner_up
        if not shift:
            return choice
        if runner_up is not None and runner_up.cluster_id >= own:
            runner_up = RunnerUp(runner_up.cluster_id + shift, runner_up.similarity)
        cluster_id = choice.cluster_id
        if cluster_id is not None and cluster_id >= own:
            cluster_id += shift
        return replace(choice, cluster_id=cluster_id, runner_up=runner_up)


class Replay:
    """Makes the rest of a plan again, beside questions that are decided anew: they move clusters as it did not.

    A cluster's row is its place among those that the plan is made of: `row_of` has it by id. `choices` are those of
    `made` that hold beside the `rows` that changed.
    """

    def __init__(
        self,
        made: MadePlan,
        mirror: Mirror,
        row_of: Mapping[int, int],
        rows: Sequence[int],
        choices: Sequence[Choice | None],
    ) -> None:
        self._choices = choices
        self._planned = [made.numbered(choice, mirror) for choice in made.plan.choices]
        self._rows = row_of
        self._changed = set(rows)
        self._owned = {row_of[owner] for owner in mirror.constraints.owners.tolist()}
        self._opened: dict[int, int] = {}
        # The rows that have changed since the plan was made first.
        self._moved: list[int] = []

    def found(
        self, i: int, dots: Matrix, products: ScoreTerms, constant: float, length: float, ids: Ids
    ) -> Found | None:
        """The former and the present choice for question `i`; None if it has to be decided anew.

        `dots` are its products with the sums and `ids` the clusters, by row; the rest is as in ScoreTerms.
        """
        choice = self._choices[i]
        if choice is None:
            return None
        row = products.count if choice.created else self._row_of(choice.cluster_id)
        if row in self._moved or (row is None and not choice.is_unmatched):
            return None
        if choice.runner_up is not None:
            next_row = self._row_of(choice.runner_up.cluster_id)
            if next_row is None or next_row in self._moved:
                return None
            choice = replace(choice, runner_up=RunnerUp(int(ids[next_row]), choice.runner_up.similarity))
        if self._moved:
            at = np.array(self._moved, np.intp)
            scores = _scores(products, at, dots[at], np.float32(constant), np.float32(length))
            best = int(scores.argmax())
            near = RunnerUp(int(ids[at[best]]), float(scores[best]))
            beside = _beside(choice, near, products.least_threshold, may_pass_fewer=True)
            if beside is None or not self._owned.isdisjoint(self._moved):
                return None
            choice = beside
        return Found(row, choice.similarity, choice.runner_up, choice.checked_by, choice.reason)

    def note(self, i: int, row: int | None, *, opens: bool, is_kept: bool) -> None:
        """Question `i` goes to `row`, which it `opens`, or one that is there, or to none."""
        planned = self._planned[i]
        if opens and planned.created and planned.cluster_id is not None and row is not None:
            self._opened[planned.cluster_id] = row
        elif not is_kept:
            before = self._row_of(planned.cluster_id)
            if row != before or row in self._changed:
                self._moved.extend({one for one in (row, before) if one is not None} - set(self._moved))

    def _row_of(self, cluster_id: int | None) -> int | None:
        return None if cluster_id is None else self._rows.get(cluster_id, self._opened.get(cluster_id))


def _beside(choice: Choice, near: RunnerUp, threshold: float, *, may_pass_fewer: bool) -> Choice | None:
    """The choice where `near` is the nearest of what changed; None where that may be nearer than what was chosen.

    Differences within rounding are decided anew. `may_pass_fewer`: a cluster that differed from the question may
    have moved away from it.
    """
    runner_up = choice.runner_up
    if near.similarity >= (choice.similarity if choice.joins else threshold) - ROUNDING:
        return None
    if choice.reason is not None:
        # As many as are ever looked at may have been passed over: without one, the next would be looked at.
        return choice if choice.joins or not may_pass_fewer else None
    if runner_up is None or near.similarity > runner_up.similarity + ROUNDING:
        similarity = near.similarity if choice.is_unmatched else choice.similarity
        return replace(choice, runner_up=near, similarity=similarity)
    return choice if near.similarity < runner_up.similarity - ROUNDING else None


def _scores(
    terms: ScoreTerms,
    rows: NDArray[np.intp] | slice,
    dots: Matrix,
    constants: Matrix | np.float32,
    lengths: Matrix | np.float32,
) -> Matrix:
    """Similarities of questions with `rows` (k,), from their products `dots` (..., k) with these."""
    scores = dots * terms.scale[rows] + terms.shift[rows] + constants * terms.inverse[rows]
    found: Matrix = np.clip(scores / lengths + terms.leeway[rows], -1.0, 1.0)
    return found
