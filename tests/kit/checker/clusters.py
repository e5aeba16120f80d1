"""Cluster by cluster: known ids, ids of one cluster each, sizes that count the questions, centroids that sum them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from tests.kit.checker.operations import (
    forgotten,
    names_given,
    opened_by_people,
    parted_by_people,
    published_operations,
)
from tests.kit.checker.published import Decision, Run
from tests.kit.checker.rules import Floats, Rules
from tests.kit.checker.stored import Stored
from tests.kit.checker.violation import Promise, Violation

# A search over every way to split the merges among the gaps: only where there are few.
_MOST_MERGES_SEARCHED = 12


def check_known_ids(run: Run, rules: Rules) -> Iterator[Violation]:
    """Every published id was a cluster when it was given, and is one, or an alias whose chain ends in one."""
    del rules
    parted = parted_in(run)
    for namespace in run.namespaces:
        stored, topic = _stored(run, namespace), run.cluster_topics.get(namespace)
        for number, decisions in _by_number(run.decided_in(namespace)).items():
            subject = _name(namespace, number)
            if topic is None or number not in topic.states:
                yield Violation(Promise.KNOWN_ID, subject, "published in decisions, never as a cluster")
            root = root_of(run, namespace, number)
            if root is None:
                yield Violation(Promise.KNOWN_ID, subject, "neither a cluster nor an alias that ends in one")
            cluster = stored.clusters.get(number)
            latest = max(decision.size for decision in decisions)
            if (
                cluster is not None
                and cluster.merged_into is not None
                and latest > cluster.size
                and number not in parted.get(namespace, ())
            ):
                yield Violation(
                    Promise.KNOWN_ID, subject, f"given at size {latest}, after it was merged away at {cluster.size}"
                )


def check_unique_ids(run: Run, rules: Rules) -> Iterator[Violation]:
    """An id is created once, by the first of its questions; what was merged away stays so; no number comes again."""
    published = published_operations(run.evidence)
    for namespace in run.namespaces:
        stored = _stored(run, namespace)
        by_number = _by_number(run.decided_in(namespace))
        opened = opened_by_people(published.get(namespace, ()))
        for number, decisions in by_number.items():
            created = [decision for decision in decisions if decision.outcome == "created"]
            if len(created) > 1:
                yield Violation(Promise.UNIQUE_ID, _name(namespace, number), f"created {len(created)} times")
            if any(decision.size != 1 for decision in created):
                yield Violation(Promise.UNIQUE_ID, _name(namespace, number), "created with a size other than 1")
            # Its founder may be decided again after the store forgot it: others had published the cluster already.
            if not created and not rules.store_lost_memory and number not in opened:
                yield Violation(Promise.UNIQUE_ID, _name(namespace, number), "joined, yet no question created it")
        for number, cluster in stored.clusters.items():
            if cluster.merged_into is not None and cluster.vector_sum is not None:
                yield Violation(Promise.UNIQUE_ID, _name(namespace, number), "both an alias and a cluster")
            if cluster.merged_into == number:
                yield Violation(Promise.UNIQUE_ID, _name(namespace, number), "merged into itself")
        newest = max([*by_number, *stored.clusters], default=0)
        if newest >= stored.next_number:
            yield Violation(
                Promise.UNIQUE_ID, namespace, f"c{newest} is taken, yet the next would be c{stored.next_number}"
            )
        yield from _check_published_ids(run, namespace, parted_by_people(published.get(namespace, ())))


def check_names(run: Run, rules: Rules) -> Iterator[Violation]:
    """A cluster that was named, or the one that it was merged into, has the label and the route that it was given last.

    Names differ: two clusters that were both named can have been merged by nobody.
    """
    newest = {}
    operations = published_operations(run.evidence)
    for named in rules.named:
        root = root_of(run, named.namespace, named.number)
        newest[named.namespace, named.number if root is None else root] = named
    for (namespace, number), named in newest.items():
        cluster = _stored(run, namespace).clusters.get(number)
        if cluster is None or (cluster.label, cluster.route) != (named.label, named.route):
            yield Violation(Promise.NAMES, _name(namespace, number), "has not the label and route that it was given")
    for namespace in run.namespaces:
        given: set[tuple[str | None, str | None]]
        given = {(named.label, named.route) for named in rules.named if named.namespace == namespace}
        given |= names_given(operations.get(namespace, ())) if given else set()
        for number, cluster in _stored(run, namespace).clusters.items():
            if given and None not in (cluster.label, cluster.route) and (cluster.label, cluster.route) not in given:
                yield Violation(
                    Promise.NAMES, _name(namespace, number), "has the label of one and the route of another"
                )


def check_sizes(run: Run, rules: Rules) -> Iterator[Violation]:
    """A live cluster's size is the number of decisions that name it or an alias of it.

    Questions that joined what a merge had made go to the nearer part where that is taken back, each with a correction.
    Which of them went to which part is not known of an operation that the store forgot before it was published: its
    clusters have the right size together.
    """
    published = published_operations(run.evidence)
    for namespace in run.namespaces:
        operations = published.get(namespace, ())
        known = [one for one in rules.operated if one.namespace == namespace]
        unclear = [
            {root for number in one.clusters if (root := root_of(run, namespace, number)) is not None}
            for one in forgotten(known, operations)
            if one.may_part
        ]
        counts: Counter[int] = Counter()
        for decision in run.decided_in(namespace):
            root = root_of(run, namespace, decision.number)
            if root is not None:
                counts[root] += 1
        for left, joined in [move for one in operations if one.parted is not None for move in one.moves]:
            counts[root_of(run, namespace, left) or 0] -= 1
            counts[root_of(run, namespace, joined) or 0] += 1
        sizes = {
            number: cluster.size
            for number, cluster in _stored(run, namespace).clusters.items()
            if cluster.vector_sum is not None and cluster.merged_into is None
        }
        for group in _joined(unclear, sizes):
            size, count = sum(sizes[number] for number in group), sum(counts[number] for number in group)
            if size != count:
                names = " and ".join(_name(namespace, number) for number in sorted(group))
                yield Violation(Promise.SIZES, names, f"counts {size}, was given {count} times")


def _joined(unclear: Iterable[set[int]], live: Iterable[int]) -> list[set[int]]:
    """The live clusters, each by itself but for those that are in one of these sets together."""
    groups = [{number} for number in live]
    for together in unclear:
        touched = [group for group in groups if not group.isdisjoint(together)]
        groups = [group for group in groups if group.isdisjoint(together)]
        groups += [set().union(*touched)] if touched else []
    return groups


def check_size_sequence(run: Run, rules: Rules) -> Iterator[Violation]:
    """The decisions of an id count 1, 2, 3..., with a gap only where a merge brought as many questions at once."""
    if rules.store_lost_memory:
        return
    parted = parted_in(run)
    for namespace in run.namespaces:
        stored = _stored(run, namespace)
        for number, decisions in _by_number(run.decided_in(namespace)).items():
            if number in parted.get(namespace, ()):
                continue
            sizes = Counter(decision.size for decision in decisions)
            repeats = sorted(size for size, count in sizes.items() if count > 1)
            if repeats:
                yield Violation(Promise.SIZE_SEQUENCE, _name(namespace, number), f"repeats the sizes {repeats[:5]}")
            if not parted.get(namespace, set()).isdisjoint(_chain(run, namespace, number)):
                # What has parted from the end of the chain may have come through this one, which goes on counting it.
                continue
            absorbed = [c.size for c in stored.clusters.values() if c.merged_into == number and c.size]
            cluster = stored.clusters.get(number)
            gaps = _gaps(sizes, cluster.size if cluster is not None else max(sizes))
            if not _is_explained(gaps, absorbed):
                yield Violation(
                    Promise.SIZE_SEQUENCE, _name(namespace, number), f"gaps of {gaps[:5]}, merges of {absorbed[:5]}"
                )


def check_centroids(run: Run, rules: Rules) -> Iterator[Violation]:
    """A centroid that is not frozen sums all its cluster's questions, the mean all questions until it is frozen."""
    if rules.embed is None or rules.linkage == "first" or rules.store_lost_memory:
        return
    parted, published = parted_in(run), published_operations(run.evidence)
    for namespace in run.namespaces:
        opened = {i for n in opened_by_people(published.get(namespace, ())) for i in _chain(run, namespace, n)}
        stored = _stored(run, namespace)
        decisions = [decision for decision in run.decided_in(namespace) if decision.place in run.asked]
        vectors = {
            decision.place: np.asarray(rules.embed(run.text(decision.place)), np.float64) for decision in decisions
        }
        sums: dict[int, list[Floats]] = {}
        for decision in decisions:
            root = root_of(run, namespace, decision.number)
            if root is not None:
                sums.setdefault(root, []).append(vectors[decision.place])
        for number, cluster in stored.clusters.items():
            if cluster.vector_sum is None or cluster.members != cluster.size:
                continue
            if number in opened | parted.get(namespace, set()):
                # They have learned from examples that nobody asked, or count questions that they have not learned.
                continue
            if not _is_sum(cluster.vector_sum, sums.get(number, ()), rules):
                yield Violation(Promise.CENTROIDS, _name(namespace, number), "its sum is not that of its questions")
        expected = min(len(decisions), rules.mean_questions)
        if rules.mean_of_some and 0 < stored.mean_questions < expected:
            continue
        if stored.mean_questions != expected:
            detail = f"the mean counts {stored.mean_questions} of {expected} questions"
            yield Violation(Promise.CENTROIDS, namespace, detail)
        elif len(decisions) == expected and not _is_sum(stored.mean_sum, list(vectors.values()), rules):
            yield Violation(Promise.CENTROIDS, namespace, "the mean's sum is not that of the questions")


def parted_in(run: Run) -> dict[str, set[int]]:
    """By namespace, the clusters of merges that were taken back, and what they are a part of."""
    return {
        namespace: {i for n in parted_by_people(operations) for i in _chain(run, namespace, n)}
        for namespace, operations in published_operations(run.evidence).items()
    }


def _chain(run: Run, namespace: str, number: int | None) -> set[int]:
    """A cluster and all that it was merged into, one after the other."""
    stored, chain = _stored(run, namespace), set[int]()
    while number is not None and number not in chain:
        chain.add(number)
        cluster = stored.clusters.get(number)
        number = None if cluster is None else cluster.merged_into
    return chain


def _check_published_ids(run: Run, namespace: str, parted: set[int]) -> Iterator[Violation]:
    topic = run.cluster_topics.get(namespace)
    for number, states in (topic.states if topic is not None else {}).items():
        living = [state for state in states if not state.retired]
        # Nothing represents it once its texts are erased.
        if len({state.own for state in living} - {None}) > 1:
            yield Violation(Promise.UNIQUE_ID, _name(namespace, number), "was published with two founders")
        if number in parted:
            continue
        merged = [state for state in living if state.merged_into is not None]
        if len({state.merged_into for state in merged}) > 1:
            yield Violation(Promise.UNIQUE_ID, _name(namespace, number), "was merged into two clusters")
        ended = min((state.revision for state in merged), default=None)
        if ended is not None and any(s.revision > ended and s.merged_into is None for s in living):
            yield Violation(Promise.UNIQUE_ID, _name(namespace, number), "was a cluster again after it was merged away")


def _stored(run: Run, namespace: str) -> Stored:
    return run.evidence.stored.get(namespace) or Stored()


def root_of(run: Run, namespace: str, number: int | None) -> int | None:
    """The live or retired cluster that an id leads to by now, if there is one."""
    if number is None:
        return None
    stored, topic = _stored(run, namespace), run.cluster_topics.get(namespace)
    seen: set[int] = set()
    while number not in seen:
        seen.add(number)
        cluster = stored.clusters.get(number)
        if cluster is not None and cluster.merged_into is not None:
            number = cluster.merged_into
        elif (cluster is not None and cluster.vector_sum is not None) or (topic and topic.is_retired(number)):
            return number
        else:
            return None
    return None


def _by_number(decisions: Sequence[Decision]) -> dict[int, list[Decision]]:
    found: dict[int, list[Decision]] = {}
    for decision in decisions:
        if decision.number is not None:
            found.setdefault(decision.number, []).append(decision)
    return found


def _gaps(sizes: Counter[int], final: int) -> list[int]:
    """Lengths of the stretches of 1..final that no decision has."""
    gaps, length = [], 0
    for size in range(1, final + 2):
        if size > final or size in sizes:
            if length:
                gaps.append(length)
            length = 0
        else:
            length += 1
    return gaps


def _is_explained(gaps: Sequence[int], absorbed: Sequence[int]) -> bool:
    """True if the merges' sizes can be shared out so that each gap is filled exactly."""
    if sum(gaps) != sum(absorbed):
        return False
    if len(absorbed) > _MOST_MERGES_SEARCHED:
        return True
    if not absorbed:
        return not gaps
    first, *rest = absorbed
    return any(
        gap >= first and _is_explained([*gaps[:at], *([gap - first] if gap > first else []), *gaps[at + 1 :]], rest)
        for at, gap in enumerate(gaps)
    )


def _is_sum(vector_sum: Floats, vectors: Sequence[Floats], rules: Rules) -> bool:
    expected = np.sum(vectors, axis=0) if len(vectors) else np.zeros(len(vector_sum))
    return bool(np.allclose(vector_sum, expected, rtol=0, atol=rules.tolerance * (1 + len(vectors)) ** 0.5))


def _name(namespace: str, number: int) -> str:
    return f"{namespace}/c{number}"
