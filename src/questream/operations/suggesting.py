"""Suggestions: operations that no worker does by itself, for people to accept, or to dismiss for ever.

They are merges that automatic merging would make and people's decisions forbid, names of large clusters that have none,
and splits of clusters that look like two.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Literal

from questream.clustering.merging import Merge, merged_ruling, propose_merges
from questream.clustering.mirror import Mirror
from questream.clustering.rules import Rules
from questream.domain import ClusterState

Forbidding = Literal["label", "route", "pin"]

# Each round scores all ruled clusters against all others, and finds at least one pair that no round before it had.
_ROUNDS = 64
_FEWEST_QUESTIONS = 3


@dataclass(frozen=True, slots=True)
class Suggestion:
    """Two live clusters that are near enough to be one, the older first, and what of their rulings forbids it."""

    clusters: tuple[ClusterState, ClusterState]
    forbidden_by: tuple[Forbidding, ...]

    @property
    def size(self) -> int:
        """The questions of both."""
        return self.clusters[0].size + self.clusters[1].size


def pairs_compared(states: Mapping[int, ClusterState]) -> int:
    """The number of pairs that `find_suggestions` compares at a time: each ruled cluster with all."""
    return sum(map(_is_ruled, states.values())) * len(states)


def ruled_clusters(states: Mapping[int, ClusterState]) -> list[int]:
    """The clusters that people's decisions may keep from a merge, the oldest first."""
    return sorted(number for number, state in states.items() if _is_ruled(state))


def find_suggestions(
    mirror: Mirror, states: Mapping[int, ClusterState], rules: Rules, most: int, ruled: Sequence[int] | None = None
) -> list[Suggestion]:
    """Suggestions among the clusters of a mirror, the largest first, `most` at most; of these `ruled` ones, or of all.

    Pairs that people separated are none: that is an answer already. Neither are pairs that exemplars keep apart.
    """
    ruled = ruled_clusters(states) if ruled is None else ruled
    apart: set[tuple[int, int]] = set()
    found: list[Suggestion] = []
    for _ in range(_ROUNDS):
        merges = propose_merges(mirror, ruled, rules, apart)
        if not merges:
            break
        for merge in _untouched(merges):
            # Merges that nothing forbids are for the workers to make: here they only block others.
            apart.add((merge.survivor, merge.loser))
            suggestion = _suggestion(merge, states)
            if suggestion is not None:
                found.append(suggestion)
    return largest_first(found, most)


def largest_first(suggestions: Iterable[Suggestion], most: int) -> list[Suggestion]:
    """The first so many of some suggestions, the largest first."""
    return sorted(suggestions, key=lambda one: (-one.size, one.clusters[0].cluster_id))[:most]


def _untouched(merges: list[Merge]) -> list[Merge]:
    """The merges of clusters that no earlier one of them changes."""
    touched: set[int] = set()
    kept = []
    for merge in merges:
        if touched.isdisjoint((merge.survivor, merge.loser)):
            kept.append(merge)
        touched.update((merge.survivor, merge.loser))
    return kept


def _suggestion(merge: Merge, states: Mapping[int, ClusterState]) -> Suggestion | None:
    one, other = states.get(merge.survivor), states.get(merge.loser)
    if one is None or other is None or one.ruling.is_separate_from(other.ruling):
        return None
    if merged_ruling(one.ruling, other.ruling, merge) is not None:
        return None
    both_named = all(state.label or state.route for state in (one, other))
    forbidden: dict[Forbidding, bool] = {
        "label": both_named and one.label != other.label,
        "route": both_named and one.route != other.route,
        "pin": one.ruling.pinned or other.ruling.pinned,
    }
    return Suggestion((one, other), tuple(name for name, forbids in forbidden.items() if forbids))


def _is_ruled(state: ClusterState) -> bool:
    return state.ruling.pinned or bool(state.label or state.route)


def find_unnamed(states: Iterable[ClusterState], labelled: Container[int] = ()) -> list[ClusterState]:
    """Clusters that have no label and are large, the largest first, but for those that people want no name for.

    Large is what has at least as many questions as half of the clusters with a label of their own, and three.
    `labelled` are those that have the label of an intent or a topic.
    """
    known = list(states)
    sizes = [one.size for one in known if one.label]
    least = max(_FEWEST_QUESTIONS, median_low(sizes) if sizes else 0)
    large = [one for one in known if not one.label and one.size >= least and "name" not in one.ruling.dismissed]
    unnamed = [one for one in large if one.cluster_id not in labelled]
    return sorted(unnamed, key=lambda one: (-one.size, one.cluster_id))
