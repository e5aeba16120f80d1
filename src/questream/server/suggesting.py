"""Suggestions: to merge two clusters, to name one, or to split it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from typing import Generic, TypeVar

from questream.domain import ClusterState
from questream.operations.suggesting import Suggestion, find_unnamed, pairs_compared
from questream.server.analysis import Analysis
from questream.server.catalogues import Catalogues
from questream.server.levels import CurrentLevels
from questream.server.problems import Refused
from questream.server.snapshot import Snapshot
from questream.tools.splitting import MixedCluster

_MAX_AGE_SECONDS = 600.0
_WAIT_SECONDS = 2.0
_MOST_NAMESPACES = 64
# They take a fraction of a second.
_MOST_PAIRS_AT_ONCE = 10_000_000
_MOST_PAIRS = 1_000_000_000

T = TypeVar("T")


class Suggesting:
    """Finds what may be suggested; what takes seconds is found out in the background, and kept. For any thread."""

    def __init__(self, catalogues: Catalogues, levels: CurrentLevels, analysis: Analysis) -> None:
        self._catalogues = catalogues
        self._levels = levels
        self._analysis = analysis
        self._merges = _Kept("the clusters that are near", lambda name: analysis.merges(name, self._states(name)))
        self._splits = _Kept(
            "the questions of large clusters", lambda name: analysis.mixed_clusters(name, catalogues.get(name).states())
        )

    def to_merge(self, namespace: str) -> list[Suggestion]:
        """Merges that people's decisions forbid, the largest first.

        Where many clusters have to be compared they are as they were ten minutes ago at most, but for those decided on
        since. Raises Refused while that is being found out and for too many, and what the store raises.
        """
        states = self._states(namespace)
        pairs = pairs_compared(states)
        if pairs <= _MOST_PAIRS_AT_ONCE:
            return self._analysis.merges(namespace, states)
        if pairs > _MOST_PAIRS:
            raise Refused(
                HTTPStatus.CONFLICT,
                f"{namespace} has {pairs:,} pairs of ruled clusters with all others,"
                f" {_MOST_PAIRS:,} at most are compared here",
                "run `questream suggestions list`",
            )
        # A search in the background cannot report that something is still being loaded.
        self._analysis.require_centroids(namespace)
        return [one for one in self._merges.get(namespace) if all(map(self._is_current(namespace), one.clusters))]

    def to_name(self, namespace: str, most: int) -> list[ClusterState]:
        """Large clusters without a label, the largest first. Raises Refused while they are being read."""
        labelled = self._levels.stored(namespace).labelled()
        return find_unnamed(self._catalogues.get(namespace).states(), labelled)[:most]

    def to_split(self, namespace: str, most: int) -> list[MixedCluster]:
        """Clusters that look like two, as they were ten minutes ago at most, but for those decided on since.

        Raises Refused while that is being found out, KafkaUnavailable, KafkaRefused.
        """
        self._analysis.require_ready(namespace)
        is_current = self._is_current(namespace)
        return [one for one in self._splits.get(namespace) if is_current(one.state)][:most]

    def _is_current(self, namespace: str) -> Callable[[ClusterState], bool]:
        """A test for states: true if the cluster still exists and no later operation changed its ruling."""
        catalogue = self._catalogues.get(namespace)

        def is_current(then: ClusterState) -> bool:
            now = catalogue.get(then.cluster_id)
            return now is not None and now.operation == then.operation

        return is_current

    def _states(self, namespace: str) -> dict[int, ClusterState]:
        return {state.cluster_id: state for state in self._catalogues.get(namespace).states()}


class _Kept(Generic[T]):
    """The findings on each of 64 namespaces, ten minutes old at most. For any thread."""

    def __init__(self, what: str, find_out: Callable[[str], T]) -> None:
        self._what = what
        self._find_out = find_out
        self._guard = threading.Lock()
        self._found: OrderedDict[str, Snapshot[T]] = OrderedDict()

    def get(self, namespace: str) -> T:
        """The finding on a namespace. Raises Refused while it is being computed, and the errors of that."""
        with self._guard:
            found = self._found.pop(namespace, None)
            if found is None:
                found = Snapshot(self._what, partial(self._find_out, namespace), _MAX_AGE_SECONDS)
            self._found[namespace] = found
            if len(self._found) > _MOST_NAMESPACES:
                self._found.popitem(last=False)
        return found.get(_WAIT_SECONDS).value
