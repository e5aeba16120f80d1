"""Commits in memory: micro-batches, the log that mirrors follow, ledgers, turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

from questream.clustering.merging import Merge, merged_ruling
from questream.clustering.mirror import Change, ClusterMoved, MeanMoved, Mirror
from questream.domain import InFlight
from questream.store.ledger import decide, decide_unmatched, other_stream
from questream.store.protocol import (
    TURN_SECONDS,
    AskedTurn,
    ClusterRow,
    ClusterUpdate,
    CommitReply,
    Committed,
    Ledger,
    Merged,
    Proposal,
    Replayed,
    Stale,
    StoreError,
    Tail,
    Turn,
)
from questream.store.reference.merging import MemoryMerging, merged_changes, precedence_of, united_kept
from questream.store.reference.state import (
    Cluster,
    Namespace,
    failing_alone,
    joined_ledger,
    lost_memory,
    recovery_needed,
    tail_of,
)


class MemoryCommits(MemoryMerging):
    """The part of the protocol Commits, but for what bounds the logs."""

    def load(self, namespace: str) -> Mirror:
        with self._lock:
            state = self._get(namespace)
            mirror = Mirror(state.identity.dimension)
            mirror.store_epoch, mirror.generation = state.store_epoch or "", state.generation
            mirror.apply(
                cluster.moved(cluster_id, cluster.features)
                for cluster_id, cluster in state.clusters.items()
                if cluster.vector_sum is not None
            )
            if state.mean:
                mirror.apply([state.mean])
            mirror.seq, mirror.next_id, mirror.rules = state.seq, state.next_id, state.rules
            return mirror

    def tail(self, namespace: str, store_epoch: str, seq: int) -> Tail:
        with self._lock:
            state = self._get_recovered(namespace, store_epoch)
            if seq > state.seq:
                raise lost_memory(state, namespace)
            return tail_of(state, seq)

    def stream(self, topic: str, identity: str) -> tuple[str, bool]:
        with self._lock:
            name = topic if self._streams.get(topic, identity) == identity else other_stream(topic, identity)
            is_new = name not in self._streams
            self._streams[name] = identity
            return name, is_new

    def cut_ledger(self, namespace: str, topic: str, partition: int, offset: int) -> Ledger:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise recovery_needed(namespace)
            entries = state.ledgers.get((topic, partition), [])
            kept = [(first, _below(ledger, offset)) for first, ledger in entries if first < offset]
            if entries and not kept and offset > 0:
                kept = [(offset - 1, Ledger(offset - 1))]
            state.ledgers[topic, partition] = kept
            return replace(joined_ledger(state.ledgers[topic, partition]), store_epoch=state.store_epoch)

    def ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        with self._lock:
            state = self._get(namespace)
            if state.store_epoch is None:
                raise recovery_needed(namespace)
            return replace(joined_ledger(state.ledgers.get((topic, partition), [])), store_epoch=state.store_epoch)

    def commit(self, proposals: Mapping[str, Proposal]) -> dict[str, CommitReply]:
        return {name: failing_alone(partial(self._commit, name, proposal)) for name, proposal in proposals.items()}

    def _commit(self, namespace: str, proposal: Proposal) -> Committed | Stale | Replayed:
        with self._lock:
            state = self._get_recovered(namespace, proposal.store_epoch)
            ledgers = {
                (b.topic, b.partition): replace(
                    joined_ledger(state.ledgers.get((b.topic, b.partition), [])), store_epoch=proposal.store_epoch
                )
                for b in proposal.partitions
            }
            if proposal.seq > state.seq or any(
                ledgers[b.topic, b.partition].head < b.head for b in proposal.partitions
            ):
                raise lost_memory(state, namespace)
            state.turns.drop_late(self._clock())
            if any(b.first <= ledgers[b.topic, b.partition].head for b in proposal.partitions):
                state.turns.end(proposal.turn)
                return Replayed(ledgers)
            missed = tail_of(state, proposal.seq)
            opened = {update.cluster_id for update in proposal.cluster_updates if update.creates}
            if any(cluster_id >= state.next_id for cluster_id in opened & state.clusters.keys()):
                raise lost_memory(state, namespace)
            is_stale = self._is_stale(state, proposal)
            if is_stale and proposal.seq == state.seq:
                # Nothing was missed, and yet it is not what the mirror has: looking again would find the same.
                raise lost_memory(state, namespace)
            needs_turn = proposal.moves_log or proposal.has_unmatched
            if is_stale or (needs_turn and state.turns.first not in (None, proposal.turn)):
                return Stale(missed, self._turn(state, proposal.turn, proposal.turn_stretch))
            state.turns.end(proposal.turn)
            cluster_rows = {
                update.cluster_id: self._touch(state, update, proposal) for update in proposal.cluster_updates
            }
            changes: list[Change] = [
                ClusterMoved(t.cluster_id, t.members, t.vector_sum, t.features)
                for t in proposal.cluster_updates
                if t.vector_sum is not None
            ]
            if proposal.mean:
                state.mean = MeanMoved(proposal.mean.questions, proposal.mean.vector_sum)
                changes.append(state.mean)
            if proposal.updates_namespace:
                state.outbox[0] = self._clock()
            self._log(state, changes)
            self._record(state, proposal, cluster_rows)
            return Committed(state.seq, missed, cluster_rows, self._position(state))

    def ask_turns(self, asked: Mapping[str, AskedTurn]) -> dict[str, Turn | StoreError]:
        return {name: failing_alone(partial(self._ask_turn, name, one)) for name, one in asked.items()}

    def _ask_turn(self, namespace: str, asked: AskedTurn) -> Turn:
        with self._lock:
            state = self._get_recovered(namespace, asked.store_epoch)
            if asked.seq > state.seq:
                raise lost_memory(state, namespace)
            state.turns.drop_late(self._clock())
            return Turn(tail_of(state, asked.seq), self._turn(state, asked.token, asked.stretch))

    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        with self._lock:
            state = self._get_recovered(namespace, store_epoch)
            if seq > state.seq:
                raise lost_memory(state, namespace)
            missed = tail_of(state, seq)
            changes: list[Change] = []
            applied = []
            apart = []
            refused: set[int] = set()
            # The survivor of a cluster that a merge of this call names.
            stands_for: dict[int, int] = {}
            for proposed in merges:
                one = stands_for.get(proposed.survivor, proposed.survivor)
                other = stands_for.get(proposed.loser, proposed.loser)
                survivor, loser = state.clusters.get(one), state.clusters.get(other)
                if (
                    survivor is None
                    or loser is None
                    or (survivor.members, loser.members) != (proposed.survivor_members, proposed.loser_members)
                    or refused & {proposed.survivor, proposed.loser}
                    or seq < state.constrained
                ):
                    # Later sums build on earlier merges.
                    refused |= {proposed.survivor, proposed.loser}
                    continue
                if proposed.dropped is None and precedence_of(loser) < precedence_of(survivor):
                    survivor, loser = loser, survivor
                merge = proposed.of(survivor.cluster_row.cluster_id, loser.cluster_row.cluster_id)
                ruling = merged_ruling(survivor.cluster_row.ruling, loser.cluster_row.ruling, merge)
                if ruling is None:
                    refused |= {proposed.survivor, proposed.loser}
                    apart.append(merge)
                    continue
                stands_for[proposed.survivor] = stands_for[proposed.loser] = merge.survivor
                self._keep_remains(state, survivor, loser)
                applied.append(self._merge(state, merge, survivor, loser, ruling))
                changes += merged_changes(merge, applied[-1].survivor)
            self._log(state, changes)
            return Merged(state.seq, missed, applied, self._position(state), apart)

    def _turn(self, state: Namespace, token: str, stretch: int) -> Literal["own", "other", ""]:
        """Whose turn it is, now that the worker of this token waits for one."""
        if token:
            state.turns.wait(token, self._clock() + stretch * TURN_SECONDS)
        if state.turns.first is None:
            return ""
        return "own" if state.turns.first == token else "other"

    @staticmethod
    def _is_stale(state: Namespace, proposal: Proposal) -> bool:
        needs_head = proposal.creates or proposal.has_unmatched
        if (needs_head and proposal.seq != state.seq) or proposal.seq < state.constrained:
            return True
        if proposal.mean and proposal.mean.expected_questions != (state.mean.questions if state.mean else 0):
            return True
        for update in proposal.cluster_updates:
            if update.creates:
                if update.cluster_id < state.next_id:
                    return True
                continue
            cluster = state.clusters.get(update.cluster_id)
            if cluster is None or cluster.vector_sum is None:
                return True
            if update.vector_sum is not None and cluster.members != update.expected_members:
                return True
        return False

    def _touch(self, state: Namespace, update: ClusterUpdate, proposal: Proposal) -> ClusterRow:
        cluster = state.clusters.get(update.cluster_id)
        if cluster is None:
            cluster_row = ClusterRow(
                update.cluster_id, 0, 0, update.seen_at, update.seen_at, update.representative or None
            )
            cluster = state.clusters[update.cluster_id] = Cluster(cluster_row, 0, None)
            state.next_id = max(state.next_id, update.cluster_id + 1)
        if update.vector_sum is not None:
            cluster.members, cluster.vector_sum = update.members, update.vector_sum
            cluster.features = update.features or cluster.features
        old = cluster.cluster_row
        cluster.cluster_row = replace(
            old,
            size=old.size + update.joins,
            revision=old.revision + 1,
            last_seen_at=max(old.last_seen_at, update.seen_at),
            in_flight=_joining(old.in_flight, update.cluster_id, proposal),
            kept_members=united_kept(old.kept_members, update.kept_members),
        )
        cluster.labelled = False
        state.outbox[update.cluster_id] = self._clock()
        return cluster.cluster_row

    @staticmethod
    def _record(state: Namespace, proposal: Proposal, cluster_rows: dict[int, ClusterRow]) -> None:
        joins = {update.cluster_id: update.joins for update in proposal.cluster_updates}
        for batch in proposal.partitions:
            decisions = {
                row.offset: decide_unmatched(row, proposal)
                if row.cluster_id is None
                else decide(row, cluster_rows[row.cluster_id], joins[row.cluster_id], proposal)
                for row in batch.rows
            }
            entries = state.ledgers.setdefault((batch.topic, batch.partition), [])
            fingerprints = {row.offset: row.fingerprint for row in batch.rows if row.fingerprint}
            entries.append((batch.first, Ledger(batch.last, decisions, fingerprints=fingerprints)))
            while len(entries) > 1 and entries[0][1].head < batch.prune_below:
                entries.pop(0)


def _joining(before: InFlight, cluster_id: int, proposal: Proposal) -> InFlight:
    joins = dict(before.joins)
    for batch in proposal.partitions:
        joined = tuple(row.offset for row in batch.rows if row.cluster_id == cluster_id)
        if joined:
            at = (batch.topic, batch.partition)
            joins[at] = tuple(offset for offset in joins.get(at, ()) if offset >= batch.prune_below) + joined
    return InFlight(joins, before.absorbed)


def _below(ledger: Ledger, offset: int) -> Ledger:
    decisions = {at: decision for at, decision in ledger.decisions.items() if at < offset}
    fingerprints = {at: one for at, one in ledger.fingerprints.items() if at < offset}
    return Ledger(min(ledger.head, offset - 1), decisions, ledger.store_epoch, fingerprints)
