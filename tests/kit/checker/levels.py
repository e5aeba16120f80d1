"""Intents and topics: an id keeps its meaning, and the path of a decision is one that was published.

Levels on the cluster topic are {within: {community: [nodes]}, next: [number of each level], opened}, in parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from tests.kit.checker.operations import Published, forgotten, published_operations
from tests.kit.checker.published import ClusterTopic, Decision, Run, milliseconds
from tests.kit.checker.rules import Rules
from tests.kit.checker.violation import Promise, Violation

_LEVELS = "it"


@dataclass(frozen=True, slots=True)
class Version:
    """What one run found: the community of each node, and the numbers that come next, by the letter of a level."""

    number: int
    opened: int
    next: Mapping[str, int]
    parents: Mapping[str, str]
    # The last operation that it knows of among those on levels.
    operation: int = 0

    @property
    def communities(self) -> set[str]:
        """All intents and topics."""
        return set(self.parents.values())

    def path(self, cluster: str) -> list[str]:
        """Topic, intent and cluster; alone on a level it is the node below again."""
        path = [cluster]
        for letter in _LEVELS:
            parent = self.parents.get(path[0], "")
            path.insert(0, parent if parent.startswith(letter) else path[0])
        return path

    def clusters(self, community: str) -> set[str]:
        """The clusters of an intent or a topic."""
        leaves = [node for node in self.parents if node.startswith("c")]
        return {node for node in leaves if community in self.path(node)}

    def allows(self, path: list[str]) -> bool:
        """True if a decision may have this path; a cluster that was new is where any community is."""
        topic, intent, cluster = path
        if int(cluster[1:]) <= self.opened:
            return path == self.path(cluster)
        if intent == cluster:
            return topic.startswith("t") and topic in self.communities
        return intent.startswith("i") and intent in self.communities and topic == self.parents.get(intent, intent)


def check_levels(run: Run, rules: Rules) -> Iterator[Violation]:
    """`Promise.LEVELS`; a namespace that was deleted on the way begins anew, and is passed over."""
    published = published_operations(run.evidence)
    for namespace in run.namespaces:
        topic = run.cluster_topics.get(namespace, ClusterTopic())
        if topic.levels_gone:
            continue
        versions = [_version(number, parts) for number, parts in sorted(topic.levels.items()) if _is_whole(parts)]
        for version in versions:
            yield from _beyond_next(namespace, version)
        operations = published.get(namespace, [])
        decisions = [one for one in run.decisions if one.namespace == namespace]
        for before, after in pairwise(versions):
            since = [one for one in operations if before.operation < one.number <= after.operation]
            put = {into for one in since for into in one.places.values() if into is not None}
            put |= {version.parents.get(into, into) for into in put for version in (before, after)}
            yield from _given_again(namespace, before, after, put)
            yield from _changed(namespace, before, after, topic, put, decisions)
        known = [one for one in rules.operated if one.namespace == namespace]
        if not forgotten(known, operations):
            for version in versions:
                yield from _contradicted(namespace, version, operations, topic)
        yield from _unpublished(versions, decisions)


def _is_whole(parts: Mapping[int, Mapping[str, Any]]) -> bool:
    return len(parts) == int(next(iter(parts.values()))["parts"])


def _version(number: int, parts: Mapping[int, Mapping[str, Any]]) -> Version:
    one = next(iter(parts.values()))
    within = [pair for part in parts.values() for pair in part["within"].items()]
    parents = {node: community for community, nodes in within for node in nodes}
    return Version(
        number, one["opened"], dict(zip(_LEVELS, one["next"], strict=True)), parents, one.get("operation", 0)
    )


def _beyond_next(namespace: str, version: Version) -> Iterator[Violation]:
    for one in sorted(version.communities):
        if int(one[1:]) >= version.next[one[0]]:
            detail = f"{one} is in version {version.number}, whose next is {one[0]}{version.next[one[0]]}"
            yield Violation(Promise.LEVELS, f"{namespace}/{one}", detail)


def _given_again(namespace: str, before: Version, after: Version, put: Set[str]) -> Iterator[Violation]:
    """Ids that had ended, and that nobody gave back by taking an operation back."""
    for one in sorted(after.communities - before.communities - put):
        if int(one[1:]) < before.next[one[0]]:
            detail = f"version {after.number} gives an id that is older than version {before.number}, and was not in it"
            yield Violation(Promise.LEVELS, f"{namespace}/{one}", detail)


def _contradicted(
    namespace: str, version: Version, operations: Sequence[Published], topic: ClusterTopic
) -> Iterator[Violation]:
    """Clusters that are elsewhere than people keep them, by the operations that the version knows of."""
    kept: dict[int, frozenset[str]] = {}
    for operation in operations:
        if operation.number <= version.operation:
            kept |= {number: after.kept_in for number, after in operation.after.items()}
    gone = {number for number, states in topic.states.items() if any(one.merged_into or one.retired for one in states)}
    for number, communities in sorted(kept.items()):
        cluster = f"c{number}"
        if number not in gone and not communities <= set(version.path(cluster)):
            detail = (
                f"is {'/'.join(version.path(cluster))} in version {version.number}, kept in {_few(set(communities))}"
            )
            yield Violation(Promise.RULINGS, f"{namespace}/{cluster}", detail)


def _changed(
    namespace: str, before: Version, after: Version, topic: ClusterTopic, put: Set[str], decisions: Sequence[Decision]
) -> Iterator[Violation]:
    """Ids of communities that have clusters from before, and none of those that they had then, or that were opened in
    them until the next version: decisions have these as theirs.

    Those are passed over that people put something into.
    """
    opened = _opened_in(before, after, decisions)
    merged: dict[str, set[str]] = {}
    for number, states in topic.states.items():
        for state in states:
            if state.merged_into is not None:
                merged.setdefault(f"c{number}", set()).add(f"c{state.merged_into}")
    for one in sorted((after.communities & before.communities) - put):
        clusters, former = after.clusters(one), before.clusters(one) | opened.get(one, set())
        became = _became(former, merged)
        old = {cluster for cluster in clusters if int(cluster[1:]) <= before.opened}
        if old and not clusters & became:
            detail = (
                f"version {after.number} has {_few(old)}, and none of its clusters of version {before.number},"
                f" {_few(former)}, nor of {_few(became - former)}, which these became"
            )
            yield Violation(Promise.LEVELS, f"{namespace}/{one}", detail)


def _opened_in(before: Version, after: Version, decisions: Sequence[Decision]) -> dict[str, set[str]]:
    """The clusters that are newer than a version, by the communities that they were decided in before the next one."""
    found: dict[str, set[str]] = {}
    for decision in decisions:
        if (decision.number or 0) > before.opened and milliseconds(decision.value["decided_at"]) < after.number:
            for community in decision.value.get("path") or ():
                found.setdefault(community, set()).add(f"c{decision.number}")
    return found


def _became(clusters: set[str], merged: Mapping[str, set[str]]) -> set[str]:
    """The clusters, and all that they have been merged into, one after the other."""
    found, left = set(clusters), list(clusters)
    while left:
        for into in merged.get(left.pop(), set()) - found:
            found.add(into)
            left.append(into)
    return found


def _few(nodes: set[str]) -> str:
    return " ".join(sorted(nodes)[:5]) or "none"


def _unpublished(versions: list[Version], decisions: list[Decision]) -> Iterator[Violation]:
    for decision in decisions:
        path = decision.value.get("path")
        if path is None:
            continue
        subject = f"{decision.namespace} {decision.place}"
        if path[-1] != decision.value["cluster_id"]:
            yield Violation(Promise.LEVELS, subject, f"its path ends with {path[-1]}, not with its cluster")
        elif not any(version.allows(path) for version in versions):
            yield Violation(Promise.LEVELS, subject, f"no published version has the path {'/'.join(path)}")
