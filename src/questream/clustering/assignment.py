"""Assign a micro-batch: products with the clusters that it may come near to and within it, then decisions in turn.

The result equals taking the questions one by one: clusters opened in the batch, centroids that moved in it and the
mean that learns in it are all seen by the questions that come later.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from questream.clustering.choices import Call, Choice, Found, Plan, Touched
from questream.clustering.constraints import Bound
from questream.clustering.contenders import Contenders
from questream.clustering.may_merge import MayMerge, Neighbours
from questream.clustering.mirror import Ids, Mirror, Rows
from questream.clustering.replanning import MadePlan, Replay
from questream.clustering.rules import Rules
from questream.clustering.scores import ScoreTerms
from questream.clustering.second_look.features import Features
from questream.clustering.second_look.kept import Kept, conflict_with, keep, unpack
from questream.domain import CheckedBy, Matrix, RunnerUp, Vector

# While a mean learns, each of its questions is compared with all clusters. Where it is subtracted it learns from a
# namespace's first questions; where it is not, a namespace that an earlier release began has none, but its clusters.
_MOST_BESIDE_A_NEW_MEAN = 2**15
# A question that differs from so many near clusters opens its own, without a look at those behind them.
MOST_PASSED_OVER = 8


class BatchAssigner:
    """Plans one batch of unit vectors (n, d) against a mirror. Products are kept, so that a retry makes few anew.

    `features` are those of the questions' texts, for a second look; without them there is none.
    """

    def __init__(
        self, vectors: Matrix, mirror: Mirror, rules: Rules, features: Sequence[Features] | None = None
    ) -> None:
        self._vectors = vectors
        self._features = features if features is not None and rules.judges else [()] * len(vectors)
        self._mirror = mirror
        self._rules = rules = _learning(mirror, rules)
        self._within: Matrix = vectors @ vectors.T
        self._contenders = Contenders(vectors, mirror, rules)
        self._stale: set[int] = set()
        # The questions that came to clusters behind which there may be better ones than the contenders.
        self._short: set[int] = set()
        self._changed: set[int] = set()
        self._made: MadePlan | None = None
        self._verdicts: dict[Call, bool | None] = {}

    def rescore(self, rows: Iterable[int]) -> None:
        """The mirror moved on: score its changed or added `rows` again before the next plan."""
        self._stale.update(rows)
        self._changed.update(rows)

    def close_calls(self, plan: Plan) -> list[Call]:
        """Questions that join a cluster by little, about which no verdict is known."""
        calls = []
        for i, choice in enumerate(plan.choices):
            cluster_id = choice.cluster_id
            if cluster_id is not None and not choice.created and choice.similarity < self._close(cluster_id):
                call = _call(i, cluster_id, plan.touched.get(cluster_id))
                if call not in self._verdicts:
                    calls.append(call)
        return calls

    def note_verdicts(self, verdicts: Mapping[Call, bool | None]) -> None:
        """Take verdicts for the next plan: true if a question is the cluster's, None where that is not known."""
        self._verdicts.update(verdicts)
        self._made = None

    def plan(self) -> Plan:
        """Decide for every question in order, against the present mirror.

        Of the last plan all is kept that nothing which changed since comes near to.
        """
        while True:
            self._contenders.update(self._stale)
            self._stale.clear()
            plan = self._plan_again() or self._new_plan()
            if not self._short:
                break
            self._contenders.widen(np.array(sorted(self._short), np.int64))
            self._short.clear()
        self._made = MadePlan.of(plan, self._mirror)
        self._changed.clear()
        return plan

    def _plan_again(self) -> Plan | None:
        """The last plan as far as it holds; None where nothing is known to."""
        mirror, made = self._mirror, self._made
        rows = sorted(row for row in self._changed if row < mirror.count)
        if made is None or not made.may_hold(mirror, rows):
            return None
        at = np.array(rows, np.int64)
        columns = self._contenders.columns(at)
        terms = ScoreTerms(mirror, self._rules, room=0, rows=at)
        dots = self._contenders.dots[:, columns]
        choices = made.choices(mirror, rows, terms, dots, self._vectors @ mirror.mean_sum)
        kept = made.kept(mirror, rows, choices)
        if kept is not None:
            return kept
        return self._new_plan(Replay(made, mirror, self._contenders.column_of, columns.tolist(), choices))

    def _new_plan(self, replay: Replay | None = None) -> Plan:
        size = len(self._vectors)
        mirror, contenders, within = self._mirror, self._contenders, self._within
        dots = contenders.dots
        # From here on a cluster's row is its place among the contenders; those that are opened come behind these.
        products = ScoreTerms(mirror, self._rules, room=size, rows=contenders.some)
        bound = Bound(mirror.constraints, contenders.column_of, self._vectors, products, mirror.mean_sum)
        dot_mean_sum = (self._vectors @ mirror.mean_sum).astype(np.float64)
        ids = np.concatenate([mirror.ids[contenders.rows], np.arange(mirror.next_id, mirror.next_id + size)])
        scores = np.empty(products.count + size, np.float32)
        scratch = np.empty_like(scores)
        touched: dict[int, Touched] = {}
        choices: list[Choice] = []
        neighbours = Neighbours(products, ids, contenders.near)
        learned = 0
        for i in range(size):
            constant, length = products.question_terms(float(dot_mean_sum[i]))
            kept = replay.found(i, dots[i], products, constant, length, ids) if replay else None
            view, taken = scores[:0], []
            if kept is None:
                view = _score_row(products, dots[i], constant, length, scores, scratch)
                taken = bound.bind(i, view, constant, length)
            found = kept or self._choose(i, view, length, ids, touched, taken, products)
            row = found.row
            if replay:
                replay.note(i, row, opens=row == products.count, is_kept=kept is not None)
            cluster = None
            if row is not None:
                cluster = self._touched(row, ids, touched)
                self._join(i, row, cluster, products, float(dot_mean_sum[i]))
                if not replay and cluster.learned and cluster.learned[-1] == i and cluster.members > 1:
                    neighbours.note(i, row, float(dots[i, row]), constant, length, view, taken)
            choices.append(_choice(found, cluster))
            if products.mean_questions < self._rules.mean_questions:
                products.learn_mean(dots[i, : products.count], float(dot_mean_sum[i]))
                bound.learn_mean(i)
                dot_mean_sum += within[i]
                learned += 1
        self._stale.update(int(contenders.rows[row]) for row, t in touched.items() if t.learned and not t.created)
        by_id = {cluster.cluster_id: cluster for cluster in touched.values()}
        # Kept scores are not of all clusters.
        is_known = learned == 0 and not replay
        may_merge = MayMerge(neighbours.of, [t for t, c in by_id.items() if c.learned]) if is_known else None
        return Plan(choices, by_id, learned, may_merge)

    def vector_sums(self, plan: Plan) -> dict[int, Vector]:
        """The raw sums (d,) after the batch, by cluster id, of the clusters that learned in it."""
        learners = [touched for touched in plan.touched.values() if touched.learned]
        joined = np.zeros((len(learners), len(self._vectors)), np.float32)
        for at, touched in enumerate(learners):
            joined[at, touched.learned] = 1.0
        sums: Matrix = joined @ self._vectors
        for at, touched in enumerate(learners):
            if not touched.created:
                sums[at] += self._mirror.vector_sum(touched.cluster_id)
        return {touched.cluster_id: sums[at] for at, touched in enumerate(learners)}

    def mean_sum(self, plan: Plan) -> Vector:
        """The raw sum (d,) of the mean after the batch."""
        total: Vector = self._mirror.mean_sum + self._vectors[: plan.mean_learned].sum(axis=0)
        return total

    def _choose(
        self,
        i: int,
        scores: Matrix,
        length: float,
        ids: Ids,
        touched: dict[int, Touched],
        taken: list[int],
        products: ScoreTerms,
    ) -> Found:
        """The row to join or, at len(scores), to open, or none; `taken` gets the rows whose scores are taken out."""
        features, floor = self._features[i], float(self._contenders.floors[i])
        passed_over, reason = None, None
        checked_by: CheckedBy | None = None
        far = products.take_out_far(scores, length)
        # The contenders have all clusters with thresholds of their own: others below the floor are far as well.
        floor_to_join = -math.inf if floor <= self._rules.threshold * length else floor
        for _ in range(MOST_PASSED_OVER):
            # A cluster too far to join is only a runner-up, which is looked for below where far ones are out.
            needs_runner_up = passed_over is None and far is None
            least = floor if needs_runner_up else floor_to_join
            row, similarity = self._take_best(i, scores, length, taken, least)
            if row is None or similarity < products.least_threshold:
                break
            kept = self._kept(row, ids, touched) if features else ()
            differs = conflict_with(features, kept)
            checked_by = checked_by or ("features" if kept else None)
            if differs is None and self._verdicts and similarity < self._close(int(ids[row])):
                verdict = self._verdicts.get(_call(i, int(ids[row]), touched.get(row)))
                checked_by = checked_by if verdict is None else "judge"
                differs = "judge" if verdict is False else None
            if differs is None:
                _put_back(scores, far)
                runner_up = passed_over or _runner_up(*self._take_best(i, scores, length, taken, floor), ids)
                return Found(row, similarity, runner_up, checked_by, reason)
            if passed_over is None:
                passed_over, reason = _runner_up(row, similarity, ids), differs
        _put_back(scores, far)
        if row is None and passed_over is None:
            row, similarity = self._take_best(i, scores, length, taken, floor)
        nearest = passed_over or _runner_up(row, similarity, ids)
        if self._rules.mode == "known-only":
            return Found(None, nearest.similarity if nearest else -1.0, nearest, checked_by, reason)
        return Found(len(scores), 1.0, nearest, checked_by, reason)

    def _take_best(
        self, i: int, scores: Matrix, length: float, taken: list[int], floor: float
    ) -> tuple[int | None, float]:
        """The best row and its similarity; the row is then out of the running, and among those `taken`.

        Where clusters that are not among the rows, and score less than the floor, may be better, question `i` is short.
        """
        best = int(scores.argmax()) if len(scores) else -1
        similarity = float(scores[best]) if len(scores) else -math.inf
        if similarity < floor:
            self._short.add(i)
        if similarity == -math.inf:
            return None, -1.0
        scores[best] = -np.inf
        taken.append(best)
        return best, min(1.0, max(-1.0, similarity / length))

    def _close(self, cluster_id: int) -> float:
        return self._rules.close(self._mirror.thresholds.get(cluster_id))

    def _touched(self, row: int, ids: Ids, touched: dict[int, Touched]) -> Touched:
        """The change of the cluster of a row by the batch: an existing one, or the next to be opened."""
        cluster = touched.get(row)
        if cluster is None:
            rows = self._contenders.rows
            expected = int(self._mirror.members[rows[row]]) if row < len(rows) else 0
            cluster = touched[row] = Touched(int(ids[row]), expected, unpack(self._mirror.kept(int(ids[row]))))
        return cluster

    def _kept(self, row: int, ids: Ids, touched: dict[int, Touched]) -> Kept:
        cluster = touched.get(row)
        return unpack(self._mirror.kept(int(ids[row]))) if cluster is None else cluster.kept

    def _join(self, i: int, row: int, cluster: Touched, products: ScoreTerms, dot_mean_sum: float) -> None:
        """Question `i` joins `row`: from here on the later questions see the moved centroid."""
        cluster.questions.append(i)
        if cluster.members >= self._rules.learning_members:
            return
        cluster.learned.append(i)
        cluster.kept = keep(cluster.kept, self._features[i])
        dots, within = self._contenders.dots, self._within
        if len(cluster.learned) == 1 and cluster.created:
            dots[:, row] = within[:, i]
            products.count += 1
            products.members[row] = 1.0
            products.dot_mean[row] = dot_mean_sum
            products.dot_self[row] = 1.0
        else:
            products.dot_self[row] += 2.0 * float(dots[i, row]) + 1.0
            products.dot_mean[row] += dot_mean_sum
            products.members[row] += 1.0
            dots[i:, row] += within[i:, i]
        products.refresh_row(row)


def _learning(mirror: Mirror, rules: Rules) -> Rules:
    """The rules; on the plain cosine without a mean where that would begin to learn beside too many clusters."""
    begins_late = rules.similarity == "cosine" and not mirror.mean_questions and mirror.count > _MOST_BESIDE_A_NEW_MEAN
    return replace(rules, mean_questions=0) if begins_late else rules


def _score_row(
    products: ScoreTerms, dots: Matrix, constant: float, length: float, scores: Matrix, scratch: Matrix
) -> Matrix:
    """Scores of one question against all clusters, but for the division by its own length."""
    count = products.count
    view = scores[:count]
    np.multiply(dots[:count], products.scale[:count], out=view)
    products.add_terms(view, constant, length, scratch[:count])
    return view


def _choice(found: Found, cluster: Touched | None) -> Choice:
    """The choice of a question that has just joined the cluster, if any."""
    rest = found.runner_up, found.checked_by, found.reason
    if cluster is None:
        return Choice(None, found.similarity, False, 0, *rest)
    rank = len(cluster.questions)
    return Choice(cluster.cluster_id, found.similarity, cluster.created and rank == 1, rank, *rest)


def _call(i: int, cluster_id: int, touched: Touched | None) -> Call:
    is_new = touched is not None and touched.created and bool(touched.questions)
    return Call(i, 0, touched.questions[0]) if touched is not None and is_new else Call(i, cluster_id)


def _runner_up(row: int | None, similarity: float, ids: Ids) -> RunnerUp | None:
    return None if row is None else RunnerUp(int(ids[row]), similarity)


def _put_back(scores: Matrix, far: tuple[Rows, Vector] | None) -> None:
    """The scores of clusters that are not near enough, which `ScoreTerms.take_out_far` took out."""
    if far is not None:
        rows, had = far
        scores[rows] = had
