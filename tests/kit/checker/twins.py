"""No twins: what every founder scored against the older clusters when it opened its own.

Redis' log has each cluster before and after each commit, and `openings` its centroid in between, by the questions of
the commit, when the founder was scored. Where the log was trimmed or lost, published states replace that: those with
the sizes in the decisions around the founder's. An older cluster is a twin only if it was near enough
with each of its possible centroids.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace

import numpy as np

from tests.kit.checker.openings import Openings
from tests.kit.checker.operations import parted_by_people, published_operations
from tests.kit.checker.published import ClusterTopic, Decision, Run, State, milliseconds
from tests.kit.checker.rules import Floats, Rules
from tests.kit.checker.scores import Centroid, score
from tests.kit.checker.stored import MeanMoved, Moved, Stored
from tests.kit.checker.thresholds import Thresholds
from tests.kit.checker.violation import Promise, Violation

_PUBLISHED_WITHIN_MS = 5_000
# A worker's clock that is further off than this says nothing of when it decided.
_CREDIBLE_MS = 600_000
# Published scores have six digits: one just below the threshold can be rounded to it.
_ROUNDED = 0.5e-6
# How far beyond the means that were looked at those between them may lead, as a part of their range.
_BETWEEN = 0.25


@dataclass(slots=True)
class Snapshot:
    """A namespace at one moment: its live clusters by number, and its mean, None where that is not known."""

    clusters: dict[int, Centroid] = field(default_factory=dict)
    mean: Centroid | None = None

    def copy(self) -> Snapshot:
        """The same, to be left as it is."""
        return Snapshot(dict(self.clusters), self.mean)


def check_twins(run: Run, rules: Rules) -> Iterator[Violation]:
    """Every founder was below the threshold of every older cluster, and every other question at or above it."""
    published = published_operations(run.evidence)
    for namespace in run.namespaces:
        decisions = run.decided_in(namespace)
        own = Thresholds(run, namespace)
        yield from _check_published_scores(namespace, decisions, own, rules)
        if rules.embed is None:
            continue
        created = {d.number: d for d in decisions if d.outcome == "created" and d.number and d.place in run.asked}
        openings = Openings(run, namespace, decisions, rules)
        stored = run.evidence.stored.get(namespace) or Stored()
        # One that a merge was taken back of is in the log a second time as it was opened.
        parted = parted_by_people(published.get(namespace, ()))
        once = {number: founder for number, founder in created.items() if number not in parted}
        opened = _opened_in_log(stored, once, openings, rules)
        twins = dict(_twins_by_log(stored, created, opened, openings, own, rules))
        topic = run.cluster_topics.get(namespace) or ClusterTopic()
        for number in created.keys() - opened.keys():
            older = _twin_by_topic(topic, created[number], decisions, openings, own, parted, rules)
            twins |= {number: older} if older is not None else {}
        for number, older in sorted(twins.items()):
            yield Violation(Promise.NO_TWINS, f"{namespace}/c{number}", f"was opened within the threshold of c{older}")


def _check_published_scores(
    namespace: str, decisions: Iterable[Decision], own: Thresholds, rules: Rules
) -> Iterator[Violation]:
    usual = [rules.threshold, *(one.threshold for one in rules.operated if one.namespace == namespace)]
    for decision in decisions:
        subject = f"{namespace}/c{decision.number}"
        if decision.outcome == "created" and decision.runner_up:
            number, similarity = decision.runner_up
            if similarity > max(own.of(number, decision.threshold)) + _ROUNDED:
                yield Violation(Promise.NO_TWINS, subject, f"was opened with c{number} within the threshold")
        if decision.outcome == "joined" and (
            decision.similarity is None or decision.similarity < decision.threshold - _ROUNDED
        ):
            yield Violation(Promise.NO_TWINS, subject, "was joined from below the threshold")
        joined = decision.number if decision.outcome == "joined" else None
        known = {threshold for one in usual if one for threshold in own.of(joined, one)}
        if not any(abs(decision.threshold - one) <= rules.tolerance for one in known):
            yield Violation(Promise.NO_TWINS, subject, f"was decided at threshold {decision.threshold}")


def _twins_by_log(
    stored: Stored,
    created: Mapping[int, Decision],
    opened: dict[int, int],
    openings: Openings,
    own: Thresholds,
    rules: Rules,
) -> Iterator[tuple[int, int]]:
    """(cluster, an older one that was within the threshold), for the clusters that the log saw `opened` at a seq."""
    snapshot = Snapshot(mean=_mean_at_first(stored, opened))
    for seq, changes in _by_seq(stored):
        before = snapshot.copy()
        for change in changes:
            if isinstance(change, MeanMoved):
                snapshot.mean = Centroid(change.questions, change.vector_sum)
            elif change.vector_sum is None:
                snapshot.clusters.pop(change.number, None)
            else:
                snapshot.clusters[change.number] = Centroid(change.members, change.vector_sum)
        for number in [number for number, at in opened.items() if at == seq]:
            founder = created[number]
            mean = before.mean
            if mean is None and snapshot.mean is not None:
                mean = openings.mean_before(founder, snapshot.mean)
            if mean is None:
                continue
            means = openings.means(founder, mean)
            candidates = {n: [centroid] for n, centroid in before.clusters.items() if n < number}
            candidates |= {n: [] for n, at in opened.items() if at == seq and n < number}
            near = _near_throughout(founder, candidates, means, openings, own, rules)
            if near is not None:
                yield number, near


def _mean_at_first(stored: Stored, opened: Mapping[int, int]) -> Centroid | None:
    """The mean before the log's first entry; None where that is not known."""
    dimension = next((len(c.vector_sum) for c in stored.log if c.vector_sum is not None), 0)
    nothing = Centroid(0, np.zeros(dimension))
    if not any(isinstance(change, MeanMoved) for change in stored.log):
        # It is frozen, as it is now.
        return Centroid(stored.mean_questions, stored.mean_sum) if stored.mean_questions else nothing
    return nothing if stored.log and opened.get(1) == stored.log[0].seq else None


def _near_throughout(
    founder: Decision,
    candidates: Mapping[int, Sequence[Centroid]],
    means: Sequence[Centroid | None],
    openings: Openings,
    own: Thresholds,
    rules: Rules,
) -> int | None:
    """An older cluster that the founder scored at or above its threshold, whatever its centroid was before the batch.

    One with no candidate was opened in the founder's batch. One that may have turned the founder away is none.
    """
    vector = openings.vector(founder)
    for number, befores in candidates.items():
        rules = replace(rules, threshold=max(own.of(number, founder.threshold)))
        if openings.turned_away.may_have(number, vector):
            continue
        known: Sequence[Centroid | None] = befores or [None]
        centroids = [centroid for before in known for centroid in openings.centroids(founder, number, before)]
        if centroids and _is_near(vector, centroids, means, rules):
            return number
    return None


def _is_near(vector: Floats, centroids: Sequence[Centroid], means: Sequence[Centroid | None], rules: Rules) -> bool:
    """True if each of these centroids was near enough to the founder at each of these means and between them."""
    needed = rules.threshold + rules.tolerance
    # Most clusters are far from a founder, and one mean is enough to see that.
    if (score(vector, centroids, means[0], rules) < needed).any():
        return False
    scores = np.stack([score(vector, centroids, mean, rules) for mean in means])
    lowest, highest = scores.min(axis=0), scores.max(axis=0)
    return bool((lowest - _BETWEEN * (highest - lowest) >= needed).all())


def _twin_by_topic(
    topic: ClusterTopic,
    founder: Decision,
    decisions: Iterable[Decision],
    openings: Openings,
    own: Thresholds,
    parted: Set[int],
    rules: Rules,
) -> int | None:
    """An older cluster that the founder scored at or above the threshold, for one that is not in the log.

    The time at which a merge was undone is not known: a cluster of `parted` may have been as it ever was.
    """
    decided_at = milliseconds(founder.value["decided_at"])
    if not 0 <= decided_at - _asked_at(founder) <= _CREDIBLE_MS:
        return None
    # The largest size of each cluster before the founder's batch, and up to its end.
    before: dict[int | None, int] = {}
    after: dict[int | None, int] = {}
    for decision in decisions:
        at = max(milliseconds(decision.value["decided_at"]), _asked_at(decision))
        if at < decided_at:
            before[decision.number] = max(before.get(decision.number, 0), decision.size)
        if at <= decided_at:
            after[decision.number] = max(after.get(decision.number, 0), decision.size)
    around = _around([(w.entry.timestamp, Centroid(w.mean_questions, w.mean_sum)) for w in topic.whole], decided_at)
    means = [mean for centroid in around for mean in _means_in_batch(centroid, founder, openings)]
    candidates: dict[int, list[Centroid]] = {}
    for older, states in topic.states.items():
        if older >= (founder.number or 0) or any(state.merged_into is not None or state.retired for state in states):
            continue
        if openings.opened_together(founder, older):
            candidates[older] = []
        elif older in parted:
            candidates[older] = [
                Centroid(state.members, state.vector_sum) for state in states if state.vector_sum is not None
            ]
        elif centroids := _published_around(states, founder, older, before.get(older), after.get(older), openings):
            candidates[older] = centroids
    return _near_throughout(founder, candidates, means or [None], openings, own, rules)


def _means_in_batch(published: Centroid, founder: Decision, openings: Openings) -> list[Centroid]:
    """The possible means for a founder, if it was published before the founder's batch, or after it."""
    befores = [published, openings.mean_before(founder, published)]
    if openings.opened_together(founder, 1):
        # Nothing was decided before that batch.
        befores = [Centroid(0, np.zeros_like(published.vector_sum))]
    return [mean for before in befores if before is not None for mean in openings.means(founder, before)]


def _published_around(
    states: Sequence[State],
    founder: Decision,
    older: int,
    before: int | None,
    after: int | None,
    openings: Openings,
) -> list[Centroid]:
    """The possible centroids of a cluster before the founder's batch, as published; none if it was not."""
    by_size: dict[int, list[Centroid]] = {}
    for state in states:
        if state.vector_sum is not None:
            by_size.setdefault(state.size, []).append(Centroid(state.members, state.vector_sum))
    joined = openings.joined(founder, older)
    if joined:
        return by_size.get(joined[0].size - 1, [])
    if before not in by_size or after not in by_size:
        return []
    # More than needed: a join may be decided before the founder and committed after it, and the other way round.
    smaller = [size for size in sorted(by_size) if size <= after][-3:]
    larger = [size for size in sorted(by_size) if size > after][:1]
    return [centroid for size in (*smaller, *larger) for centroid in by_size[size]]


def _asked_at(decision: Decision) -> int:
    """When a question was asked, ms since the epoch: no earlier was it decided, whatever its worker's clock says."""
    asked_at: int = decision.value["source"]["timestamp"]
    return asked_at


def _around(history: Sequence[tuple[int, Centroid]], at_ms: int) -> list[Centroid]:
    """The possible states at a moment: all within `_PUBLISHED_WITHIN_MS` of it, the last before and the first after.

    Workers publish some time after they decided.
    """
    before = [state for moment, state in history if moment < at_ms - _PUBLISHED_WITHIN_MS]
    near = [state for moment, state in history if abs(moment - at_ms) <= _PUBLISHED_WITHIN_MS]
    after = [state for moment, state in history if moment > at_ms + _PUBLISHED_WITHIN_MS]
    return [*before[-1:], *near, *after[:1]]


def _opened_in_log(stored: Stored, created: Mapping[int, Decision], openings: Openings, rules: Rules) -> dict[int, int]:
    """The clusters whose opening is still in the log, each with its seq.

    A cluster's first entry is its opening if it sums what its founder's batch brought: a log that was trimmed, or begun
    anew, begins with a later one.
    """
    first: dict[int, Moved] = {}
    for change in stored.log:
        if isinstance(change, Moved):
            first.setdefault(change.number, change)
    return {
        number: first[number].seq
        for number, decision in created.items()
        if number in first and _is_opening(first[number], decision, openings, rules)
    }


def _is_opening(moved: Moved, founder: Decision, openings: Openings, rules: Rules) -> bool:
    joined = openings.joined(founder, moved.number)
    if moved.vector_sum is None or not 0 < moved.members <= len(joined):
        return False
    learned = np.sum([openings.vector(decision) for decision in joined[: moved.members]], axis=0)
    return bool(np.allclose(moved.vector_sum, learned, rtol=0, atol=rules.tolerance * moved.members))


def _by_seq(stored: Stored) -> Iterator[tuple[int, list[Moved | MeanMoved]]]:
    changes: list[Moved | MeanMoved] = []
    for change in stored.log:
        if changes and changes[0].seq != change.seq:
            yield changes[0].seq, changes
            changes = []
        changes.append(change)
    if changes:
        yield changes[0].seq, changes
