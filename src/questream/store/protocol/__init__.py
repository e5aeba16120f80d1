"""The promises of a store, as a small protocol for each kind of call. Both stores pass tests/contract/test_store.py."""

from __future__ import annotations

from typing import Protocol

from questream.clustering.stored_levels import StoredLevels
from questream.store.protocol.clusters import Clusters
from questream.store.protocol.commits import (
    TURN_SECONDS,
    AppliedMerge,
    AskedTurn,
    ClusterRow,
    ClusterUpdate,
    CommitReply,
    Commits,
    Committed,
    Ledger,
    LedgerRow,
    LogLength,
    MeanUpdate,
    Merged,
    PartitionBatch,
    Proposal,
    Replayed,
    Stale,
    Tail,
    Turn,
    Whose,
)
from questream.store.protocol.levels import ENDED_KEPT, LevelCalls, LevelsMark
from questream.store.protocol.names import MadeName, NameCalls
from questream.store.protocol.namespaces import (
    LAYOUT,
    NO_TOPICS,
    Identity,
    Namespaces,
    NamespaceSizes,
    StoreError,
    StreamTopics,
)
from questream.store.protocol.operations import (
    OPERATIONS_KEPT,
    REMAINS_KEPT,
    TOMBSTONE_SECONDS,
    UNDO_SECONDS,
    Forgetting,
    OpenedCluster,
    OperationClaim,
    Operations,
    Part,
    ProposedLevels,
    ProposedOperation,
    Remains,
    aliases_of,
    digest_of_aliases,
    kept_rulings,
    waits_to_be_published,
    without_texts,
)
from questream.store.protocol.outbox import (
    Confirmation,
    Outbox,
    OutboxPosition,
    Revisions,
    Unconfirmed,
    Verified,
    Waiting,
)
from questream.store.protocol.recovery import Mended, Recovery, Restored
from questream.store.protocol.sentences import SentenceCalls

__all__ = [
    "ENDED_KEPT",
    "LAYOUT",
    "NO_TOPICS",
    "OPERATIONS_KEPT",
    "REMAINS_KEPT",
    "TOMBSTONE_SECONDS",
    "TURN_SECONDS",
    "UNDO_SECONDS",
    "AppliedMerge",
    "AskedTurn",
    "ClusterRow",
    "ClusterUpdate",
    "Clusters",
    "CommitReply",
    "Commits",
    "Committed",
    "Confirmation",
    "Forgetting",
    "Identity",
    "Ledger",
    "LedgerRow",
    "LevelCalls",
    "LevelsMark",
    "LogLength",
    "MadeName",
    "MeanUpdate",
    "Mended",
    "Merged",
    "NameCalls",
    "NamespaceSizes",
    "Namespaces",
    "OpenedCluster",
    "OperationClaim",
    "Operations",
    "Outbox",
    "OutboxPosition",
    "Part",
    "PartitionBatch",
    "Proposal",
    "ProposedLevels",
    "ProposedOperation",
    "Recovery",
    "Remains",
    "Replayed",
    "Restored",
    "Revisions",
    "SentenceCalls",
    "Stale",
    "Store",
    "StoreError",
    "StoredLevels",
    "StreamTopics",
    "Tail",
    "Turn",
    "Unconfirmed",
    "Verified",
    "Waiting",
    "Whose",
    "aliases_of",
    "digest_of_aliases",
    "kept_rulings",
    "waits_to_be_published",
    "without_texts",
]


class Store(
    Namespaces, Commits, Outbox, Recovery, Clusters, Operations, LevelCalls, NameCalls, SentenceCalls, Protocol
):
    """Shared state of namespaces. Any call may raise StoreUnavailable (try again) or StoreRefused (do not).

    A namespace is in a store epoch, which begins when it is recovered: compared with the cluster topic. It ends
    when the store's process does, or its memory: then `commit`, `merge`, `tail`, `ask_turns` and `ledger` raise
    RecoveryNeeded. A call that finds part of the memory gone (a key missing, cut short, of another type, older than
    seen) ends it.
    """
