"""Clusters that a batch has moved together are merged in the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from questream.clustering.may_merge import MayMerge
from questream.clustering.merging import Merge, propose_merges
from questream.clustering.mirror import Change, ClusterMoved, ClusterRemoved, Mirror
from questream.deciding.batch import NamespaceBatch
from questream.deciding.close_calls import CloseCalls
from questream.deciding.config import NamespaceConfig
from questream.deciding.mirrors import Mirrors
from questream.deciding.states import live_state, merged_state
from questream.store.protocol import Merged, Store

# Pairs that people's labels or a judge keep apart are not proposed again for so long: labels may change meanwhile, and
# only the store knows them. Each refusal lets the pairs behind it be proposed, so that a few rounds do for nearly every
# batch.
_APART_SECONDS = 60.0
_APART_PAIRS = 1024
_ROUNDS = 8


class Merging:
    """Merges clusters of the namespaces that `mirrors` follow. It belongs to the thread of the mirrors."""

    def __init__(self, store: Store, mirrors: Mirrors, close_calls: CloseCalls, clock: Callable[[], float]) -> None:
        self._store = store
        self._mirrors = mirrors
        self._close_calls = close_calls
        self._clock = clock
        # Clusters that moved and were not scored for merging since, because a call to the store failed in between.
        self._unmerged: dict[str, set[int]] = {}
        # Pairs that the store refused to merge because both are named and differ, and when each may be proposed again.
        self._apart: dict[str, dict[tuple[int, int], float]] = {}

    def note_moved(self, namespace: str, cluster_ids: Iterable[int]) -> None:
        """These clusters are to be scored for merging with the next batch."""
        self._unmerged.setdefault(namespace, set()).update(cluster_ids)

    def forget(self, namespace: str) -> None:
        """Score none of the namespace's clusters any more for what came before."""
        self._unmerged.pop(namespace, None)

    def propose_again(self, namespace: str) -> None:
        """Pairs that the store refused to merge may be proposed again at once."""
        self._apart.pop(namespace, None)

    def merge(self, batch: NamespaceBatch, config: NamespaceConfig, may_merge: MayMerge | None) -> None:
        """Merge the clusters that have moved together; their states and numbers are noted in the batch.

        `may_merge` is of the present clusters.
        """
        namespace = batch.namespace
        unmerged = self._unmerged.setdefault(namespace, set())
        mirror = self._mirrors.follow(namespace)
        for _ in range(_ROUNDS):
            merges = propose_merges(mirror, sorted(unmerged), config.rules, self._pairs_apart(namespace), may_merge)
            if not merges:
                break
            if differing := self._close_calls.differing(namespace, merges):
                self._keep_apart(namespace, differing)
                continue
            started = time.perf_counter()
            reply = self._store.merge(namespace, mirror.store_epoch, mirror.seq, merges)
            batch.commit_seconds += time.perf_counter() - started
            mirror = self._adopt(batch, config.identity.model, reply)
            if not reply.apart:
                break
            may_merge = None  # Those that merged have moved.
            self._keep_apart(namespace, reply.apart)
            unmerged.update(applied.merge.survivor for applied in reply.applied)
        unmerged.clear()

    def _adopt(self, batch: NamespaceBatch, model: str, reply: Merged) -> Mirror:
        """The merges happened: bring the mirror up to them, note the states of their clusters."""
        namespace = batch.namespace
        changes: list[Change] = []
        for applied in reply.applied:
            merge = applied.merge
            changes += [
                ClusterRemoved(merge.loser),
                ClusterMoved(
                    merge.survivor, merge.members, merge.vector_sum, merge.kept, applied.survivor.ruling.exemplars
                ),
            ]
        mirror = self._mirrors.advance(namespace, reply.missed, reply.seq, changes)
        for applied in reply.applied:
            # A merge is published with the cluster that it made, or a restore would find the loser's questions nowhere.
            # Where that one has been merged away meanwhile, the outbox has both.
            if applied.merge.survivor in mirror.row_of:
                batch.states[applied.merge.loser] = merged_state(namespace, model, applied)
                batch.states[applied.merge.survivor] = live_state(namespace, model, applied.survivor, "updated", mirror)
        batch.outbox_position = reply.outbox_position
        batch.merges += len(reply.applied)
        batch.merges_refused += len(reply.apart)
        return mirror

    def _pairs_apart(self, namespace: str) -> dict[tuple[int, int], float]:
        now = self._clock()
        pairs = {pair: until for pair, until in self._apart.get(namespace, {}).items() if until > now}
        if pairs:
            self._apart[namespace] = pairs
        else:
            self._apart.pop(namespace, None)
        return pairs

    def _keep_apart(self, namespace: str, merges: Sequence[Merge]) -> None:
        pairs = self._apart.setdefault(namespace, {})
        for merge in merges:
            pairs[merge.survivor, merge.loser] = self._clock() + _APART_SECONDS
        while len(pairs) > _APART_PAIRS:
            del pairs[next(iter(pairs))]
