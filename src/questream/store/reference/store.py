"""Clusters in this process: the Store for a notebook, with the same answers as Redis gives."""

from __future__ import annotations

from questream.store.reference.clusters import MemoryClusters
from questream.store.reference.commits import MemoryCommits
from questream.store.reference.levels import MemoryLevels
from questream.store.reference.logs import MemoryLogs
from questream.store.reference.names import MemoryNames
from questream.store.reference.namespaces import MemoryNamespaces
from questream.store.reference.operations import MemoryOperations
from questream.store.reference.outbox import MemoryOutbox
from questream.store.reference.recovery import MemoryRecovery
from questream.store.reference.sentences import MemorySentences


class MemoryStore(
    MemoryCommits,
    MemoryLogs,
    MemoryOutbox,
    MemoryNamespaces,
    MemoryRecovery,
    MemoryClusters,
    MemoryOperations,
    MemoryLevels,
    MemoryNames,
    MemorySentences,
):
    """The Store in memory; safe to share between threads.

    `log_commits` bounds the log in commits. `clock` gives seconds; a test can turn it. What a merge absorbs is kept for
    `undo_seconds`.
    """
