"""No twins: what every founder scored against the older clusters when it opened its own, in float64 from DESIGN.

With the stream's mean m (of its first questions, shrunk as if `mean_prior` of mean zero had come before), S the sum and
n the number of a cluster's members, s = S/n:

    score(q, cluster) = (q - m).(s - m) / (|q - m| w)     w^2 = |s|^2 - 2 s.m + m.m, with 1 for |s|^2 in average linkage

and in adaptive linkage (1 - |s - m|^2 / w^2) / 2 more, with the w of average linkage.

Redis' log tells how each cluster stood before and after each commit. Within one commit the order of its questions is
not told: an older cluster is called a twin only if it was near enough before it, after it, and in whatever order. Where
the log was trimmed or lost, published states stand for that: those with the sizes that decisions tell of around the
founder's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tests.checker.evidence import Place
from tests.checker.published import Decision, Run, Told, milliseconds
from tests.checker.rules import Floats, Rules
from tests.checker.stored import MeanMoved, Moved, Stored
from tests.checker.violation import Promise, Violation

_TOLD_WITHIN_MS = 5_000
# What more of them made of a cluster in the meantime has too many possibilities.
_MOST_JOINED = 10

# The vectors of those that joined an older cluster in the batch that opened a cluster: (its number, the older one's).
JoinedBeside = Callable[[int, int], list[Floats]]


@dataclass(frozen=True, slots=True)
class Centroid:
    """The raw sum (d,) of a cluster's centroid members, and their number."""

    members: int
    vector_sum: Floats


@dataclass(slots=True)
class Standing:
    """How a namespace stands: its live clusters by number, and its mean (sum, questions)."""

    clusters: dict[int, Centroid] = field(default_factory=dict)
    mean: Centroid | None = None

    def copy(self) -> Standing:
        """The same, to be left as it is."""
        return Standing(dict(self.clusters), self.mean)


def check_twins(run: Run, rules: Rules) -> Iterator[Violation]:
    """Every founder stood below the threshold of every older cluster, and every other question at or above it."""
    for namespace in run.namespaces:
        decisions = run.decided_in(namespace)
        yield from _check_published_scores(namespace, decisions, rules)
        embed = rules.embed
        if embed is None:
            continue
        created = {d.number: d for d in decisions if d.outcome == "created" and d.number and d.place in run.asked}
        founders = {
            number: np.asarray(embed(run.text(decision.place)), np.float64) for number, decision in created.items()
        }
        stored = run.evidence.stored.get(namespace) or Stored()
        opened = _opened_in_log(stored, created, decisions)
        joined_beside = _joins_by_batch(run, decisions, created, embed)
        twins = dict(_twins_by_log(stored, founders, opened, joined_beside, rules))
        told = run.told.get(namespace) or Told()
        for number in founders.keys() - opened.keys():
            older = _twin_by_topic(told, created[number], founders[number], decisions, rules)
            twins |= {number: older} if older is not None else {}
        for number, older in sorted(twins.items()):
            yield Violation(Promise.NO_TWINS, f"{namespace}/c{number}", f"was opened within the threshold of c{older}")


def _joins_by_batch(
    run: Run, decisions: Iterable[Decision], created: Mapping[int, Decision], embed: Callable[[str], NDArray[Any]]
) -> JoinedBeside:
    places: dict[tuple[int | None, str], list[Place]] = defaultdict(list)
    for decision in decisions:
        if decision.outcome == "joined" and decision.place in run.asked:
            places[decision.number, decision.told["decided_at"]].append(decision.place)

    def joined_beside(number: int, older: int) -> list[Floats]:
        together = places.get((older, created[number].told["decided_at"]), [])
        return [np.asarray(embed(run.text(place)), np.float64) for place in together]

    return joined_beside


def score(question: Floats, centroids: Iterable[Centroid], mean: Centroid | None, rules: Rules) -> Floats:
    """The similarity of a unit question (d,) to each centroid, (k,)."""
    clusters = list(centroids)
    s = np.stack([cluster.vector_sum / cluster.members for cluster in clusters])
    m = np.zeros_like(question)
    if mean is not None and rules.similarity == "centred":
        m = mean.vector_sum / (mean.members + rules.mean_prior)
    square = np.sum(s * s, axis=1) if rules.linkage == "centroid" else 1.0
    lengths = np.sqrt(np.maximum(square - 2 * s @ m + m @ m, 1e-9)) * max(float(np.linalg.norm(question - m)), 1e-9)
    scores: Floats = (s - m) @ (question - m) / lengths
    if rules.linkage == "adaptive":
        scores += (1.0 - np.sum((s - m) ** 2, axis=1) / np.maximum(1.0 - 2 * s @ m + m @ m, 1e-9)) / 2
    return scores


def _check_published_scores(namespace: str, decisions: Iterable[Decision], rules: Rules) -> Iterator[Violation]:
    for decision in decisions:
        subject = f"{namespace}/c{decision.number}"
        if decision.outcome == "created" and decision.runner_up and decision.runner_up[1] >= decision.threshold:
            detail = f"was opened with c{decision.runner_up[0]} within the threshold"
            yield Violation(Promise.NO_TWINS, subject, detail)
        if decision.outcome == "joined" and (decision.similarity is None or decision.similarity < decision.threshold):
            yield Violation(Promise.NO_TWINS, subject, "was joined from below the threshold")
        if abs(decision.threshold - rules.threshold) > rules.tolerance:
            yield Violation(Promise.NO_TWINS, subject, f"was decided at threshold {decision.threshold}")


def _twins_by_log(
    stored: Stored,
    founders: dict[int, Floats],
    opened: dict[int, int],
    joined_beside: JoinedBeside,
    rules: Rules,
) -> Iterator[tuple[int, int]]:
    """(cluster, an older one that was within the threshold), for the clusters that the log saw `opened` at a seq."""
    standing = Standing(mean=_mean_before(stored))
    for seq, changes in _by_seq(stored):
        before = standing.copy()
        for change in changes:
            if isinstance(change, MeanMoved):
                standing.mean = Centroid(change.questions, change.vector_sum)
            elif change.vector_sum is None:
                standing.clusters.pop(change.number, None)
            else:
                standing.clusters[change.number] = Centroid(change.members, change.vector_sum)
        for number in [number for number, at in opened.items() if at == seq]:
            means = [before.mean, standing.mean]
            if before.mean is None and opened.get(1) != seq:
                # A log that begins later does not tell how the mean stood before its first move.
                means = [standing.mean]
            near = _near_throughout(number, founders, before, standing, means, joined_beside, rules)
            if near is not None:
                yield number, near


def _mean_before(stored: Stored) -> Centroid | None:
    """The mean at the beginning of a log in which it does not move: it is frozen, and as it stands now."""
    moves = any(isinstance(change, MeanMoved) for change in stored.log)
    return None if moves or not stored.mean_questions else Centroid(stored.mean_questions, stored.mean_sum)


def _near_throughout(
    number: int,
    founders: dict[int, Floats],
    before: Standing,
    after: Standing,
    means: Sequence[Centroid | None],
    joined_beside: JoinedBeside,
    rules: Rules,
) -> int | None:
    """An older cluster that the founder scored at or above the threshold before the commit, in it and after it."""
    founder = founders[number]
    # A cluster opened in the same commit stood, until another question joined it, at its founder.
    first = {n: Centroid(1, founders[n]) for n in after.clusters if n not in before.clusters and n in founders}
    known = {**before.clusters, **first}
    older = [n for n in known if n < number]
    if not older:
        return None
    lowest = np.full(len(older), np.inf)
    for mean in means:
        for clusters in (known, {**known, **after.clusters}):
            lowest = np.minimum(lowest, score(founder, (clusters[n] for n in older), mean, rules))
    for at in map(int, np.argsort(-lowest)):
        if lowest[at] < _near(rules):
            return None
        joined = joined_beside(number, older[at])
        if _is_near_in_every_order(founder, known[older[at]], joined, means, rules):
            return older[at]
    return None


def _is_near_in_every_order(
    founder: Floats, before: Centroid, joined: Sequence[Floats], means: Sequence[Centroid | None], rules: Rules
) -> bool:
    """Whether it was near enough to the founder after any of the questions that joined it in the founder's commit."""
    if len(joined) > _MOST_JOINED:
        return False
    stands = [
        Centroid(before.members + len(first), before.vector_sum + np.sum(first, axis=0, initial=0.0))
        for count in range(1, len(joined) + 1)
        for first in combinations(joined, count)
    ]
    return all(float(score(founder, stands, mean, rules).min()) >= _near(rules) for mean in means) if stands else True


def _twin_by_topic(
    told: Told, created: Decision, founder: Floats, decisions: Iterable[Decision], rules: Rules
) -> int | None:
    """An older cluster that the founder scored at or above the threshold, for one that the log does not tell of."""
    decided_at = milliseconds(created.told["decided_at"])
    # The largest size of each cluster before the founder's batch, and up to its end.
    before: dict[int | None, int] = {}
    after: dict[int | None, int] = {}
    for decision in decisions:
        at = milliseconds(decision.told["decided_at"])
        if at < decided_at:
            before[decision.number] = max(before.get(decision.number, 0), decision.size)
        if at <= decided_at:
            after[decision.number] = max(after.get(decision.number, 0), decision.size)
    means = _around([(w.entry.timestamp, Centroid(w.mean_questions, w.mean_sum)) for w in told.whole], decided_at)
    for older, states in told.states.items():
        if older >= (created.number or 0) or any(state.merged_into is not None or state.retired for state in states):
            continue
        by_size = {s.size: Centroid(s.members, s.vector_sum) for s in states if s.vector_sum is not None}
        if before.get(older) not in by_size or after[older] not in by_size:
            continue
        # One more than needed: a join may be decided before the founder and committed after it.
        known = [by_size[size] for size in sorted(by_size) if size <= after[older]]
        known = known[-3:] if after[older] != before[older] else known[-2:]
        if all(float(score(founder, known, mean, rules).min()) >= _near(rules) for mean in means or [None]):
            return older
    return None


def _near(rules: Rules) -> float:
    return rules.threshold + rules.tolerance


def _around(history: Sequence[tuple[int, Centroid]], at_ms: int) -> list[Centroid | None]:
    """What may have stood at a moment: all told within `_TOLD_WITHIN_MS` of it, the last before and the first after.

    Workers tell in the order in which they publish, some time after they decided.
    """
    before = [state for moment, state in history if moment < at_ms - _TOLD_WITHIN_MS]
    near = [state for moment, state in history if abs(moment - at_ms) <= _TOLD_WITHIN_MS]
    after = [state for moment, state in history if moment > at_ms + _TOLD_WITHIN_MS]
    return [*before[-1:], *near, *after[:1]]


def _opened_in_log(stored: Stored, created: Mapping[int, Decision], decisions: Iterable[Decision]) -> dict[int, int]:
    """The clusters whose opening the log still tells, each with its seq.

    A cluster's first entry is its opening if it counts no more members than came in the batch of its founder, whose
    decisions bear one time: a log that was trimmed begins with a later one.
    """
    together = Counter((decision.number, decision.told["decided_at"]) for decision in decisions)
    first: dict[int, Moved] = {}
    for change in stored.log:
        if isinstance(change, Moved):
            first.setdefault(change.number, change)
    return {
        number: first[number].seq
        for number, decision in created.items()
        if number in first and 0 < first[number].members <= together[number, decision.told["decided_at"]]
    }


def _by_seq(stored: Stored) -> Iterator[tuple[int, list[Moved | MeanMoved]]]:
    changes: list[Moved | MeanMoved] = []
    for change in stored.log:
        if changes and changes[0].seq != change.seq:
            yield changes[0].seq, changes
            changes = []
        changes.append(change)
    if changes:
        yield changes[0].seq, changes
