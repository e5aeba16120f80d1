"""Rules of commits, merges and what leaves: clusters as workers move them."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from questream.clustering.kept_members import KeptMember, KeptMembers
from questream.clustering.merging import Merge
from questream.domain import RunnerUp, Vector
from questream.store.protocol import (
    AskedTurn,
    ClusterUpdate,
    LedgerRow,
    MeanUpdate,
    PartitionBatch,
    Proposal,
    Restored,
    Store,
)
from questream.store.retention import Retention
from tests.contract.machine.stores import NAMES, PARTITIONS, PARTS, POSITIONS, TIMES, WORKERS, Stores
from tests.kit.store_calls import commit_one, confirm_one, verify_one

# Of references to questions: equal ones, and one that has none.
SIMILARITIES = st.sampled_from([None, -0.25, 0.5, 0.5, 0.75])


def references(offset: int, similarities: list[float | None]) -> str:
    """References to questions that joined from this offset on."""
    places = enumerate(similarities, offset)
    return str(KeptMembers.of([KeptMember(("questions", 0, at), one, f"{at:08x}") for at, one in places]))


class Clusters(Stores):
    """What workers do to clusters."""

    @initialize(opened=st.lists(st.tuples(PARTS, PARTS, TIMES), max_size=4))
    def begin(self, opened: list[tuple[int, int, int]]) -> None:
        """Most rules ask for clusters."""
        updates = [
            ClusterUpdate(1 + at, 1, 0, 1, np.array([1, one, two, 0], np.float32), seen_at, f"question {at}")
            for at, (one, two, seen_at) in enumerate(opened)
        ]
        self.propose_batch(updates, 0, self.whole.seq)

    @rule(
        opened=st.lists(st.tuples(PARTS, PARTS, TIMES), max_size=4),
        joined=st.lists(st.tuples(POSITIONS, st.booleans(), TIMES), max_size=3),
        partition=st.sampled_from(PARTITIONS),
        back=st.sampled_from([0, 0, 0, 0, 1]),
        late=st.sampled_from([0, 0, 0, 0, 1, 3]),
        turn=st.sampled_from(["", "", "ada", "bob"]),
        learns=st.booleans(),
        prune=st.integers(0, 3),
        references_of=st.lists(st.tuples(POSITIONS, st.lists(SIMILARITIES, max_size=4)), min_size=7, max_size=7),
        fingerprint=st.sampled_from(["", "0a"]),
    )
    def commit(
        self,
        opened: list[tuple[int, int, int]],
        joined: list[tuple[int, bool, int]],
        partition: int,
        back: int,
        late: int,
        turn: str,
        learns: bool,
        prune: int,
        references_of: list[tuple[int, list[float | None]]],
        fingerprint: str,
    ) -> None:
        whole = self.whole
        seq = max(1, whole.seq - late)
        cluster_updates: list[ClusterUpdate] = []
        for at, (one, two, seen_at) in enumerate(opened):
            total = np.array([1, one, two, 0], np.float32)
            cluster_updates.append(ClusterUpdate(whole.next_cluster + at, 1, 0, 1, total, seen_at, f"question {at}"))
        for position, frozen, seen_at in joined:
            if not self.live:
                continue
            state = self.live[position % len(self.live)]
            if state.vector_sum is None or any(touch.cluster_id == state.cluster_id for touch in cluster_updates):
                continue
            total_after: Vector | None = None if frozen else state.vector_sum + np.float32(1)
            members = state.members if frozen else state.members + 1
            cluster_updates.append(ClusterUpdate(state.cluster_id, 1, state.members, members, total_after, seen_at))
        cluster_updates = [
            dataclasses.replace(update, kept_members=references(*member))
            for update, member in zip(cluster_updates, references_of, strict=False)
        ]
        first = max(0, self.offsets[partition] - back)
        mean = None
        if learns:
            learned = whole.mean_sum + np.float32(1)
            mean = MeanUpdate(whole.mean_questions, whole.mean_questions + len(cluster_updates), learned)
        self.propose_batch(cluster_updates, partition, seq, first, max(0, first - prune), mean, turn, fingerprint)

    def propose_batch(
        self,
        updates: list[ClusterUpdate],
        partition: int,
        seq: int,
        first: int = 0,
        prune_below: int = 0,
        mean: MeanUpdate | None = None,
        turn: str = "",
        fingerprint: str = "",
    ) -> None:
        """Commit a batch of one question for each update."""
        if not updates:
            return
        rows = [
            LedgerRow(first + at, update.cluster_id, 0.75, update.creates, 1, None, False, fingerprint=fingerprint)
            for at, update in enumerate(updates)
        ]
        batches = [PartitionBatch("questions", partition, rows, prune_below)]

        def call(store: Store) -> Any:
            proposal = Proposal(self.epoch(store), seq, batches, updates, mean, "model", 0.55, 123_456, turn=turn)
            return commit_one(store, self.namespace, proposal)

        self.both(call)
        at = ("questions", partition)
        self.offsets[partition] = self.stores[0].heads(self.namespace, [at])[at] + 1

    @rule(
        nearest=st.lists(st.none() | st.integers(1, 9), min_size=1, max_size=3),
        partition=st.sampled_from(PARTITIONS),
        late=st.sampled_from([0, 0, 1]),
        turn=st.sampled_from(["", "", "ada", "bob"]),
    )
    def find_no_cluster(self, nearest: list[int | None], partition: int, late: int, turn: str) -> None:
        first, seq = self.offsets[partition], max(1, self.whole.seq - late)
        others = [None if one is None else RunnerUp(one, one / 16) for one in nearest]
        rows = [
            LedgerRow(first + at, None, None if other is None else other.similarity, False, 0, other, False)
            for at, other in enumerate(others)
        ]
        batches = [PartitionBatch("questions", partition, rows, 0)]

        def call(store: Store) -> Any:
            proposal = Proposal(self.epoch(store), seq, batches, [], None, "model", 0.55, 123_456, turn=turn)
            return commit_one(store, self.namespace, proposal)

        self.both(call)
        at = ("questions", partition)
        self.offsets[partition] = self.stores[0].heads(self.namespace, [at])[at] + 1

    @rule(worker=WORKERS, late=st.sampled_from([0, 1, 3]), another=st.sampled_from([False, False, False, True]))
    def ask_turn(self, worker: str, late: int, another: bool) -> None:
        seq = max(1, self.whole.seq - late)

        def call(store: Store) -> Any:
            store_epoch = "another" if another else self.epoch(store)
            return store.ask_turns({self.namespace: AskedTurn(store_epoch, seq, worker)})

        self.both(call)

    @rule(
        pairs=st.lists(st.tuples(POSITIONS, POSITIONS), min_size=1, max_size=3),
        wrong=st.booleans(),
        drop=st.booleans(),
        by_operator=st.booleans(),
    )
    def merge(self, pairs: list[tuple[int, int]], wrong: bool, drop: bool, by_operator: bool) -> None:
        live, merges = self.live, []
        for one, other in pairs:
            if len(live) < 2 or one % len(live) == other % len(live):
                continue
            survivor, loser = sorted((live[one % len(live)], live[other % len(live)]), key=lambda s: s.cluster_id)
            assert survivor.vector_sum is not None
            assert loser.vector_sum is not None
            dropped = (loser.label, loser.route) if drop and (loser.label or loser.route) else None
            merges.append(
                Merge(
                    survivor.cluster_id,
                    loser.cluster_id,
                    survivor.members + wrong,
                    loser.members,
                    survivor.vector_sum + loser.vector_sum,
                    dropped,
                    by_operator=by_operator,
                )
            )
        whole = self.whole
        if merges:
            self.both(lambda store: store.merge(self.namespace, self.epoch(store), max(1, whole.seq - 1), merges))

    @rule(position=POSITIONS, label=NAMES, route=NAMES)
    def label(self, position: int, label: str | None, route: str | None) -> None:
        if label is not None or route is not None:
            number = self.known(position)
            self.both(lambda store: store.label(self.namespace, number, label, route))

    @rule(
        idle=st.sampled_from([None, 1.0, 400.0]),
        singleton=st.sampled_from([None, 1.0]),
        alias=st.sampled_from([None, 1.0]),
        most=st.sampled_from([None, 2, 5]),
    )
    def retire(self, idle: float | None, singleton: float | None, alias: float | None, most: int | None) -> None:
        retention = Retention(idle, singleton, alias, most)
        self.both(lambda store: store.retire(self.namespace, retention, 4096))

    @rule(committed=st.integers(0, 40), behind=st.sampled_from([0, 0, 1]))
    def publish_and_confirm(self, committed: int, behind: int) -> None:
        waiting = self.stores[0].unpublished(self.namespace, 0.0, 1000)
        whole = self.whole
        revisions = {s.cluster_id: s.revision - behind for s in self.stores[0].states(self.namespace, waiting)}
        told = [(i, whole.revision if i == 0 else revisions.get(i, 0)) for i in waiting]
        offsets = {("questions", partition): committed for partition in PARTITIONS}

        def call(store: Store) -> None:
            sent = store.outbox_position(self.namespace)
            assert verify_one(store, self.namespace, told) == store.store_epoch(self.namespace)
            confirm_one(store, self.namespace, told, offsets, sent)

        self.both(call)

    @rule(position=POSITIONS, ahead=st.integers(-1, 2), gone=st.booleans())
    def lose_and_restore(self, position: int, ahead: int, gone: bool) -> None:
        number = self.known(position)
        state = self.stores[0].cluster(self.namespace, number)
        for store in self.stores:
            store.require_recovery(self.namespace)
        if state is not None and state.event != "retired":
            told = dataclasses.replace(state, revision=state.revision + ahead, event="retired" if gone else state.event)
            restored = [Restored(told, publish=True)]

            def call(store: Store) -> int:
                return store.restore(self.namespace, store.begin_recovery(self.namespace), restored)

            self.both(call)
        self.recover_again()
