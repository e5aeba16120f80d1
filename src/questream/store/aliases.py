"""Aliases and their survivors: the one place where aliases are followed."""

from __future__ import annotations

from collections.abc import Iterable

from questream.domain import ClusterState
from questream.store.protocol import Store


def follow_aliases(store: Store, namespace: str, cluster_ids: Iterable[int]) -> dict[int, list[ClusterState]]:
    """For each id its cluster, then what that was merged into, and so on; a call to the store for each merge.

    Empty for an id that the store does not know. The last of a list is the survivor, unless that has retired: then its
    `merged_into` names what is gone.
    """
    given = list(dict.fromkeys(cluster_ids))
    known: dict[int, ClusterState] = {}
    asked = set(given)
    while asked:
        states = list(store.states(namespace, sorted(asked)))
        known.update((state.cluster_id, state) for state in states)
        asked = {state.merged_into for state in states if state.merged_into is not None} - known.keys()
    return {cluster_id: _chain(known, cluster_id) for cluster_id in given}


def survivor_of(cluster_id: int, chain: list[ClusterState]) -> int:
    """The id that a chain of `follow_aliases` leads to, whether or not the store still knows it."""
    if not chain:
        return cluster_id
    return chain[-1].cluster_id if chain[-1].merged_into is None else chain[-1].merged_into


def _chain(known: dict[int, ClusterState], cluster_id: int) -> list[ClusterState]:
    chain: list[ClusterState] = []
    into: int | None = cluster_id
    # A cluster is merged into an older one: more steps than clusters are a circle, and damage.
    while into in known and len(chain) < len(known):
        chain.append(known[into])
        into = known[into].merged_into
    return chain
