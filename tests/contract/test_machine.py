"""The store in memory and Redis, through the same calls in any order: every reply and all that can be read is compared.

The explorer walks the store in memory, so what it proves holds for Redis only as far as the two agree.
`QUESTREAM_SEQUENCES` says how many sequences of calls are tried (`make machine`: 10,000).
"""

from __future__ import annotations

import dataclasses
import os
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from questream.clustering.merging import Merge
from questream.clustering.mirror import Mirror
from questream.domain import ClusterState, NamespaceRules, RulesChange, Ruling, Vector
from questream.errors import QuestreamError
from questream.store.protocol import (
    ClusterUpdate,
    LedgerRow,
    MeanUpdate,
    PartitionBatch,
    Proposal,
    ProposedOperation,
    Restored,
    Store,
)
from questream.store.redis.store import RedisStore
from questream.store.reference.store import MemoryStore
from questream.store.retention import Retention
from tests.contract.test_store import IDENTITY
from tests.kit.store_calls import commit_one, confirm_one, verify_one

SEQUENCES = int(os.environ.get("QUESTREAM_SEQUENCES", "150"))
STEPS = 20
PARTITIONS = (0, 1)
# Two digits beside one, and times that are equal: where order is by text in one store and by number in the other.
TIMES = st.sampled_from([0, 1000, 1000, 2000, 500_000])
NAMES = st.sampled_from([None, "", "card arrival", "cards-team"])
PARTS = st.integers(0, 3)
POSITIONS = st.integers(0, 40)


# What each store has of its own.
OWN = ("store_epoch", "server_time_ms", "time_ms")


def comparable(value: Any) -> Any:
    """A reply without each store's own: names of store epochs, its time, objects that compare by identity."""
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, Mirror):
        clusters = {i: (value.member_count(i), value.vector_sum(i).tobytes()) for i in value.row_of}
        rules = comparable(value.rules)
        return (
            value.seq,
            value.next_id,
            value.generation,
            value.mean_questions,
            value.mean_sum.tobytes(),
            clusters,
            rules,
        )
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.name not in OWN]
        return type(value).__name__, [comparable(getattr(value, name)) for name in names]
    if isinstance(value, dict):
        return {key: comparable(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(part) for part in value]
    return value


class Stores(RuleBasedStateMachine):
    """Both stores, and what a worker would know of them; `client` is set before it is run."""

    client: redis.Redis

    def __init__(self) -> None:
        super().__init__()
        self.namespace = f"machine-{uuid.uuid4().hex[:12]}"
        self.stores: list[Store] = [MemoryStore(log_commits=10_000), RedisStore(self.client)]
        self.offsets = dict.fromkeys(PARTITIONS, 0)
        self.operations = 0
        for store in self.stores:
            store.open(self.namespace, IDENTITY)
        self.recover_again()

    def teardown(self) -> None:
        self.client.flushdb()

    def both(self, call: Callable[[Store], Any]) -> Any:
        """The reply, or the error, that both give."""
        replies = []
        for store in self.stores:
            try:
                replies.append(call(store))
            except (QuestreamError, KeyError) as error:
                replies.append(type(error).__name__)
        assert comparable(replies[0]) == comparable(replies[1])
        return replies[0]

    @property
    def live(self) -> list[ClusterState]:
        return list(self.stores[0].clusters(self.namespace))

    def known(self, position: int) -> int:
        """The id of any cluster that was ever opened, or one that was not."""
        whole = self.stores[0].namespace_state(self.namespace)
        assert whole is not None
        return 1 + position % whole.next_cluster

    @rule(
        opened=st.lists(st.tuples(PARTS, PARTS, TIMES), max_size=4),
        joined=st.lists(st.tuples(POSITIONS, st.booleans(), TIMES), max_size=3),
        partition=st.sampled_from(PARTITIONS),
        back=st.sampled_from([0, 0, 0, 0, 1]),
        late=st.sampled_from([0, 0, 0, 0, 1, 3]),
        turn=st.sampled_from(["", "", "ada", "bob"]),
        learns=st.booleans(),
        prune=st.integers(0, 3),
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
    ) -> None:
        whole = self.stores[0].namespace_state(self.namespace)
        assert whole is not None
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
        if not cluster_updates:
            return
        first = max(0, self.offsets[partition] - back)
        rows = [
            LedgerRow(first + at, touch.cluster_id, 0.75, touch.creates, 1, None, False)
            for at, touch in enumerate(cluster_updates)
        ]
        mean = None
        if learns:
            learned = whole.mean_sum + np.float32(1)
            mean = MeanUpdate(whole.mean_questions, whole.mean_questions + len(cluster_updates), learned)
        batches = [PartitionBatch("questions", partition, rows, max(0, first - prune))]

        def call(store: Store) -> Any:
            store_epoch = store.store_epoch(self.namespace) or ""
            proposal = Proposal(store_epoch, seq, batches, cluster_updates, mean, "model", 0.55, 123_456, turn=turn)
            return commit_one(store, self.namespace, proposal)

        self.both(call)
        self.offsets[partition] = (
            self.stores[0].heads(self.namespace, [("questions", partition)])["questions", partition] + 1
        )

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
        whole = self.stores[0].namespace_state(self.namespace)
        assert whole is not None
        if merges:
            self.both(
                lambda store: store.merge(
                    self.namespace, store.store_epoch(self.namespace) or "", max(1, whole.seq - 1), merges
                )
            )

    @rule(position=POSITIONS, label=NAMES, route=NAMES)
    def label(self, position: int, label: str | None, route: str | None) -> None:
        if label is not None or route is not None:
            number = self.known(position)
            self.both(lambda store: store.label(self.namespace, number, label, route))

    @rule(
        positions=st.lists(POSITIONS, min_size=1, max_size=2, unique=True),
        pinned=st.booleans(),
        ends=st.sampled_from([(), ("ab", "ab"), ("ab", "cd")]),
        label=NAMES,
        guessed=st.booleans(),
        again=st.booleans(),
        undoes=st.integers(0, 3),
    )
    def operate(
        self,
        positions: list[int],
        pinned: bool,
        ends: tuple[str, ...],
        label: str | None,
        guessed: bool,
        again: bool,
        undoes: int,
    ) -> None:
        numbers = list(dict.fromkeys(map(self.known, positions)))
        states = {state.cluster_id: state for state in self.stores[0].states(self.namespace, numbers)}
        before = {i: states[i].ruling if i in states and not guessed else Ruling() for i in numbers}
        after = {
            i: Ruling(label or None, before[i].route, pinned, tuple(f"{end}{'-+'[at]}" for end in ends[at : at + 1]))
            for at, i in enumerate(numbers)
        }
        self.operations += not again
        proposed = ProposedOperation(
            f"op-{self.operations}", "label", "ann", "", before, after, undoes if undoes else None
        )
        self.both(lambda store: store.operate(self.namespace, proposed))

    @rule(threshold=st.sampled_from([None, 0.5, 0.9]), most=st.sampled_from([None, 0, 3]), guessed=st.booleans())
    def set_rules(self, threshold: float | None, most: int | None, guessed: bool) -> None:
        before = NamespaceRules(linkage="first") if guessed else self.stores[0].rules(self.namespace)
        change = RulesChange(before, NamespaceRules(threshold, max_clusters=most))
        self.operations += 1
        proposed = ProposedOperation(f"op-{self.operations}", "rules", "ann", "", {}, {}, rules=change)
        self.both(lambda store: store.operate(self.namespace, proposed))

    @rule(another=st.booleans())
    def delete_and_begin_anew(self, another: bool) -> None:
        def call(store: Store) -> bool:
            token = store.hold(self.namespace, store.store_epoch(self.namespace) or "", 60.0)
            return store.delete(self.namespace, "another" if another else token or "")

        if self.both(call):
            for store in self.stores:
                store.open(self.namespace, IDENTITY)
            self.offsets = dict.fromkeys(PARTITIONS, 0)
        else:
            for store in self.stores:
                store.require_recovery(self.namespace)
        self.recover_again()

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
        whole = self.stores[0].namespace_state(self.namespace)
        assert whole is not None
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

    def recover_again(self) -> None:
        for store in self.stores:
            store.recover(self.namespace, store.begin_recovery(self.namespace), None, {})

    @invariant()
    def all_that_can_be_read_is_the_same(self) -> None:
        name = self.namespace
        if self.both(lambda store: store.store_epoch(name) is None):
            self.recover_again()
        whole = self.both(lambda store: store.namespace_state(name))
        ids = list(range(1, whole.next_cluster + 1))
        self.both(lambda store: store.states(name, ids))
        self.both(lambda store: list(store.clusters(name)))
        self.both(lambda store: list(store.summaries(name)))
        self.both(lambda store: store.revisions(name, ids))
        self.both(lambda store: sorted(store.unpublished(name, 0.0, 1000)))
        self.both(lambda store: store.heads(name, [("questions", partition) for partition in PARTITIONS]))
        self.both(lambda store: [store.ledger(name, "questions", partition) for partition in PARTITIONS])
        self.both(lambda store: store.operations(name, 100))
        self.both(lambda store: store.rules(name))
        self.both(lambda store: store.load(name))
        self.both(lambda store: store.tail(name, store.store_epoch(name) or "", max(1, whole.seq - 3)))


def test_redis_and_the_store_in_memory_answer_alike_whatever_is_asked_in_whatever_order(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a sequence takes: the two have clocks of their own, and a turn ends with its time.
    for module in ("redis.commits", "reference.store"):
        monkeypatch.setattr(f"questream.store.{module}.TURN_SECONDS", 50.0)
    client = redis.Redis.from_url(redis_url)
    machine = type("StoresOnRedis", (Stores,), {"client": client})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    client.close()
