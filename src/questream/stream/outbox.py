"""Cluster states on their way to the cluster topic: those that a batch rests on, and those that dead workers left.

A store that has lost its memory is made whole from that topic alone. So no decision is published without the state of
its cluster, a merged cluster never without the one that it became, one that has parted never without its other part,
and none unless the store still knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from questream.broker.port import Outgoing
from questream.deciding.batch import NamespaceDecisions
from questream.domain import ClusterState, NamespaceState
from questream.errors import NamespaceRefused, RecoveryNeeded, StoreUnavailable
from questream.records import encode_cluster_state, encode_namespace_state
from questream.store.protocol import Confirmation, OutboxPosition, Store, Unconfirmed
from questream.stream.question import Answered, Decided
from questream.stream.retry import Retry
from questream.stream.unmerges import Unmerges

RELAYED_AT_ONCE = 256

# What the records of a namespace carry that were made in a store epoch: which store it is.
Headers = Callable[[str, str], Sequence[tuple[str, bytes | None]]]


@dataclass(slots=True)
class RelayBatch:
    """Records of one namespace for the cluster topic, which rest on one store epoch of it.

    `revisions` are those of the records, by cluster id; 0 is the namespace itself. `position` is that of the outbox
    before they were made. `headers` are those of all its records.
    """

    namespace: str
    store_epoch: str
    position: OutboxPosition
    headers: Sequence[tuple[str, bytes | None]]
    records: list[Outgoing] = field(default_factory=list)
    revisions: dict[int, int] = field(default_factory=dict)


class OutboxRelay:
    """Gathers pending states for the cluster topic, and confirms published ones. It belongs to the publisher's thread.

    A confirmation waits for the verification of the next publication, which takes it along: one round trip less. It
    may be lost: what is not confirmed is published again. `on_refused` is called with a namespace whose confirmation
    the store refuses; what waits in its outbox stays there.
    """

    def __init__(
        self,
        store: Store,
        retry: Retry,
        topic: str,
        headers: Headers,
        on_refused: Callable[[str, NamespaceRefused], None],
    ) -> None:
        self._store = store
        self._retry = retry
        self._topic = topic
        self._headers = headers
        self._on_refused = on_refused
        self._unmerges = Unmerges(store, retry)
        self._unconfirmed: list[Confirmation] = []
        # The positions of outboxes when a publication was last verified: before the records of any later one are sent.
        self._verified_at: dict[str, OutboxPosition] = {}

    def of_batch(self, items: Sequence[Answered], decided: Sequence[NamespaceDecisions]) -> list[RelayBatch]:
        """The states of all clusters that the decisions of a batch name; `decided` has those that it changed."""
        named = {(item.question.namespace, item.store_epoch) for item in items if isinstance(item, Decided)}
        committed_at = {result.namespace: result.outbox_position for result in decided}
        relay_batches = [
            self._begin(namespace, store_epoch, committed_at.get(namespace)) for namespace, store_epoch in sorted(named)
        ]
        by_namespace = {relay_batch.namespace: relay_batch for relay_batch in relay_batches}
        beside: dict[str, list[int]] = {}
        for result in decided:
            relay_batch = by_namespace[result.namespace]
            beside[result.namespace] = self._add_clusters(relay_batch, result.states)
            if result.namespace_state is not None:
                self._add_namespace(relay_batch, result.namespace_state)
        for relay_batch in relay_batches:
            # Recalled from the ledger of one who may have died before it published, or merged by another meanwhile.
            recalled = _named(items, relay_batch.namespace)
            self._look_up(relay_batch, [*recalled, *beside.get(relay_batch.namespace, ())])
        return relay_batches

    def pending(self, namespace: str, older_than_seconds: float, most: int) -> RelayBatch | None:
        """Up to `most` states that have waited that long, and those that they merged into; None if there are none."""
        store_epoch = self._retry.call(self._store.store_epoch, namespace)
        waiting = self._retry.call(self._store.unpublished, namespace, older_than_seconds, most)
        if store_epoch is None or not waiting:
            return None
        relay_batch = self._begin(namespace, store_epoch)
        self._look_up(relay_batch, waiting)
        return relay_batch

    def resting_on(self, namespace: str, store_epoch: str, cluster_ids: Sequence[int]) -> RelayBatch:
        """The states of these clusters, and of those that they merged into."""
        relay_batch = self._begin(namespace, store_epoch)
        self._look_up(relay_batch, cluster_ids)
        return relay_batch

    def verify_before_commit(self, relay_batches: Sequence[RelayBatch]) -> None:
        """Raises RecoveryNeeded unless the store still knows what these rest on. Their records are in the topic."""
        published = {relay_batch.namespace: relay_batch.revisions for relay_batch in relay_batches}
        verified = self._store.verify_before_commit(published, self._unconfirmed)
        self._keep(verified.unconfirmed)
        for relay_batch in relay_batches:
            position = verified.positions[relay_batch.namespace]
            if position is None or position.store_epoch != relay_batch.store_epoch:
                raise RecoveryNeeded("the store may have forgotten what this batch was decided on")
            self._verified_at[relay_batch.namespace] = position

    def confirm(self, relay_batches: Sequence[RelayBatch], committed: Mapping[tuple[str, int], int]) -> None:
        """These are published, and questions committed below these offsets: kept for the next confirmation."""
        for relay_batch in relay_batches:
            self._unmerges.published(relay_batch.namespace, relay_batch.revisions)
        self._unconfirmed += [
            Confirmation(relay_batch.namespace, relay_batch.revisions, dict(committed), relay_batch.position)
            for relay_batch in relay_batches
            if relay_batch.revisions
        ]

    def withdraw_offsets(self) -> None:
        """Confirm states alone: an assignment has ended, whose log may be cut and its offsets given again."""
        self._unconfirmed = [replace(one, committed={}) for one in self._unconfirmed]

    def flush(self) -> None:
        """Confirm in the store now, since no verification is near that takes the confirmations along."""
        if self._unconfirmed:
            self._retry.call(self._send_confirmations)

    def _send_confirmations(self) -> None:
        unconfirmed = self._store.confirm(self._unconfirmed)
        self._keep(unconfirmed)
        if self._unconfirmed:
            raise next(error for _, error in unconfirmed if isinstance(error, StoreUnavailable))

    def _keep(self, unconfirmed: Unconfirmed) -> None:
        """Keep the confirmations that the store could not take for now."""
        self._unconfirmed = [one for one, error in unconfirmed if isinstance(error, StoreUnavailable)]
        for one, error in unconfirmed:
            if isinstance(error, NamespaceRefused):
                self._on_refused(one.namespace, error)
            elif not isinstance(error, StoreUnavailable):
                raise error

    def _begin(self, namespace: str, store_epoch: str, committed_at: OutboxPosition | None = None) -> RelayBatch:
        verified_at = self._verified_at.get(namespace)
        position = committed_at or self._retry.call(self._store.outbox_position, namespace)
        # The later of the two: the verification of the batch before may have put there what this batch publishes.
        if verified_at is not None and verified_at.store_epoch == position.store_epoch:
            position = max(position, verified_at, key=lambda at: (at.count, at.server_time_ms))
        return RelayBatch(namespace, store_epoch, position, self._retry.call(self._headers, namespace, store_epoch))

    def _look_up(self, relay_batch: RelayBatch, cluster_ids: Iterable[int]) -> None:
        """Add the states of clusters, and of those that they were merged into; 0 is the namespace.

        One question to the store for all of them, for it may be far away, and one more for each merge that followed.
        """
        wanted = [cluster_id for cluster_id in cluster_ids if cluster_id not in relay_batch.revisions]
        if 0 in wanted:
            wanted.remove(0)
            whole = self._retry.call(self._store.namespace_state, relay_batch.namespace)
            if whole is not None:
                self._add_namespace(relay_batch, whole)
        while wanted:
            states = self._retry.call(self._store.states, relay_batch.namespace, wanted)
            # Clusters that left the store for good have no state to publish.
            relay_batch.revisions.update(dict.fromkeys(wanted, 0))
            wanted = self._add_clusters(relay_batch, states)

    def _add_clusters(self, relay_batch: RelayBatch, states: Sequence[ClusterState]) -> list[int]:
        """Add these states; returns the clusters whose states are lacking beside them."""
        for state in states:
            relay_batch.records.append(Outgoing(self._topic, *encode_cluster_state(state), relay_batch.headers))
            relay_batch.revisions[state.cluster_id] = state.revision
        beside = dict.fromkeys(state.merged_into for state in states if state.merged_into is not None)
        others = self._unmerges.other_parts(relay_batch.namespace, relay_batch.store_epoch, states)
        return [cluster_id for cluster_id in (*beside, *others) if cluster_id not in relay_batch.revisions]

    def _add_namespace(self, relay_batch: RelayBatch, whole: NamespaceState) -> None:
        relay_batch.records.append(Outgoing(self._topic, *encode_namespace_state(whole), relay_batch.headers))
        relay_batch.revisions[0] = whole.revision


def _named(items: Sequence[Answered], namespace: str) -> list[int]:
    """The clusters that the decisions in a namespace name, each once."""
    named = (
        item.decision.cluster_id for item in items if isinstance(item, Decided) and item.question.namespace == namespace
    )
    return list(dict.fromkeys(cluster_id for cluster_id in named if cluster_id is not None))
