"""Clusters in this process: the Store for a notebook, with the same answers as Redis gives."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from questream.clustering.merging import Merge
from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved, MeanMoved, Mirror
from questream.domain import ClusterState, NamespaceState, Vector
from questream.errors import IdentityMismatch, StoreRefused
from questream.store.ledger import decide
from questream.store.protocol import (
    AppliedMerge,
    Committed,
    Identity,
    Ledger,
    Merged,
    Proposal,
    Replayed,
    Stale,
    Standing,
    Tail,
    Touch,
)


@dataclass(slots=True)
class _Cluster:
    standing: Standing
    members: int
    vector_sum: Vector | None
    merged_into: int | None = None
    labelled: bool = False


@dataclass(slots=True)
class _Namespace:
    identity: Identity
    seq: int = 0
    next_id: int = 1
    mean: MeanMoved | None = None
    clusters: dict[int, _Cluster] = field(default_factory=dict)
    log: list[tuple[int, list[Change]]] = field(default_factory=list)
    ledgers: dict[tuple[str, int], list[tuple[int, Ledger]]] = field(default_factory=dict)
    outbox: dict[int, float] = field(default_factory=dict)


class MemoryStore:
    """The Store in memory; safe to share between threads.

    `log_commits` bounds the log in commits. `clock` gives seconds; a test can turn it.
    """

    def __init__(self, *, log_commits: int = 1024, clock: Callable[[], float] = time.monotonic) -> None:
        self._log_commits = log_commits
        self._clock = clock
        self._namespaces: dict[str, _Namespace] = {}
        self._lock = threading.Lock()

    def ping(self) -> None:
        """Memory always answers."""

    def open(self, namespace: str, identity: Identity) -> None:
        with self._lock:
            state = self._namespaces.setdefault(namespace, _Namespace(identity))
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
            state.identity = identity

    def load(self, namespace: str) -> Mirror:
        with self._lock:
            state = self._get(namespace)
            mirror = Mirror(state.identity.dimension)
            mirror.apply(
                ClusterMoved(cluster_id, cluster.members, cluster.vector_sum)
                for cluster_id, cluster in state.clusters.items()
                if cluster.vector_sum is not None
            )
            if state.mean:
                mirror.apply([state.mean])
            mirror.seq, mirror.next_id = state.seq, state.next_id
            return mirror

    def tail(self, namespace: str, seq: int) -> Tail:
        with self._lock:
            return _tail(self._get(namespace), seq)

    def ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        with self._lock:
            return _joined(self._get(namespace).ledgers.get((topic, partition), []))

    def commit(self, namespace: str, proposal: Proposal) -> Committed | Stale | Replayed:
        with self._lock:
            state = self._get(namespace)
            ledgers = {
                (b.topic, b.partition): _joined(state.ledgers.get((b.topic, b.partition), []))
                for b in proposal.partitions
            }
            if any(b.first <= ledgers[b.topic, b.partition].head for b in proposal.partitions):
                return Replayed(ledgers)
            missed = _tail(state, proposal.seq)
            if self._is_stale(state, proposal):
                return Stale(missed)
            standings = {touch.cluster_id: self._touch(state, touch) for touch in proposal.touches}
            changes: list[Change] = [
                ClusterMoved(t.cluster_id, t.members, t.vector_sum)
                for t in proposal.touches
                if t.vector_sum is not None
            ]
            if proposal.mean:
                state.mean = MeanMoved(proposal.mean.questions, proposal.mean.vector_sum)
                changes.append(state.mean)
            if proposal.tells_namespace:
                state.outbox[0] = self._clock()
            self._log(state, changes)
            self._record(state, proposal, standings)
            return Committed(state.seq, missed, standings)

    def merge(self, namespace: str, seq: int, merges: Sequence[Merge]) -> Merged:
        with self._lock:
            state = self._get(namespace)
            missed = _tail(state, seq)
            changes: list[Change] = []
            applied = []
            refused: set[int] = set()
            for merge in merges:
                survivor, loser = state.clusters.get(merge.survivor), state.clusters.get(merge.loser)
                if (
                    survivor is None
                    or loser is None
                    or (survivor.members, loser.members) != (merge.survivor_members, merge.loser_members)
                    or refused & {merge.survivor, merge.loser}
                ):
                    # Later sums build on earlier merges.
                    refused |= {merge.survivor, merge.loser}
                    continue
                applied.append(self._merge(state, merge, survivor, loser))
                changes += [
                    ClusterRemoved(merge.loser),
                    ClusterMoved(merge.survivor, merge.members, merge.vector_sum),
                ]
            self._log(state, changes)
            return Merged(state.seq, missed, applied)

    def label(self, namespace: str, cluster_id: int, label: str | None, route: str | None) -> ClusterState:
        with self._lock:
            state = self._get(namespace)
            cluster = state.clusters[cluster_id]
            while cluster.merged_into is not None:
                cluster = state.clusters[cluster.merged_into]
            old = cluster.standing
            cluster.standing = replace(
                old,
                label=old.label if label is None else label or None,
                route=old.route if route is None else route or None,
                revision=old.revision + 1,
            )
            cluster.labelled = True
            state.outbox[old.cluster_id] = self._clock()
            return _state(namespace, state, old.cluster_id)

    def cluster(self, namespace: str, cluster_id: int) -> ClusterState | None:
        with self._lock:
            state = self._get(namespace)
            return _state(namespace, state, cluster_id) if cluster_id in state.clusters else None

    def clusters(self, namespace: str) -> Iterator[ClusterState]:
        with self._lock:
            state = self._get(namespace)
            live = [i for i, cluster in sorted(state.clusters.items()) if cluster.vector_sum is not None]
            states = [_state(namespace, state, cluster_id) for cluster_id in live]
        yield from states

    def namespaces(self) -> list[str]:
        with self._lock:
            return sorted(self._namespaces)

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
                linkage=identity.linkage,
                threshold=identity.threshold,
                next_cluster=state.next_id,
                mean_questions=mean.questions,
                mean_sum=mean.vector_sum,
                seq=state.seq,
            )

    def unpublished(self, namespace: str, older_than_seconds: float, limit: int) -> list[int]:
        with self._lock:
            latest = self._clock() - older_than_seconds
            waiting = sorted((since, i) for i, since in self._get(namespace).outbox.items() if since <= latest)
            return [cluster_id for _, cluster_id in waiting[:limit]]

    def confirm(self, namespace: str, published: Sequence[tuple[int, int]]) -> None:
        with self._lock:
            state = self._get(namespace)
            for cluster_id, revision in published:
                if cluster_id == 0:
                    settled = (state.mean.questions if state.mean else 0) + state.next_id == revision
                else:
                    cluster = state.clusters.get(cluster_id)
                    settled = cluster is None or cluster.standing.revision == revision
                if settled:
                    state.outbox.pop(cluster_id, None)
                else:
                    state.outbox.setdefault(cluster_id, self._clock())

    def _get(self, namespace: str) -> _Namespace:
        try:
            return self._namespaces[namespace]
        except KeyError:
            raise StoreRefused(f"namespace {namespace!r} was never opened") from None

    @staticmethod
    def _is_stale(state: _Namespace, proposal: Proposal) -> bool:
        if proposal.creates and proposal.seq != state.seq:
            return True
        if proposal.mean and proposal.mean.expected_questions != (state.mean.questions if state.mean else 0):
            return True
        for touch in proposal.touches:
            if touch.creates:
                continue
            cluster = state.clusters.get(touch.cluster_id)
            if cluster is None or cluster.vector_sum is None:
                return True
            if touch.vector_sum is not None and cluster.members != touch.expected_members:
                return True
        return False

    def _touch(self, state: _Namespace, touch: Touch) -> Standing:
        cluster = state.clusters.get(touch.cluster_id)
        if cluster is None:
            standing = Standing(
                touch.cluster_id, 0, 0, None, None, touch.seen_at, touch.seen_at, touch.representative or None
            )
            cluster = state.clusters[touch.cluster_id] = _Cluster(standing, 0, None)
            state.next_id = max(state.next_id, touch.cluster_id + 1)
        if touch.vector_sum is not None:
            cluster.members, cluster.vector_sum = touch.members, touch.vector_sum
        old = cluster.standing
        cluster.standing = replace(
            old,
            size=old.size + touch.joins,
            revision=old.revision + 1,
            last_seen_at=max(old.last_seen_at, touch.seen_at),
        )
        cluster.labelled = False
        state.outbox[touch.cluster_id] = self._clock()
        return cluster.standing

    def _merge(self, state: _Namespace, merge: Merge, survivor: _Cluster, loser: _Cluster) -> AppliedMerge:
        kept, lost = survivor.standing, loser.standing
        survivor.members, survivor.vector_sum = merge.members, merge.vector_sum
        survivor.standing = replace(
            kept,
            size=kept.size + lost.size,
            revision=kept.revision + 1,
            label=kept.label or lost.label,
            route=kept.route or lost.route,
            created_at=min(kept.created_at, lost.created_at),
            last_seen_at=max(kept.last_seen_at, lost.last_seen_at),
        )
        survivor.labelled = False
        loser.members, loser.vector_sum, loser.merged_into = 0, None, merge.survivor
        loser.standing = replace(lost, revision=lost.revision + 1)
        state.outbox[merge.survivor] = state.outbox[merge.loser] = self._clock()
        return AppliedMerge(merge, survivor.standing, loser.standing)

    def _log(self, state: _Namespace, changes: list[Change]) -> None:
        if changes:
            state.seq += 1
            state.log.append((state.seq, changes))
            del state.log[: -self._log_commits]

    @staticmethod
    def _record(state: _Namespace, proposal: Proposal, standings: dict[int, Standing]) -> None:
        joins = {touch.cluster_id: touch.joins for touch in proposal.touches}
        model = state.identity.model
        for batch in proposal.partitions:
            decisions = {
                row.offset: decide(row, standings[row.cluster_id], joins[row.cluster_id], proposal, model)
                for row in batch.rows
            }
            entries = state.ledgers.setdefault((batch.topic, batch.partition), [])
            entries.append((batch.first, Ledger(batch.last, decisions)))
            while len(entries) > 1 and entries[0][1].head < batch.prune_below:
                entries.pop(0)


def _tail(state: _Namespace, seq: int) -> Tail:
    if seq == state.seq:
        return Tail(seq, [])
    entries = [(at, changes) for at, changes in state.log if at > seq]
    if not entries or entries[0][0] != seq + 1:
        return Tail(state.seq, None)
    return Tail(state.seq, [change for _, changes in entries for change in changes])


def _joined(entries: list[tuple[int, Ledger]]) -> Ledger:
    decisions = {offset: decision for _, ledger in entries for offset, decision in ledger.decisions.items()}
    return Ledger(max((ledger.head for _, ledger in entries), default=-1), decisions)


def _state(namespace: str, state: _Namespace, cluster_id: int) -> ClusterState:
    cluster = state.clusters[cluster_id]
    standing = cluster.standing
    return ClusterState(
        cluster_id=cluster_id,
        namespace=namespace,
        event="merged" if cluster.merged_into is not None else "labelled" if cluster.labelled else "updated",
        size=standing.size,
        members=cluster.members,
        vector_sum=cluster.vector_sum,
        merged_into=cluster.merged_into,
        representative=standing.representative,
        label=standing.label,
        route=standing.route,
        created_at=standing.created_at,
        last_seen_at=standing.last_seen_at,
        model=state.identity.model,
        revision=standing.revision,
    )
