"""The compacted topic against the store: what would be put back must be what is there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tests.kit.checker.published import ClusterTopic, Run, State
from tests.kit.checker.rules import Floats, Rules
from tests.kit.checker.stored import Stored, StoredCluster
from tests.kit.checker.violation import Promise, Violation

# A record's timestamp is any 64-bit number; published times end with the years 1 and 9999.
_EARLIEST_MS, _LATEST_MS = -62_135_596_800_000, 253_402_300_799_999


def check_cluster_topic(run: Run, rules: Rules) -> Iterator[Violation]:
    """The newest record of each key says what Redis says, and it is the last: compaction keeps no other."""
    for namespace in run.namespaces:
        stored = run.evidence.stored.get(namespace) or Stored()
        topic = run.cluster_topics.get(namespace) or ClusterTopic()
        for number in stored.outbox:
            subject = f"{namespace}/c{number}" if number else namespace
            yield Violation(Promise.CLUSTER_TOPIC, subject, "its last change waits to be published")
        for number in sorted(stored.clusters.keys() | topic.states.keys()):
            if number not in stored.outbox:
                yield from _compare_cluster(namespace, number, stored, topic, rules)
        if stored.meta and 0 not in stored.outbox:
            yield from _compare_namespace(namespace, stored, topic, rules)


def _compare_cluster(
    namespace: str, number: int, stored: Stored, topic: ClusterTopic, rules: Rules
) -> Iterator[Violation]:
    subject = f"{namespace}/c{number}"
    cluster, newest = stored.clusters.get(number), topic.newest(number)
    if cluster is None and newest is not None and not newest.retired:
        yield Violation(Promise.CLUSTER_TOPIC, subject, "the topic has it, the store does not")
    elif cluster is not None and newest is None:
        yield Violation(Promise.CLUSTER_TOPIC, subject, "the store has it, the topic does not")
    elif cluster is not None and newest is not None and newest.retired and cluster.vector_sum is not None:
        yield Violation(Promise.CLUSTER_TOPIC, subject, "retired by the topic, live in the store")
    elif cluster is not None and newest is not None and not newest.retired:
        differing = [name for name, differs in _differences(cluster, newest, rules).items() if differs]
        if differing:
            yield Violation(Promise.CLUSTER_TOPIC, subject, f"topic and store differ in {', '.join(differing)}")
        if topic.states[number][-1].revision < newest.revision:
            yield Violation(Promise.CLUSTER_TOPIC, subject, "its last record is not its newest: compaction loses that")


def _differences(cluster: StoredCluster, state: State, rules: Rules) -> dict[str, bool]:
    return {
        "revision": cluster.revision != state.revision,
        "size": cluster.size != state.size,
        "members": cluster.members != state.members,
        "sum": not _is_close(cluster.vector_sum, state.vector_sum, cluster.members, rules),
        "merged_into": cluster.merged_into != state.merged_into,
        "label": cluster.label != state.label,
        "route": cluster.route != state.route,
        "representative": cluster.representative != state.representative,
        "created": _published_time(cluster.created) != state.created,
        "seen": _published_time(cluster.seen) != state.seen,
        "pinned": cluster.pinned != state.pinned,
        "muted": cluster.muted != state.muted,
        "resolved": cluster.resolved_size != state.resolved_size,
        "dismissed": cluster.dismissed != state.dismissed,
        "separations or exemplars": cluster.bound != state.bound,
        "represented": cluster.represented != state.represented,
    }


def _compare_namespace(namespace: str, stored: Stored, topic: ClusterTopic, rules: Rules) -> Iterator[Violation]:
    if not topic.whole:
        # A namespace that was opened and never used has nothing to put back.
        if stored.clusters or stored.mean_questions:
            yield Violation(Promise.CLUSTER_TOPIC, namespace, "the topic does not have the namespace")
        return
    newest = max(topic.whole, key=lambda whole: whole.revision)
    differing = {
        "model": (newest.model, newest.model_revision)
        != (stored.meta["model"].decode(), stored.meta["revision"].decode()),
        "next number": newest.next_number != stored.next_number,
        "mean's questions": newest.mean_questions != stored.mean_questions,
        "mean's sum": not _is_close(newest.mean_sum, stored.mean_sum, newest.mean_questions, rules),
        "seq": newest.seq > int(stored.meta["seq"]),
        "rules": newest.rules != stored.rules,
    }
    if any(differing.values()):
        names = ", ".join(name for name, differs in differing.items() if differs)
        yield Violation(Promise.CLUSTER_TOPIC, namespace, f"topic and store differ in {names}")
    if topic.whole[-1].revision < newest.revision:
        yield Violation(Promise.CLUSTER_TOPIC, namespace, "its last record is not its newest: compaction loses that")


def _is_close(one: Floats | None, other: Floats | None, count: int, rules: Rules) -> bool:
    if one is None or other is None:
        return one is None and other is None
    return one.shape == other.shape and bool(np.allclose(one, other, rtol=0, atol=rules.tolerance * (1 + count) ** 0.5))


def _published_time(milliseconds: int) -> int:
    return min(max(milliseconds, _EARLIEST_MS), _LATEST_MS)
