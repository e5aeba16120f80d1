"""Namespaces in memory: begun, described and listed."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from questream.clustering.mirror import MeanMoved
from questream.domain import NamespaceRules, NamespaceState
from questream.errors import IdentityMismatch
from questream.store.protocol import NO_TOPICS, Identity, NamespaceSizes, StreamTopics
from questream.store.reference.base import MemoryBase
from questream.store.reference.state import Namespace


class MemoryNamespaces(MemoryBase):
    """The part of the protocol Namespaces."""

    def ping(self) -> None:
        """Memory always answers."""

    def open(self, namespace: str, identity: Identity, topics: StreamTopics = NO_TOPICS) -> None:
        with self._lock:
            if namespace not in self._namespaces:
                next_id, operation_count = self._deleted.get(namespace, (1, 0))
                self._namespaces[namespace] = Namespace(
                    identity, identity.prepared_by, next_id=next_id, operation_count=operation_count
                )
            state = self._namespaces[namespace]
            built = state.identity
            if (built.model, built.revision, built.dimension) != (
                identity.model,
                identity.revision,
                identity.dimension,
            ):
                raise IdentityMismatch(
                    f"namespace {namespace!r} was built with model {built.model!r} revision {built.revision!r}"
                    f" ({built.dimension}-d), this one is {identity.model!r} revision {identity.revision!r}"
                    f" ({identity.dimension}-d)"
                )
            topics.require_same(namespace, state.topics)
            state.identity = identity
            state.topics = StreamTopics(
                topics.input_topic or state.topics.input_topic, topics.cluster_topic or state.topics.cluster_topic
            )

    def prepared_by(self, namespace: str) -> str | None:
        with self._lock:
            return self._get(namespace).prepared_by

    def admit(self, namespaces: Collection[str], limit: int) -> set[str]:
        refused = set()
        with self._lock:
            for name in namespaces:
                known = self._namespaces.keys() | self._admitted
                if name not in known and len(known) >= limit:
                    refused.add(name)
                else:
                    self._admitted.add(name)
        return refused

    def topics(self, namespace: str) -> StreamTopics:
        with self._lock:
            state = self._namespaces.get(namespace)
            return NO_TOPICS if state is None else state.topics

    def namespaces(self) -> list[str]:
        with self._lock:
            return sorted(self._namespaces.keys() | self._admitted)

    def rules(self, namespace: str) -> NamespaceRules:
        with self._lock:
            state = self._namespaces.get(namespace)
            return NamespaceRules() if state is None else state.rules

    def sizes(self, namespace: str) -> NamespaceSizes:
        with self._lock:
            state = self._namespaces.get(namespace)
            if state is None:
                return NamespaceSizes(0, 0, 0, 0, 0, {})
            live = [one for one in state.clusters.values() if one.vector_sum is not None]
            return NamespaceSizes(
                len(live),
                sum(one.cluster_row.size == 1 for one in live),
                sum(one.merged_into is not None and not one.retired for one in state.clusters.values()),
                len(state.outbox),
                len(state.log),
                {place: len(entries) for place, entries in state.ledgers.items() if entries},
            )

    def namespace_state(self, namespace: str) -> NamespaceState | None:
        with self._lock:
            state = self._namespaces.get(namespace)
            if state is None:
                return None
            mean = state.mean or MeanMoved(0, np.zeros(state.identity.dimension, np.float32))
            identity = state.identity
            return NamespaceState(
                namespace=namespace,
                model=identity.model,
                model_revision=identity.revision,
                similarity=identity.similarity,
                linkage=state.rules.linkage or identity.linkage,
                threshold=identity.threshold if state.rules.threshold is None else state.rules.threshold,
                next_cluster=state.next_id,
                mean_questions=mean.questions,
                mean_sum=mean.vector_sum,
                seq=state.seq,
                generation=state.generation,
                rules=state.rules,
            )
