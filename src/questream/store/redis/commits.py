"""Commits in Redis: one script for a micro-batch of a namespace, all keys in one slot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import orjson

from questream.clustering.kept_members import KEPT_OF_A_KIND
from questream.clustering.merging import Merge
from questream.clustering.mirror import MeanMoved, Mirror
from questream.domain import EXEMPLARS_KEPT
from questream.errors import Contended, LostMemory, RecoveryNeeded
from questream.store.ledger import cut_entries, entry_prefix, other_stream, parse_ledger
from questream.store.protocol import (
    REMAINS_KEPT,
    TURN_SECONDS,
    AppliedMerge,
    AskedTurn,
    CommitReply,
    Committed,
    Ledger,
    Merged,
    OutboxPosition,
    PartitionBatch,
    Proposal,
    Replayed,
    Stale,
    StoreError,
    Tail,
    Turn,
)
from questream.store.redis.calls import RedisCalls, ScriptCall, answered, on_namespace
from questream.store.redis.codec import (
    features_text,
    from_bytes,
    parse_cluster_row,
    parse_tail,
    partition_name,
    reading,
    to_bytes,
)
from questream.store.redis.failures import translated
from questream.store.redis.loading import MirrorLoad
from questream.store.rules_text import parse_rules

_LOAD_ATTEMPTS = 5


class RedisCommits(RedisCalls):
    """The protocol Commits."""

    @on_namespace
    def load(self, namespace: str) -> Mirror:
        if namespace not in self._may_write | self._may_read:
            self._rights.require(namespace, self._scripts.reading)
            self._may_read.add(namespace)
        loading = MirrorLoad(self._client, self._keys, namespace, self._log_entries, self.tail)
        for _ in range(_LOAD_ATTEMPTS):
            mirror = self._empty_mirror(namespace)
            if not mirror.store_epoch:
                return mirror
            try:
                if loading.fill(mirror, self._live_ids(namespace)):
                    return mirror
            except LostMemory:
                raise
            except RecoveryNeeded:
                # It lost or changed its store epoch while it was read.
                continue
        raise Contended(
            f"the log of namespace {namespace!r} moves faster than its clusters load", "raise clusters.log_entries"
        )

    @on_namespace
    def tail(self, namespace: str, store_epoch: str, seq: int) -> Tail:
        keys = [self._keys.of(namespace, name) for name in ("meta", "log")]
        newest, entries = self._scripts["tail"](keys=keys, args=[store_epoch, seq])
        return parse_tail(newest, entries)

    @translated()
    def stream(self, topic: str, identity: str) -> tuple[str, bool]:
        name, is_new = self._scripts["stream"](
            keys=[self._keys.streams], args=[topic, identity, other_stream(topic, identity)]
        )
        return name.decode(), bool(is_new)

    @on_namespace
    def ledger(self, namespace: str, topic: str, partition: int) -> Ledger:
        keys = [self._keys.of(namespace, "meta"), self._keys.ledger(namespace, topic, partition)]
        store_epoch, entries = self._scripts["ledger"](keys=keys, args=[partition_name(topic, partition)])
        return parsed_ledger(entries, store_epoch.decode())

    @on_namespace
    def cut_ledger(self, namespace: str, topic: str, partition: int, offset: int) -> Ledger:
        self.require_rights(namespace)
        meta, ledger = self._keys.of(namespace, "meta"), self._keys.ledger(namespace, topic, partition)
        name = partition_name(topic, partition)
        while True:
            store_epoch, entries = self._scripts["ledger"](keys=[meta, ledger], args=[name])
            with reading("a ledger"):
                left = cut_entries(entries, offset)
            # Of one that is empty there is nothing to cut.
            if not entries or self._scripts["cut_ledger"](keys=[ledger, meta], args=[entries[-1], name, *left]):
                return parsed_ledger(left, store_epoch.decode())

    @translated()
    def commit(self, proposals: Mapping[str, Proposal]) -> dict[str, CommitReply]:
        replies = self._call_all([self._commit_call(*item) for item in proposals.items()])
        return {
            namespace: self._failing_alone(namespace, partial(_parsed_commit, proposal, reply))
            for (namespace, proposal), reply in zip(proposals.items(), replies, strict=True)
        }

    @translated()
    def ask_turns(self, asked: Mapping[str, AskedTurn]) -> dict[str, Turn | StoreError]:
        script, turn_ms = self._scripts["ask_turn"], int(TURN_SECONDS * 1000)
        calls = [
            ScriptCall(
                script,
                [self._keys.of(namespace, name) for name in ("meta", "log")],
                [one.store_epoch, one.seq, one.token, one.stretch * turn_ms],
            )
            for namespace, one in asked.items()
        ]
        replies = self._call_all(calls)
        return {
            namespace: self._failing_alone(namespace, partial(_parsed_turn, reply))
            for namespace, reply in zip(asked, replies, strict=True)
        }

    @on_namespace
    def merge(self, namespace: str, store_epoch: str, seq: int, merges: Sequence[Merge]) -> Merged:
        self.require_rights(namespace)
        header = {
            "store_epoch": store_epoch,
            "seq": seq,
            "log_entries": self._log_entries,
            "exemplars_kept": EXEMPLARS_KEPT,
            "members_kept": KEPT_OF_A_KIND,
            "remains_kept": REMAINS_KEPT,
            "undo_ms": self._undo_ms,
            "merges": [
                [
                    *(m.survivor, m.loser, m.survivor_members, m.loser_members),
                    [n or "" for n in m.dropped or ()] or False,
                    m.by_operator,
                    features_text(m.kept) or False,
                ]
                for m in merges
            ],
        }
        keys = [self._keys.of(namespace, name) for name in ("meta", "log", "idle", "outbox")]
        for merge in merges:
            keys += [self._keys.cluster(namespace, merge.survivor), self._keys.cluster(namespace, merge.loser)]
        keys += [self._keys.of(namespace, name) for name in ("singletons", "aliases", "remains")]
        sums = [to_bytes(merge.vector_sum) for merge in merges]
        reply = self._scripts["merge"](keys=keys, args=[orjson.dumps(header), *sums])
        seq_before, missed, seq_after, results, apart, outbox = reply
        applied = []
        for proposed, result in zip(merges, results, strict=True):
            if result:
                kept, lost, survivor, loser = result
                merge = proposed.of(int(survivor), int(loser))
                applied.append(
                    AppliedMerge(merge, parse_cluster_row(merge.survivor, kept), parse_cluster_row(merge.loser, lost))
                )
        refused = [merges[at - 1].of(int(survivor), int(loser)) for at, survivor, loser in apart]
        position = OutboxPosition(store_epoch, *outbox)
        return Merged(seq_after, parse_tail(seq_before, missed), applied, position, refused)

    def _commit_call(self, namespace: str, proposal: Proposal) -> ScriptCall:
        slots = {update.cluster_id: slot for slot, update in enumerate(proposal.cluster_updates, start=1)}
        mean = proposal.mean
        header = {
            "store_epoch": proposal.store_epoch,
            "seq": proposal.seq,
            "log_entries": self._log_entries,
            "mean": [mean.expected_questions, mean.questions] if mean else False,
            "members_kept": KEPT_OF_A_KIND,
            "unmatched": proposal.has_unmatched,
            "turn": proposal.turn,
            "turn_ms": int(proposal.turn_stretch * TURN_SECONDS * 1000),
            "partitions": [
                [partition_name(b.topic, b.partition), b.first, b.last, b.prune_below, _joins(b, slots), b.head]
                for b in proposal.partitions
            ],
            "touches": [
                [
                    *(t.cluster_id, t.joins, t.expected_members, t.members, t.seen_at),
                    features_text(t.features) or False,
                    t.kept_members,
                ]
                for t in proposal.cluster_updates
            ],
        }
        args: list[Any] = [orjson.dumps(header), to_bytes(mean.vector_sum) if mean else b""]
        args += [entry_prefix(batch, proposal) for batch in proposal.partitions]
        for update in proposal.cluster_updates:
            args.append(b"" if update.vector_sum is None else to_bytes(update.vector_sum))
            args.append(update.representative or "")
        keys = [self._keys.of(namespace, name) for name in ("meta", "log", "idle", "outbox")]
        keys += [self._keys.ledger(namespace, batch.topic, batch.partition) for batch in proposal.partitions]
        keys += [self._keys.cluster(namespace, update.cluster_id) for update in proposal.cluster_updates]
        keys.append(self._keys.of(namespace, "singletons"))
        return ScriptCall(self._scripts["commit"], keys, args)

    def _empty_mirror(self, namespace: str) -> Mirror:
        store_epoch = self.store_epoch(namespace)
        seq, next_id, mean_questions, mean_sum, generation, model, dimension, rules = self._client.hmget(
            self._keys.of(namespace, "meta"),
            ["seq", "next", "mean_questions", "mean_sum", "generation", "model", "dimension", "rules"],
        )
        self._models[namespace] = (model or b"").decode()
        with reading("the namespace"):
            mirror = Mirror(int(dimension or 0))
            mirror.store_epoch = store_epoch or ""
            mirror.generation = int(generation or 0)
            # The seq is read before the rows: what changes meanwhile is in the tail and is applied again, by its state.
            mirror.seq = int(seq or 0)
            mirror.next_id = int(next_id or 1)
            mirror.rules = parse_rules(rules)
            mean = None if mean_sum is None else MeanMoved(int(mean_questions), from_bytes(mean_sum))
        if mean is not None:
            if len(mean.vector_sum) != mirror.dimension:
                raise LostMemory("the mean is cut short")
            mirror.apply([mean])
        return mirror


def parsed_ledger(entries: Sequence[bytes], store_epoch: str) -> Ledger:
    with reading("a ledger"):
        return parse_ledger(entries, store_epoch)


def _parsed_commit(proposal: Proposal, reply: Any) -> Committed | Stale | Replayed:
    match answered(reply):
        case b"replayed", found:
            ledgers = {
                (batch.topic, batch.partition): parsed_ledger(entries, proposal.store_epoch)
                for batch, entries in zip(proposal.partitions, found, strict=True)
            }
            return Replayed(ledgers)
        case b"stale", seq, missed, turn:
            return Stale(parse_tail(seq, missed), turn.decode())
        case _, seq_before, missed, seq, cluster_rows, outbox:
            rows = {
                update.cluster_id: parse_cluster_row(update.cluster_id, fields)
                for update, fields in zip(proposal.cluster_updates, cluster_rows, strict=True)
            }
            position = OutboxPosition(proposal.store_epoch, *outbox)
            return Committed(seq, parse_tail(seq_before, missed), rows, position)
        case other:
            raise ValueError(f"the script that commits has no reply of {len(other)} parts")


def _parsed_turn(reply: Any) -> Turn:
    seq, missed, whose = answered(reply)
    return Turn(parse_tail(seq, missed), whose.decode())


def _joins(batch: PartitionBatch, slots: Mapping[int, int]) -> list[tuple[int, list[int]]]:
    """The offsets that joined each of the touches, by their slots."""
    joins: dict[int, list[int]] = {}
    for row in batch.rows:
        if row.cluster_id is None:
            continue
        joins.setdefault(slots[row.cluster_id], []).append(row.offset)
    return list(joins.items())
