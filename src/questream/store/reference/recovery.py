"""Recovery in memory: the states of topics are compared and restored."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence

from questream.clustering.mirror import MeanMoved
from questream.domain import InFlight, NamespaceState
from questream.errors import NamespaceHeld
from questream.store.protocol import ClusterRow, Identity, Ledger, Mended, Restored
from questream.store.reference.base import MemoryBase
from questream.store.reference.state import Cluster, Namespace, drop_remains, joined_ledger


class MemoryRecovery(MemoryBase):
    """The part of the protocol Recovery."""

    def revisions(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, int]:
        with self._lock:
            clusters = self._get(namespace).clusters
            return {i: clusters[i].cluster_row.revision for i in cluster_ids if i in clusters}

    def mend(self, namespace: str, token: str, cluster_ids: Iterable[int], dimension: int | None) -> Mended:
        # The index is the clusters themselves here: only a centroid can be another model's.
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return Mended()
            mended = Mended()
            # A stub that is confirmed is in no index and no outbox.
            named = {i for i, one in state.clusters.items() if not one.retired}
            for i in {*cluster_ids, *named, *state.outbox} & state.clusters.keys():
                cluster = state.clusters[i]
                wanted = state.identity.dimension if dimension is None else dimension
                whole = cluster.vector_sum is None or len(cluster.vector_sum) == wanted
                (mended.revisions if whole else mended.damaged)[i] = cluster.cluster_row.revision
            return mended

    def heads(self, namespace: str, partitions: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        with self._lock:
            ledgers = self._get(namespace).ledgers
            return {at: joined_ledger(ledgers.get(at, [])).head for at in partitions}

    def in_flight(self, namespace: str, cluster_ids: Sequence[int]) -> dict[int, InFlight]:
        with self._lock:
            clusters = self._get(namespace).clusters
            rows = {i: clusters[i].cluster_row for i in cluster_ids if i in clusters}
            return {i: InFlight(row.in_flight.joins) for i, row in rows.items() if row.in_flight.joins}

    def seconds_since_noted(self, namespaces: Sequence[str]) -> float | None:  # noqa: ARG002 - of no namespace
        # It lives and dies with its process: no copy of it is restored.
        return None

    def begin_recovery(self, namespace: str) -> str:
        with self._lock:
            state = self._get(namespace)
            if state.held_until is not None:
                if self._clock() < state.held_until:
                    raise NamespaceHeld(f"namespace {namespace!r} is being moved to another model")
                state.held_until = state.recovery_token = None
            state.recovery_token = state.recovery_token or uuid.uuid4().hex[:12]
            return state.recovery_token

    def lease_recovery(self, namespace: str, token: str, holder: str, seconds: float) -> bool:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return False
            other, until = state.recovery_lease
            if other != holder and until > self._clock():
                return False
            state.recovery_lease = (holder, self._clock() + seconds)
            return True

    def hold(self, namespace: str, store_epoch: str, seconds: float) -> str | None:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch != store_epoch:
                return None
            state.store_epoch, state.recovery_token = None, uuid.uuid4().hex[:12]
            state.held_until = self._clock() + seconds
            return state.recovery_token

    def still_holds(self, namespace: str, token: str, seconds: float) -> bool:
        with self._lock:
            state = self._get(namespace)
            if state.recovery_token == token:
                state.held_until = self._clock() + seconds
            return state.recovery_token == token

    def restore(self, namespace: str, token: str, restored: Sequence[Restored]) -> int:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return 0
            return sum(self._restore(state, one, self._clock) for one in restored)

    def recover(
        self,
        namespace: str,
        token: str,
        whole: NamespaceState | None,
        heads: Mapping[tuple[str, int], int],
        unpublished: Iterable[int] = (),
    ) -> None:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return
            state.next_id = max([state.next_id, *(i + 1 for i in state.clusters)])
            for cluster_id in unpublished:
                state.outbox.setdefault(cluster_id, self._clock())
            if whole is not None:
                state.identity = Identity(
                    whole.model,
                    whole.model_revision,
                    whole.dimension,
                    whole.similarity,
                    whole.linkage,
                    whole.threshold,
                )
                state.next_id = max(state.next_id, whole.next_cluster)
                state.seq = max(state.seq, whole.seq)
                # The mean of another model has nothing to do with this one's.
                later = whole.generation > state.generation
                state.generation = whole.generation
                if later or whole.mean_questions > (state.mean.questions if state.mean else 0):
                    state.mean = MeanMoved(whole.mean_questions, whole.mean_sum)
                if whole.rules.operation > state.rules.operation:
                    state.rules = whole.rules
                state.operation_count = max(state.operation_count, whole.rules.operation)
                # Its next number may be later than the published one.
                state.outbox[0] = self._clock()
            state.log.clear()
            state.seq += 1
            for at, head in heads.items():
                entries = state.ledgers.setdefault(at, [])
                if head >= 0 and joined_ledger(entries).head < head:
                    entries.append((head, Ledger(head)))
            is_compared = state.operation_epoch == token
            state.store_epoch, state.recovery_token, state.held_until = uuid.uuid4().hex[:12], None, None
            state.operation_epoch = state.store_epoch if is_compared else state.operation_epoch
            state.recovery_lease = ("", 0.0)

    def delete(self, namespace: str, token: str, operation: int = 0) -> bool:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is not None or state.recovery_token != token:
                return False
            self._deleted[namespace] = (state.next_id, max(state.operation_count, operation))
            del self._namespaces[namespace]
            self._admitted.discard(namespace)
            return True

    def require_recovery(self, namespace: str) -> None:
        with self._lock:
            state = self._get(namespace)
            state.store_epoch = state.recovery_token = state.held_until = None

    @staticmethod
    def _restore(state: Namespace, restored: Restored, clock: Callable[[], float]) -> bool:
        published = restored.state
        known = state.clusters.get(published.cluster_id)
        if published.event == "retired":
            state.outbox.pop(published.cluster_id, None)
            drop_remains(state, published.cluster_id)
            return state.clusters.pop(published.cluster_id, None) is not None
        if known is not None and not restored.damaged and known.cluster_row.revision >= published.revision:
            if restored.publish:
                state.outbox.setdefault(published.cluster_id, clock())
            return False
        cluster_row = ClusterRow(
            published.cluster_id,
            published.size,
            published.revision,
            published.created_at,
            published.last_seen_at,
            published.representative,
            published.in_flight,
            published.ruling,
            published.operation,
            published.kept_members,
            published.own_representative,
        )
        state.operation_count = max(state.operation_count, published.operation)
        drop_remains(state, published.cluster_id)
        state.clusters[published.cluster_id] = Cluster(
            cluster_row,
            published.members,
            published.vector_sum,
            published.merged_into,
            merged_at=published.last_seen_at,
            labelled=published.event == "labelled",
            features=published.features,
        )
        state.outbox.pop(published.cluster_id, None)
        if restored.publish:
            state.outbox[published.cluster_id] = 0.0
        return True
