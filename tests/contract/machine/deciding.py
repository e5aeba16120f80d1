"""Rules of operations: what people decide, how it is published, and how it is put back."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import rule

from questream.clustering.constraints import pack_vector
from questream.clustering.levels import Node
from questream.clustering.second_look.kept import pack
from questream.domain import (
    ClusterState,
    Exemplar,
    LevelsChange,
    NamespaceRules,
    Operation,
    OperationKind,
    RulesChange,
    Ruling,
)
from questream.store.protocol import OpenedCluster, OperationClaim, ProposedLevels, ProposedOperation, Store
from tests.contract.machine.stores import LEASES, NAMES, PARTITIONS, POSITIONS, WORKERS, Stores
from tests.contract.test_store import IDENTITY

KINDS: list[OperationKind] = ["label", "pin", "separate", "reject", "move", "split"]


def exemplar(name: int) -> Exemplar:
    """A question that people turned away, or put in; later names sort behind."""
    vector = pack_vector(np.array([name % 3, 1, 0, 0], np.float32))
    place, text = ("questions", 0, name) if name % 3 else None, f"lost {name}" if name % 4 else None
    return Exemplar(f"{name:02x}", "must" if name % 2 else "cannot", vector, place, text)


def ruled(kind: OperationKind, before: Ruling, at: int, name: int, label: str | None) -> Ruling:
    """What an operation of this kind makes of the ruling of its cluster number `at`."""
    if kind == "label":
        return dataclasses.replace(before, label=label or None, route="cards-team" if at else before.route)
    if kind == "pin":
        return dataclasses.replace(before, pinned=not before.pinned)
    if kind == "separate":
        return dataclasses.replace(before, separations=(*before.separations, f"{name:02x}{'+-'[at]}"))
    left = before.exemplars[1:] if kind == "split" else before.exemplars
    return dataclasses.replace(before, exemplars=(*left, exemplar(name)))


class Deciding(Stores):
    """What people do, and what workers do with it."""

    def __init__(self) -> None:
        super().__init__()
        self.proposals = 0
        # What the topic has: all that was ever seen published, the oldest first.
        self.published: list[Operation] = []

    def states(self, numbers: list[int]) -> dict[int, ClusterState]:
        return {state.cluster_id: state for state in self.stores[0].states(self.namespace, numbers)}

    def propose(
        self, kind: OperationKind, before: dict[int, Ruling], after: dict[int, Ruling], undoes: int = 0
    ) -> None:
        proposed = ProposedOperation(f"op-{self.proposals}", kind, "ann", "", before, after, undoes or None)
        self.both(lambda store: store.operate(self.namespace, proposed))

    @rule(
        kind=st.sampled_from(KINDS),
        positions=st.lists(POSITIONS, min_size=1, max_size=2, unique=True),
        label=NAMES,
        guessed=st.sampled_from([False, False, False, True]),
        again=st.sampled_from([False, False, False, True]),
        undoes=st.sampled_from([0, 0, 0, 1, 2]),
    )
    def operate(
        self, kind: OperationKind, positions: list[int], label: str | None, guessed: bool, again: bool, undoes: int
    ) -> None:
        numbers = list(dict.fromkeys(map(self.known, positions)))
        states = self.states(numbers)
        before = {i: states[i].ruling if i in states and not guessed else Ruling() for i in numbers}
        self.proposals += not again
        after = {i: ruled(kind, before[i], at, self.proposals, label) for at, i in enumerate(numbers)}
        self.propose(kind, before, after, undoes)

    @rule(back=st.integers(0, 3))
    def undo(self, back: int) -> None:
        """As `operations.decisions` does: the clusters get what the operation found them with."""
        kept = self.stores[0].operations(self.namespace, 100)
        if kept:
            operation = kept[back % len(kept)]
            states = self.states(list(operation.before))
            now = {i: states[i].ruling if i in states else Ruling() for i in operation.before}
            was = {i: dataclasses.replace(one, exemplars=now[i].exemplars) for i, one in operation.before.items()}
            self.proposals += 1
            self.propose("undo", now, was, operation.number)

    @rule(label=st.sampled_from(["cards", "", None]), route=st.sampled_from(["desk", ""]), late=st.booleans())
    def name_level(self, label: str | None, route: str, late: bool) -> None:
        """Intents and topics that stand or ended, by levels as they are or before a run."""
        self.proposals += 1
        id_ = f"op-{self.proposals}"

        def call(store: Store) -> int | None:
            stored = store.levels(self.namespace)
            communities = sorted({*stored.levels.parents.values(), *stored.ended})
            if not communities:
                return None
            naming = (label or None, route or None)
            change = LevelsChange({str(communities[0]): (None, None)}, {str(communities[0]): naming})
            standing = replace(stored, version=stored.version - late)
            proposed = ProposedOperation(id_, "label", "ann", "", {}, {}, levels=ProposedLevels(standing, change))
            operation = store.operate(self.namespace, proposed)
            return None if operation is None else operation.number

        self.both(call)

    @rule(position=POSITIONS, own=st.booleans(), late=st.booleans(), freed=st.booleans())
    def keep_in_intent(self, position: int, own: bool, late: bool, freed: bool) -> None:
        """A cluster is put into an intent and kept there, or is free again; by levels as they are or before a run."""
        number = self.known(position)
        states = self.states([number])
        before = states[number].ruling if number in states else Ruling()
        self.proposals += 1
        id_ = f"op-{self.proposals}"

        def call(store: Store) -> int | None:
            stored = store.levels(self.namespace)
            intents = sorted(node for node in set(stored.levels.parents.values()) if node.level == 1)
            into = Node(1, stored.levels.next_numbers[0]) if own or not intents else intents[0]
            ends = tuple(end for end in before.separations if not end.endswith("="))
            after = dataclasses.replace(before, separations=ends if freed else (*ends, f"{into}="))
            places = {} if freed else {f"c{number}": (None, str(into))}
            standing = replace(stored, version=stored.version - late)
            levels = ProposedLevels(standing, LevelsChange({}, {}, places))
            kind: OperationKind = "unpin" if freed else "move"
            proposed = ProposedOperation(id_, kind, "ann", "", {number: before}, {number: after}, levels=levels)
            operation = store.operate(self.namespace, proposed)
            return None if operation is None else operation.number

        self.both(call)

    @rule(
        count=st.integers(1, 2),
        members=st.integers(1, 3),
        guessed=st.sampled_from([False, False, False, True]),
        features=st.booleans(),
    )
    def open_intents(self, count: int, members: int, guessed: bool, features: bool) -> None:
        whole = self.stores[0].namespace_state(self.namespace)
        first = guessed + (1 if whole is None else whole.next_cluster)
        kept = pack(((members,),)) if features else b""
        opened = OpenedCluster(members, np.array([members, 0, 0, 0], np.float32), 40 + members, kept, "?")
        numbers = range(first, first + count)
        self.proposals += 1
        proposed = ProposedOperation(
            f"op-{self.proposals}",
            "intents",
            "ann",
            "",
            dict.fromkeys(numbers, Ruling()),
            {
                number: Ruling("card", "cards-team", exemplars=(exemplar(self.proposals),), threshold=0.6)
                for number in numbers
            },
            opens=dict.fromkeys(numbers, opened),
        )
        self.both(lambda store: store.operate(self.namespace, proposed))

    @rule(position=POSITIONS, ruled=st.booleans())
    def retire_by_operation(self, position: int, ruled: bool) -> None:
        number = self.known(position)
        states = self.states([number])
        before = states[number].ruling if number in states else Ruling()
        self.proposals += 1
        after = before if ruled else Ruling()
        proposed = ProposedOperation(
            f"op-{self.proposals}", "undo", "ann", "", {number: before}, {number: after}, retires=frozenset([number])
        )
        self.both(lambda store: store.operate(self.namespace, proposed))

    @rule(
        threshold=st.sampled_from([None, 0.5, 0.9]),
        most=st.sampled_from([None, 0, 3]),
        resolution=st.sampled_from([None, 4.0]),
        guessed=st.booleans(),
    )
    def set_rules(self, threshold: float | None, most: int | None, resolution: float | None, guessed: bool) -> None:
        before = NamespaceRules(linkage="first") if guessed else self.stores[0].rules(self.namespace)
        change = RulesChange(before, NamespaceRules(threshold, max_clusters=most, intent_resolution=resolution))
        self.proposals += 1
        proposed = ProposedOperation(f"op-{self.proposals}", "rules", "ann", "", {}, {}, rules=change)
        self.both(lambda store: store.operate(self.namespace, proposed))

    @rule(another=st.booleans())
    def delete_and_begin_anew(self, another: bool) -> None:
        def call(store: Store) -> bool:
            token = store.hold(self.namespace, self.epoch(store), 60.0)
            return store.delete(self.namespace, "another" if another else token or "")

        if self.both(call):
            for store in self.stores:
                store.open(self.namespace, IDENTITY)
            self.offsets = dict.fromkeys(PARTITIONS, 0)
            self.published = []
        else:
            for store in self.stores:
                store.require_recovery(self.namespace)
        self.recover_again()

    @rule(worker=WORKERS, seconds=LEASES)
    def claim(self, worker: str, seconds: float) -> None:
        self.both(lambda store: store.claim_operations(self.namespace, worker, seconds))

    @rule(worker=WORKERS, most=st.integers(1, 3), confirms=st.booleans())
    def publish_operations(self, worker: str, most: int, confirms: bool) -> None:
        claim = self.both(lambda store: store.claim_operations(self.namespace, worker, 50.0))
        if not isinstance(claim, OperationClaim) or not claim.compared:
            return
        sent = self.both(lambda store: store.operations_from(self.namespace, claim.published + 1, most))
        newest = max((one.number for one in self.published), default=0)
        self.published += [one for one in sent if one.number > newest]
        if confirms and sent:
            self.confirm_operations(worker, sent[-1].number)

    @rule(worker=WORKERS, number=st.integers(0, 6))
    def confirm_operations(self, worker: str, number: int) -> None:
        self.both(lambda store: store.confirm_operations(self.namespace, worker, number))

    @rule(worker=WORKERS, left_out=st.integers(0, 2), more=st.integers(0, 2))
    def compare_operations(self, worker: str, left_out: int, more: int) -> None:
        """`left_out` of the topic are gone by age; `more` are there that the store has never had."""
        published = self.of_the_topic(left_out, more)
        newest = max((one.number for one in published), default=0)
        self.both(lambda store: store.restore_operations(self.namespace, worker, published, newest))

    @rule(more=st.integers(0, 2), own=st.booleans())
    def recover_operations(self, more: int, own: bool) -> None:
        published = self.of_the_topic(0, more)
        newest = max((one.number for one in published), default=0)

        def call(store: Store) -> int | None:
            store.require_recovery(self.namespace)
            token = store.begin_recovery(self.namespace)
            found = store.restore_operations(self.namespace, token if own else "another", published, newest)
            store.recover(self.namespace, token, None, {})
            return found

        self.both(call)

    def of_the_topic(self, left_out: int, more: int) -> list[Operation]:
        newest = max([one.number for one in self.published] + [self.newest_number()])
        lost = [
            Operation(f"lost-{number}", number, "undo", "bob", "", 5, {}, {}, number - 1)
            for number in range(newest + 1, newest + 1 + more)
        ]
        self.published += lost
        return self.published[left_out:]

    def newest_number(self) -> int:
        return max((one.number for one in self.stores[0].operations(self.namespace, 1)), default=0)
