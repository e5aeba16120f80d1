"""The outbox in memory: what is published, and what waits to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from questream.domain import InFlight
from questream.store.protocol import Confirmation, OutboxPosition, Revisions, StoreError, Unconfirmed, Verified, Waiting
from questream.store.reference.namespaces import MemoryNamespaces
from questream.store.reference.state import Namespace, failing_alone, revision_of

# How long a retired cluster leaves a stub, by which the publication of an earlier state is found outdated.
_STUB_SECONDS = 600.0


class MemoryOutbox(MemoryNamespaces):
    """The part of the protocol Outbox."""

    def verify_before_commit(
        self, published: Mapping[str, Revisions], confirmations: Sequence[Confirmation] = ()
    ) -> Verified:
        unconfirmed = self.confirm(confirmations)
        return Verified({name: self._verify(name, revisions) for name, revisions in published.items()}, unconfirmed)

    def outbox_position(self, namespace: str) -> OutboxPosition:
        with self._lock:
            return self._position(self._get(namespace))

    def unpublished(self, namespace: str, older_than_seconds: float, limit: int) -> list[int]:
        with self._lock:
            latest = self._clock() - older_than_seconds
            waiting = sorted((since, str(i)) for i, since in self._get(namespace).outbox.items() if since <= latest)
            return [int(cluster_id) for _, cluster_id in waiting[:limit]]

    def waiting(
        self, namespaces: Sequence[str], older_than_seconds: float, limit: int
    ) -> dict[str, Waiting | StoreError]:
        def look(namespace: str) -> Waiting:
            return Waiting(
                self.store_epoch(namespace),
                self.unpublished(namespace, older_than_seconds, limit),
                self._operations_wait(namespace),
                self._levels_wait(namespace),
                self.rules(namespace),
            )

        return {namespace: failing_alone(partial(look, namespace)) for namespace in namespaces}

    def _levels_wait(self, namespace: str) -> bool:
        with self._lock:
            state = self._get(namespace)
            is_leased = state.levels_lease[1] > self._clock()
            waits = state.levels_published != state.levels.version and not is_leased
            return state.store_epoch is not None and waits

    def _operations_wait(self, namespace: str) -> bool:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None or state.operation_count == 0:
                return False
            waits = state.operations_published < state.operation_count
            return state.operation_epoch != state.store_epoch or (waits and state.operation_claim[1] <= self._clock())

    def confirm(self, confirmations: Sequence[Confirmation]) -> Unconfirmed:
        outcomes = [(one, failing_alone(partial(self._confirm, one))) for one in confirmations]
        return [(one, error) for one, error in outcomes if error is not None]

    def _verify(self, namespace: str, published: Revisions) -> OutboxPosition | None:
        with self._lock:
            state = self._namespaces.get(namespace)
            if state is None:
                return None
            for cluster_id, revision in published.items():
                if revision_of(state, cluster_id) != revision:
                    state.outbox[cluster_id] = self._clock()
                    state.outdated_count += 1
                    state.outdated[cluster_id] = state.outdated_count
            return None if state.store_epoch is None else self._position(state)

    def _confirm(self, confirmation: Confirmation) -> None:
        with self._lock:
            state = self._get(confirmation.namespace)
            published, position = confirmation.revisions, confirmation.position
            if position.store_epoch != (state.store_epoch or ""):
                return
            merges: set[int] = set()
            for cluster_id, revision in published.items():
                current_revision = revision_of(state, cluster_id)
                if current_revision in (None, revision):
                    if current_revision is None or not self._came_later(state, cluster_id, position.count):
                        state.outbox.pop(cluster_id, None)
                        state.outdated.pop(cluster_id, None)
                    if cluster_id in state.clusters and state.clusters[cluster_id].merged_into is not None:
                        merges.add(cluster_id)
                    if cluster_id in state.clusters and state.clusters[cluster_id].retired:
                        state.clusters[cluster_id].forgotten_at = self._clock() + _STUB_SECONDS
                else:
                    state.outbox.setdefault(cluster_id, self._clock())
            for cluster_id in published:
                if cluster_id in state.clusters:
                    cluster = state.clusters[cluster_id]
                    left = _still_in_flight(cluster.cluster_row.in_flight, confirmation.committed, merges)
                    cluster.cluster_row = replace(cluster.cluster_row, in_flight=left)

    def _came_later(self, state: Namespace, cluster_id: int, count: int) -> bool:
        """True if `verify_before_commit` has found the cluster outdated since, or its tombstone is not due."""
        cluster = state.clusters.get(cluster_id)
        is_due = cluster is None or not cluster.retired or state.outbox.get(cluster_id, 0.0) <= self._clock()
        return state.outdated.get(cluster_id, 0) > count or not is_due


def _still_in_flight(before: InFlight, committed: Mapping[tuple[str, int], int], merges: set[int]) -> InFlight:
    joins = {at: tuple(o for o in offsets if o >= committed.get(at, 0)) for at, offsets in before.joins.items()}
    absorbed = tuple(i for i in before.absorbed if i not in merges)
    return InFlight({at: offsets for at, offsets in joins.items() if offsets}, absorbed)
