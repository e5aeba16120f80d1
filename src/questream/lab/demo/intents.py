"""Intents and topics of the demo's clusters, found from the records of the cluster topic, as any reader could."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any

import numpy as np

from questream.clustering.levels import LevelRules, Node, leaf, leaves_of
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.deciding.grouping import Grouping
from questream.domain import Vector, parse_cluster_id


class Intents:
    """The levels above the clusters as they were last found; for one thread at a time."""

    def __init__(self) -> None:
        self._grouping = Grouping(LevelRules())

    def find(self, states: Mapping[str, dict[str, Any]], mean: dict[str, Any] | None) -> None:
        """Group the live clusters of these states, with the stream's mean as its namespace's state has it."""
        vectors = {name: state["vector"] for name, state in states.items() if state.get("vector") is not None}
        if not vectors or mean is None:
            return
        mirror = Mirror(next(iter(vectors.values()))["dimension"])
        mirror.apply([MeanMoved(mean["questions"], _vector(mean["sum"]))])
        mirror.reserve(len(vectors))
        mirror.apply(
            ClusterMoved(parse_cluster_id(name), vector["members"], _vector(vector["sum"]))
            for name, vector in vectors.items()
            if vector["members"]
        )
        sizes = {parse_cluster_id(name): states[name]["size"] for name in vectors}
        self._grouping.run(leaves_of(mirror, sizes), sum(sizes.values()))

    def path(self, cluster_id: str) -> tuple[Node, ...]:
        """A cluster with its intent and its topic."""
        return self._grouping.path(parse_cluster_id(cluster_id))

    def clusters_of(self, cluster_id: str) -> list[str]:
        """The clusters of its intent, itself included."""
        intent = self.path(cluster_id)[1]
        return [
            str(node) for node in self._grouping.levels.children().get(intent, [leaf(parse_cluster_id(cluster_id))])
        ]


def _vector(encoded: str) -> Vector:
    return np.frombuffer(base64.b64decode(encoded), "<f4").astype(np.float32)
