"""Clusters whose merge an operation undid: a store that lost it would restore one alone, and count the other wrong.

An operation is published by itself, and a decision on one of its clusters may be published before it. Then the states
of all its clusters go with that decision.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from questream.domain import ClusterState, Operation
from questream.store.protocol import OPERATIONS_KEPT, Store
from questream.stream.retry import Retry


@dataclass(slots=True)
class _Known:
    """The newest operation that was looked at; `parts` are the clusters of each unmerge that is not published yet."""

    store_epoch: str
    through: int
    parts: list[frozenset[int]] = field(default_factory=list)


class Unmerges:
    """The undone merges of operations that are not published yet. It belongs to the publisher's thread."""

    def __init__(self, store: Store, retry: Retry) -> None:
        self._store = store
        self._retry = retry
        self._known: dict[str, _Known] = {}

    def other_parts(self, namespace: str, store_epoch: str, states: Iterable[ClusterState]) -> set[int]:
        """The clusters whose states have to be published with these. The store is asked where an operation is new."""
        operations = {state.cluster_id: state.operation for state in states}
        newest = max(operations.values(), default=0)
        known = self._known.get(namespace)
        if newest and (known is None or known.store_epoch != store_epoch):
            published = self._retry.call(self._store.published_operations, namespace) or 0
            known = self._known[namespace] = _Known(store_epoch, published)
        if known is None:
            return set()
        if newest > known.through:
            found = self._retry.call(self._store.operations_from, namespace, known.through + 1, OPERATIONS_KEPT)
            known.parts += map(_parts, filter(_parts, found))
            known.through = max([newest, *(operation.number for operation in found)])
        parts = [part for part in known.parts if not part.isdisjoint(operations)]
        return set().union(*parts) - operations.keys()

    def published(self, namespace: str, cluster_ids: Collection[int]) -> None:
        """The states of these clusters are published, by one transaction."""
        known = self._known.get(namespace)
        if known is not None:
            known.parts = [part for part in known.parts if not part <= set(cluster_ids)]


def _parts(operation: Operation) -> frozenset[int]:
    return frozenset() if operation.parted is None else frozenset(operation.after)
