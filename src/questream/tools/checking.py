"""Problems of the labels of a namespace: labels that overlap, that are unused, and that are missing."""

from __future__ import annotations

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from questream.domain import ClusterState, format_cluster_id
from questream.operations.suggesting import Suggestion, find_unnamed
from questream.records.times import format_time

FindingKind = Literal["overlap", "unasked", "unnamed"]


@dataclass(frozen=True, slots=True)
class Finding:
    """Clusters, the largest first, whose labels somebody should look at."""

    kind: FindingKind
    clusters: tuple[ClusterState, ...]

    @property
    def size(self) -> int:
        """The questions of all of them."""
        return sum(state.size for state in self.clusters)


def check_labels(
    states: Iterable[ClusterState],
    suggestions: Sequence[Suggestion],
    before_ms: int,
    labelled: Container[int] = (),
) -> list[Finding]:
    """The findings: overlaps first, then labels without a question since `before_ms`, then missing ones.

    Labels overlap where clusters that have them are near enough to merge. A label is missing where a cluster has at
    least as many questions as half of those that have one, and three; not where people dismissed that, nor where its
    intent or topic has one, as those `labelled` have.
    """
    by_label: dict[str, list[ClusterState]] = {}
    by_size = sorted(states, key=lambda one: (-one.size, one.cluster_id))
    for state in by_size:
        if state.label:
            by_label.setdefault(state.label, []).append(state)
    overlaps = [Finding("overlap", one.clusters) for one in suggestions if "label" in one.forbidden_by]
    unasked = [
        Finding("unasked", tuple(named))
        for named in by_label.values()
        if max(state.last_seen_at for state in named) < before_ms
    ]
    return [*overlaps, *unasked, *(Finding("unnamed", (state,)) for state in find_unnamed(by_size, labelled))]


def as_document(finding: Finding) -> dict[str, Any]:
    """A finding as a JSON document."""
    return {
        "finding": finding.kind,
        "labels": list(dict.fromkeys(state.label for state in finding.clusters if state.label)),
        "clusters": [format_cluster_id(state.cluster_id) for state in finding.clusters],
        "size": finding.size,
        "last_seen_at": format_time(max(state.last_seen_at for state in finding.clusters)),
        "representative": finding.clusters[0].representative,
    }
