from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

from questream.domain import ClusterState, retired_cluster
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.protocol import Store


class Merged:
    """Answers `states` alone: which cluster was merged into which."""

    def __init__(self, merges: dict[int, int | None]) -> None:
        self.merges = merges
        self.calls = 0

    def states(self, namespace: str, cluster_ids: Sequence[int]) -> list[ClusterState]:
        self.calls += 1
        return [
            replace(retired_cluster(namespace, i), merged_into=self.merges[i]) for i in cluster_ids if i in self.merges
        ]


def survivors(store: Any, *ids: int) -> list[int]:
    chains = follow_aliases(cast("Store", store), "default", ids)
    return [survivor_of(i, chains[i]) for i in ids]


def test_many_ids_are_followed_at_once() -> None:
    store = Merged({1: None, 2: 1, 3: 2, 4: 2, 5: None})
    assert survivors(store, 3, 4, 5, 3, 1) == [1, 1, 5, 1, 1]
    assert store.calls == 2


def test_an_id_that_is_gone_stands_for_itself() -> None:
    assert survivors(Merged({3: 2}), 3, 7) == [2, 7]


def test_a_circle_comes_to_an_end() -> None:
    assert survivors(Merged({1: 2, 2: 1}), 1) in ([1], [2])
