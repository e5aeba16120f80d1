"""What the cluster topic is told: with each batch the states that its decisions rest on, and what others left untold.

A store that has lost its memory is made whole from that topic alone. So no decision is published without the state of
its cluster, a merged cluster never without the one that it became, and neither unless the store still knows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from questream.broker.kafka_python.publisher import Outgoing
from questream.deciding.clusterer import Decided
from questream.domain import ClusterState, NamespaceState
from questream.errors import StoreUnsettled
from questream.records import encode_cluster_state, encode_namespace_state
from questream.store.protocol import Store
from questream.stream.backlog import Batch
from questream.stream.retry import Retry

TOLD_AT_ONCE = 256

# What the records of a namespace carry that were made in an incarnation: which store it is.
Headers = Callable[[str, str], Sequence[tuple[str, bytes | None]]]


@dataclass(slots=True)
class Telling:
    """Records of one namespace for the cluster topic, which rest on one incarnation of it.

    `revisions` are those told, by cluster id; 0 is the namespace itself. `begun` is where the outbox stood before that.
    `headers` are those of all its records.
    """

    namespace: str
    incarnation: str
    begun: str
    headers: Sequence[tuple[str, bytes | None]]
    records: list[Outgoing] = field(default_factory=list)
    revisions: dict[int, int] = field(default_factory=dict)


class Teller:
    """Gathers what the cluster topic has to be told, and tells the store what has been."""

    def __init__(self, store: Store, retry: Retry, topic: str, headers: Headers) -> None:
        self._store = store
        self._retry = retry
        self._topic = topic
        self._headers = headers

    def of_batch(self, batch: Batch, decided: Sequence[Decided]) -> list[Telling]:
        """The states of all clusters that the batch's decisions name, as far as deciding them did not tell."""
        named = {
            (item.question.namespace, item.incarnation)
            for item in batch.items
            if item.question is not None and item.error is None
        }
        tellings = [self._begin(namespace, incarnation) for namespace, incarnation in sorted(named)]
        by_namespace = {telling.namespace: telling for telling in tellings}
        for result in decided:
            telling = by_namespace[result.namespace]
            for state in result.states:
                self._tell_cluster(telling, state)
            if result.namespace_state is not None:
                self._tell_namespace(telling, result.namespace_state)
        for telling in tellings:
            # Recalled from the ledger of one who may have died before it published, or merged by another meanwhile.
            self._look_up(telling, _named(batch, telling.namespace))
        return tellings

    def untold(self, namespace: str, older_than_seconds: float, most: int) -> Telling | None:
        """Up to `most` of what has waited that long to be told, and what it merged into; None if nothing has."""
        incarnation = self._retry.store(self._store.incarnation, namespace)
        waiting = self._retry.store(self._store.unpublished, namespace, older_than_seconds, most)
        if incarnation is None or not waiting:
            return None
        telling = self._begin(namespace, incarnation)
        self._look_up(telling, waiting)
        return telling

    def require(self, tellings: Sequence[Telling]) -> None:
        """Raises StoreUnsettled unless the store still knows what these rest on. Their records are in the topic."""
        for telling in tellings:
            standing = self._store.publishing(telling.namespace, list(telling.revisions.items()))
            if standing != telling.incarnation:
                raise StoreUnsettled("the store may have forgotten what this batch was decided on")

    def confirm(self, tellings: Sequence[Telling], committed: Mapping[tuple[str, int], int]) -> None:
        """These are published, and the offsets of questions are committed up to there."""
        for telling in tellings:
            revisions = list(telling.revisions.items())
            self._retry.store(self._store.confirm, telling.namespace, revisions, committed, telling.begun)

    def _begin(self, namespace: str, incarnation: str) -> Telling:
        begun = self._retry.store(self._store.moment, namespace)
        return Telling(namespace, incarnation, begun, self._retry.store(self._headers, namespace, incarnation))

    def _look_up(self, telling: Telling, cluster_ids: Iterable[int]) -> None:
        """Tell how clusters stand, and what they were merged into; 0 is the namespace.

        One question to the store for all of them, for it may be far away, and one more for each merge that followed.
        """
        wanted = [cluster_id for cluster_id in cluster_ids if cluster_id not in telling.revisions]
        if 0 in wanted:
            wanted.remove(0)
            whole = self._retry.store(self._store.namespace_state, telling.namespace)
            if whole is not None:
                self._tell_namespace(telling, whole)
        while wanted:
            states = self._retry.store(self._store.states, telling.namespace, wanted)
            # What left the store for good: nothing of it waits to be told.
            telling.revisions.update(dict.fromkeys(wanted, 0))
            for state in states:
                self._tell_cluster(telling, state)
            merged_into = dict.fromkeys(state.merged_into for state in states if state.merged_into is not None)
            wanted = [cluster_id for cluster_id in merged_into if cluster_id not in telling.revisions]

    def _tell_cluster(self, telling: Telling, state: ClusterState) -> None:
        telling.records.append(Outgoing(self._topic, *encode_cluster_state(state), telling.headers))
        telling.revisions[state.cluster_id] = state.revision

    def _tell_namespace(self, telling: Telling, whole: NamespaceState) -> None:
        telling.records.append(Outgoing(self._topic, *encode_namespace_state(whole), telling.headers))
        telling.revisions[0] = whole.revision


def _named(batch: Batch, namespace: str) -> list[int]:
    """The clusters that a batch's decisions in a namespace name, each once."""
    named = (
        item.recorded.cluster_id
        for item in batch.items
        if item.question is not None and item.question.namespace == namespace and item.recorded is not None
    )
    return list(dict.fromkeys(cluster_id for cluster_id in named if cluster_id is not None))
