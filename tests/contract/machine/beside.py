"""Rules of what is kept beside the clusters: levels, leases, holds, ledgers that are cut, streams and admission."""

from __future__ import annotations

import dataclasses

from hypothesis import strategies as st
from hypothesis.stateful import rule

from questream.clustering.levels import Levels, Node, leaf
from questream.store.protocol import MadeName, Store, StoredLevels
from tests.contract.machine.stores import LEASES, PARTITIONS, POSITIONS, WORKERS, Stores


class Beside(Stores):
    """What workers ask of a store apart from clusters."""

    @rule(
        leaves=st.lists(POSITIONS, max_size=3),
        ended=st.booleans(),
        late=st.sampled_from([0, 0, 1]),
        another=st.sampled_from([False, False, True]),
        ruled=st.sampled_from(["", "[4.0,null]"]),
    )
    def write_levels(self, leaves: list[int], ended: bool, late: int, another: bool, ruled: str) -> None:
        intent = Node(1, 1 + len(leaves))
        parents = {leaf(self.known(position)): intent for position in leaves}
        if parents:
            parents[intent] = Node(2, 1)
        found = StoredLevels(
            Levels(parents, (intent.number + 1, 2)),
            self.whole.next_cluster - 1,
            {Node(1, 9): intent if parents else None} if ended else {},
        )

        def call(store: Store) -> bool:
            version = max(0, store.levels(self.namespace).version - late)
            stored = dataclasses.replace(found, version=version)
            return store.write_levels(self.namespace, "another" if another else self.epoch(store), stored, ruled)

        self.both(call)

    @rule(
        names=st.dictionaries(POSITIONS, st.sampled_from(["Lost card", "PIN “now”", None]), max_size=3),
        another=st.sampled_from([False, False, True]),
    )
    def write_names(self, names: dict[int, str | None], another: bool) -> None:
        made = {
            self.known(position): None if name is None else MadeName(name, "model", 1, 3, "place")
            for position, name in names.items()
        }

        def call(store: Store) -> bool:
            before = store.name_changes(self.namespace)
            store.write_names(self.namespace, "another" if another else self.epoch(store), made)
            return store.name_changes(self.namespace) > before

        self.both(call)

    @rule(
        mails=st.sampled_from([1, 40, 2000]),
        seen=st.dictionaries(st.sampled_from(["0a", "0b", "0c"]), st.sampled_from([-9, 1, 3, 200]), max_size=3),
    )
    def count_sentences(self, mails: int, seen: dict[str, int]) -> None:
        self.both(lambda store: store.count_sentences(self.namespace, mails, seen))

    @rule()
    def empty_the_log(self) -> None:
        """To nothing: of a commit that is cut in two one store keeps the rest."""

        def call(store: Store) -> tuple[int, int]:
            before = store.log_lengths([self.namespace])[self.namespace]
            store.trim_logs({self.namespace: 0})
            return before.entries, before.seq

        self.both(call)

    @rule(late=st.sampled_from([0, 0, 1]))
    def confirm_levels(self, late: int) -> None:
        self.both(
            lambda store: store.confirm_levels(self.namespace, max(0, store.levels(self.namespace).version - late))
        )

    @rule(ahead=st.integers(-1, 1), own=st.booleans(), opened=st.integers(0, 3))
    def restore_levels(self, ahead: int, own: bool, opened: int) -> None:
        def call(store: Store) -> bool:
            store.require_recovery(self.namespace)
            token = store.begin_recovery(self.namespace) if own else "another"
            version = max(1, store.levels(self.namespace).version + ahead)
            return store.restore_levels(self.namespace, token, StoredLevels(opened=opened, version=version))

        self.both(call)

    @rule(worker=WORKERS, seconds=LEASES)
    def lease_levels(self, worker: str, seconds: float) -> None:
        self.both(lambda store: store.lease_levels(self.namespace, worker, seconds))

    @rule(
        workers=st.lists(st.tuples(WORKERS, LEASES), min_size=1, max_size=3), own=st.booleans(), recovers=st.booleans()
    )
    def lease_recovery(self, workers: list[tuple[str, float]], own: bool, recovers: bool) -> None:
        def call(store: Store) -> list[bool]:
            if recovers:
                store.require_recovery(self.namespace)
            token = store.begin_recovery(self.namespace) if own else "another"
            return [store.lease_recovery(self.namespace, token, *worker) for worker in workers]

        self.both(call)

    @rule(own=st.booleans(), goes_on=st.booleans(), released=st.booleans())
    def hold(self, own: bool, goes_on: bool, released: bool) -> None:
        """Nobody recovers what is held but its holder; a hold that nobody releases ends with its time."""

        def call(store: Store) -> list[object]:
            seconds = 50.0 if released else 0.0
            token = store.hold(self.namespace, self.epoch(store) if own else "another", seconds)
            found: list[object] = [token is None, store.store_epoch(self.namespace) is None]
            if goes_on:
                found.append(store.still_holds(self.namespace, token or "another", seconds))
            if token and released:
                store.recover(self.namespace, token, None, {})
            return found

        self.both(call)

    @rule(partition=st.sampled_from(PARTITIONS), back=st.integers(0, 3))
    def cut_ledger(self, partition: int, back: int) -> None:
        at = ("questions", partition)
        head = self.stores[0].heads(self.namespace, [at])[at]
        offset = max(0, head + 1 - back)
        self.both(lambda store: store.cut_ledger(self.namespace, *at, offset))
        self.offsets[partition] = self.stores[0].heads(self.namespace, [at])[at] + 1

    @rule(positions=st.lists(POSITIONS, max_size=3), dimension=st.sampled_from([None, 4, 8]), own=st.booleans())
    def mend(self, positions: list[int], dimension: int | None, own: bool) -> None:
        numbers = [self.known(position) for position in positions]

        def call(store: Store) -> object:
            store.require_recovery(self.namespace)
            token = store.begin_recovery(self.namespace) if own else "another"
            return store.mend(self.namespace, token, numbers, dimension)

        self.both(call)

    @rule(topic=st.sampled_from(["questions", "mails"]), identity=st.sampled_from(["one", "other"]))
    def stream(self, topic: str, identity: str) -> None:
        self.both(lambda store: store.stream(topic, identity))

    @rule(names=st.lists(st.sampled_from(["shop", "bank", "post"]), max_size=3, unique=True), limit=st.integers(0, 4))
    def admit(self, names: list[str], limit: int) -> None:
        self.both(lambda store: store.admit([self.namespace, *names], limit))
        self.both(lambda store: store.namespaces())
