"""The product broken in one place each: what the explorer must catch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from unittest.mock import patch

from questream.broker.port import Offsets, Outgoing
from questream.broker.publisher import TransactionalPublisher
from questream.clustering.merging import Merge
from questream.domain import Naming
from questream.store.protocol import Committed, Confirmation, Ledger, Merged, Proposal, Replayed, Stale
from questream.store.reference.store import MemoryStore
from questream.stream.backlog import Batch
from questream.stream.decider import DecidedBatch, Decider
from questream.stream.publishing import Publishing
from questream.stream.question import Ready

from .script import ProducerPort
from .worker import Protocol, make_publisher


class _NoLedger(MemoryStore):
    """What was decided is not remembered."""

    def ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        return Ledger(store_epoch=super().ledger(namespace, topic, partition).store_epoch)

    def _commit(self, namespace: str, proposal: Proposal) -> Committed | Stale | Replayed:
        self._namespaces[namespace].ledgers.clear()
        # Nor is it missed.
        partitions = [replace(batch, head=-1) for batch in proposal.partitions]
        return super()._commit(namespace, replace(proposal, partitions=partitions))


class _NoStaleCheck(MemoryStore):
    """A batch is applied whatever others did since it was decided."""

    def _commit(self, namespace: str, proposal: Proposal) -> Committed | Stale | Replayed:
        with patch.object(MemoryStore, "_is_stale", lambda *_: False):
            return super()._commit(namespace, proposal)


class _CarelessMerge(MemoryStore):
    """A merge is applied whatever its clusters have become."""

    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        clusters = self._namespaces[namespace].clusters
        current = [
            replace(
                merge,
                survivor_members=clusters[merge.survivor].members,
                loser_members=clusters[merge.loser].members,
            )
            for merge in merges
        ]
        return super().merge(namespace, store_epoch, seq, current)


class _MixingMerge(MemoryStore):
    """A merge takes the survivor's label, and the loser's route where the survivor has none."""

    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        def mixed(survivor: Naming, loser: Naming, _: Naming | None) -> Naming:
            return survivor[0] or loser[0], survivor[1] or loser[1]

        with patch("questream.clustering.merging.merged_naming", mixed):
            return super().merge(namespace, store_epoch, seq, merges)


class _LostAlias(MemoryStore):
    """Nobody remembers what a merged cluster has become."""

    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        merged = super().merge(namespace, store_epoch, seq, merges)
        for applied in merged.applied:
            del self._namespaces[namespace].clusters[applied.merge.loser]
        return merged


class _DoubleCount(MemoryStore):
    """A decision that is recalled counts again."""

    def _commit(self, namespace: str, proposal: Proposal) -> Committed | Stale | Replayed:
        reply = super()._commit(namespace, proposal)
        if isinstance(reply, Replayed):
            for touch in proposal.cluster_updates:
                cluster = self._namespaces[namespace].clusters.get(touch.cluster_id)
                if cluster is not None:
                    cluster.cluster_row = replace(cluster.cluster_row, size=cluster.cluster_row.size + touch.joins)
        return reply


class _CarelessConfirm(MemoryStore):
    """What was published is recovered, whatever became of it since."""

    def _confirm(self, confirmation: Confirmation) -> None:
        super()._confirm(confirmation)
        for cluster_id in confirmation.revisions:
            self._namespaces[confirmation.namespace].outbox.pop(cluster_id, None)


class _Trusting(MemoryStore):
    """A store that was restarted is taken to have lost nothing."""

    def require_recovery(self, namespace: str) -> None:
        """It stays as it was."""


class _OffsetsFirst(TransactionalPublisher):
    """Offsets are committed before the records that they cover."""

    def publish(
        self, records: Sequence[Outgoing], offsets: Offsets, membership: Any, verify_before_commit: Callable[[], None]
    ) -> Offsets:
        if offsets:
            super().publish([], offsets, membership, verify_before_commit)
        super().publish(records, {}, membership, verify_before_commit)
        return offsets


class _GoesOnDeciding(Decider):
    """A refused batch is dropped, and what follows it under the same assignment is decided."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **{**named, "on_superseded": lambda _: None})


class _GoesOnPublishing(Publishing):
    """The same of a batch that is refused when it is published."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **{**named, "on_superseded": lambda _: None})


class _AnyAssignment(Decider):
    """What was taken under an assignment that has ended is decided all the same."""

    def decide(self, batch: Batch[Ready]) -> DecidedBatch | None:
        self._current_assignment = lambda: batch.assignment_id
        return super().decide(batch)


def _offsets_first(make_producer: Callable[[], ProducerPort]) -> TransactionalPublisher:
    template = make_publisher(make_producer)
    assert isinstance(template, TransactionalPublisher)
    return _OffsetsFirst(template._make_producer, template._watchdog, 1.0)


NO_LEDGER = Protocol(store=_NoLedger)
NO_STALE_CHECK = Protocol(store=_NoStaleCheck)
CARELESS_MERGE = Protocol(store=_CarelessMerge)
MIXING_MERGE = Protocol(store=_MixingMerge)
LOST_ALIAS = Protocol(store=_LostAlias)
DOUBLE_COUNT = Protocol(store=_DoubleCount)
CARELESS_CONFIRM = Protocol(store=_CarelessConfirm)
TRUSTING = Protocol(store=_Trusting)
GOES_ON_AFTER_REFUSAL = Protocol(decider=_GoesOnDeciding, publishing=_GoesOnPublishing)
ANY_ASSIGNMENT = Protocol(decider=_AnyAssignment)
OFFSETS_FIRST = Protocol(make_publisher=_offsets_first)
