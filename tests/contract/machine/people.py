"""Rules of what people do, as the product's own functions propose it: texts, merges, and both taken back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from hypothesis.stateful import rule

from questream.domain import DISMISSIBLE, Dismissible, Vector
from questream.errors import QuestreamError
from questream.operations import By, Decisions, KnownQuestion
from questream.operations.requests import Propose
from questream.operations.unmerging import joined_since
from questream.store.protocol import ProposedOperation, Remains, Store
from questream.store.protocol.names import MadeName
from tests.contract.machine.deciding import Deciding
from tests.contract.machine.stores import POSITIONS

TEXTS = st.sampled_from(["When does my card come?", "Is it lost?", 'A "quoted" é', ""])


def without_key(remains: Remains | None) -> Remains | None:
    """What a merge absorbed, without the name that one store has for it."""
    return None if remains is None else replace(remains, key="")


class People(Deciding):
    """Operations that `questream.operations` plans on one store, and that are done in both."""

    def decide(self, make: Callable[[Decisions], Propose], *, twice: bool = False, late: bool = False) -> None:
        """Have both stores asked, and do what the first one's state makes of it; `late` lets both change before."""
        self.proposals += 1
        by = By("ann", "", f"op-{self.proposals}")

        def planned(store: Store) -> ProposedOperation | str:
            try:
                return make(Decisions(store, self.namespace, by))()
            except (QuestreamError, ValueError, KeyError) as error:
                return type(error).__name__

        plans = {id(store): planned(store) for store in self.stores}
        plan = plans[id(self.stores[0])]
        self.both(lambda store: plans[id(store)] if isinstance(plans[id(store)], str) else "")
        if isinstance(plan, str):
            return

        def proposed(store: Store) -> ProposedOperation:
            own = plans[id(store)]
            assert isinstance(own, ProposedOperation)
            # Each store names remains in its own way, and has versions of levels by its own clock.
            part = plan.part and own.part and replace(plan.part, remains=own.part.remains)
            levels = plan.levels and own.levels
            assert (part is None, levels is None) == (plan.part is None, plan.levels is None)
            return replace(plan, part=part, levels=levels)

        if late:
            touched = next(iter(plan.after), None)
            if touched is not None:
                self.both(lambda store: store.label(self.namespace, touched, f"late-{self.proposals}", None))
        for _ in range(1 + twice):
            self.both(lambda store: store.operate(self.namespace, proposed(store)))

    @rule(position=POSITIONS, text=TEXTS, placed=st.booleans())
    def represent(self, position: int, text: str, placed: bool) -> None:
        number = self.known(position)
        self.decide(lambda by: by.represent(number, text, ("questions", 0, position) if placed else None))

    @rule(position=POSITIONS, twice=st.booleans(), late=st.sampled_from([False, False, True]))
    def forget(self, position: int, twice: bool, late: bool) -> None:
        number = self.known(position)
        self.decide(lambda by: by.forget(number), twice=twice, late=late)

    @rule(position=POSITIONS, name=st.sampled_from(["lost cards", None]), another=st.booleans())
    def write_names(self, position: int, name: str | None, another: bool) -> None:
        made = None if name is None else MadeName(name, "m", 1, 3, "")
        number = self.known(position)

        def call(store: Store) -> None:
            store.write_names(self.namespace, "another" if another else self.epoch(store), {number: made})

        self.both(call)
        self.both(lambda store: store.made_names(self.namespace))

    @rule(one=POSITIONS, other=POSITIONS, late=st.sampled_from([False, False, True]))
    def merge_by_operation(self, one: int, other: int, late: bool) -> None:
        numbers = self.known(one), self.known(other)
        self.decide(lambda by: by.merge(*numbers, lambda *_: True), late=late)

    @rule(back=st.integers(0, 6), twice=st.booleans(), late=st.sampled_from([False, False, True]))
    def take_back(self, back: int, twice: bool, late: bool) -> None:
        kept = self.stores[0].operations(self.namespace, 100)
        if kept:
            number = kept[back % len(kept)].number
            self.decide(lambda by: by.undo(number), twice=twice, late=late)

    @rule(
        position=st.integers(0, 10),
        towards=st.integers(0, 2),
        twice=st.booleans(),
        late=st.sampled_from([False, False, True]),
    )
    def unmerge(self, position: int, towards: int, twice: bool, late: bool) -> None:
        """A cluster that was merged away, with those questions that joined since that lie towards one side."""
        merged = [i for i in range(1, self.whole.next_cluster) if self.is_merged(i)]
        if not merged:
            return
        number = merged[position % len(merged)]
        references = self.both(lambda store: joined_since(store, self.namespace, number))
        vector: Vector = np.eye(4, dtype=np.float32)[towards]
        joined = [
            KnownQuestion(number, vector, ("questions", *one.place[1:]), None, f"q{one.place[2]}", b"key")
            for one in (references if isinstance(references, list) else [])
        ]
        self.decide(lambda by: by.unmerge(number, joined), twice=twice, late=late)

    @rule(
        position=POSITIONS,
        other=POSITIONS,
        kind=st.sampled_from(["reject", "move", "split"]),
        towards=st.integers(0, 2),
        twice=st.booleans(),
        late=st.sampled_from([False, False, True]),
    )
    def decide_on_questions(self, position: int, other: int, kind: str, towards: int, twice: bool, late: bool) -> None:
        number, target = self.known(position), self.known(other)
        vector: Vector = np.eye(4, dtype=np.float32)[towards]
        place = ("questions", 0, position)
        # Where nothing else takes it, it opens a cluster.
        asked = [KnownQuestion(number, vector, place, "Is it lost?", f"q{position}", b"key", opens=0)]
        made: dict[str, Callable[[Decisions], Propose]] = {
            "reject": lambda by: by.reject(asked),
            "move": lambda by: by.move(asked, target),
            "split": lambda by: by.split(number, asked),
        }
        self.decide(made[kind], twice=twice, late=late)

    @rule(position=POSITIONS, suggestion=st.sampled_from(DISMISSIBLE), late=st.sampled_from([False, False, True]))
    def dismiss(self, position: int, suggestion: Dismissible, late: bool) -> None:
        number = self.known(position)
        self.decide(lambda by: by.dismiss(number, suggestion), late=late)

    @rule(
        kind=st.sampled_from(["move", "own", "merge", "separate", "pin", "unpin"]),
        position=POSITIONS,
        picks=st.tuples(st.integers(0, 5), st.integers(0, 5)),
        twice=st.booleans(),
        late=st.sampled_from([False, False, True]),
    )
    def decide_on_levels(self, kind: str, position: int, picks: tuple[int, int], twice: bool, late: bool) -> None:
        """Of intents and topics that stand."""
        standing = sorted({*self.stores[0].levels(self.namespace).levels.parents.values()})
        if not standing:
            return
        one, other = (str(standing[pick % len(standing)]) for pick in picks)
        moved = f"c{self.known(position)}" if one[0] == "i" else other
        made: dict[str, Callable[[Decisions], Propose]] = {
            "move": lambda by: by.move_nodes([moved], one),
            "own": lambda by: by.move_nodes([moved], "own"),
            "merge": lambda by: by.merge_levels(one, other, keep=one),
            "separate": lambda by: by.separate_levels(one, other),
            "pin": lambda by: by.pin_level(one),
            "unpin": lambda by: by.unpin_level(one),
        }
        self.decide(made[kind], twice=twice, late=late)

    def is_merged(self, number: int) -> bool:
        """True if it was opened and has another's id by now."""
        return any(state.merged_into is not None for state in self.stores[0].states(self.namespace, [number]))

    def compare_all_that_can_be_read(self) -> None:
        super().compare_all_that_can_be_read()
        numbers = range(1, self.whole.next_cluster)
        self.both(lambda store: [without_key(store.remains(self.namespace, number)) for number in numbers])
        self.both(lambda store: store.made_names(self.namespace))
