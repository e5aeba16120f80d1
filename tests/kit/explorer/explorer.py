"""All orders of all steps, each state once."""

from __future__ import annotations

import contextlib
import gc
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple
from unittest.mock import patch

from .promises import Broken, check_end, check_state
from .scenario import Scenario
from .script import ProducerPort
from .values import forget_constants
from .worker import Protocol
from .world import BROKER, Model, Step, World


class Violation(AssertionError):
    """A promise that does not hold, and the steps that lead there."""

    def __init__(self, promise: str, trail: list[str]) -> None:
        super().__init__("\n".join([promise, *trail]))
        self.promise = promise


@dataclass
class Explored:
    """How much was seen."""

    states: int = 0
    ends: int = 0


class _Node(NamedTuple):
    world: World
    step: str
    before: _Node | None
    # Who came last, and how often somebody else may still come in its way.
    actor: str
    interruptions: float

    def trail(self) -> list[str]:
        """The steps that led here."""
        node, steps = self, []
        while node.before is not None:
            steps.append(node.step)
            node = node.before
        return steps[::-1]


def explore(scenario: Scenario, protocol: Protocol | None = None) -> Explored:
    """Visit every state that the scenario can come to within its interruptions.

    Raises Violation where a promise does not hold.
    """
    # The product closes a producer in a thread of its own, which takes longer than all that a step does.
    with _uncollected(), patch("questream.broker.publisher._close_aside", ProducerPort.close):
        try:
            return _explore(scenario, Model(scenario, protocol or Protocol()))
        finally:
            forget_constants()


def _explore(scenario: Scenario, model: Model) -> Explored:
    explored, sound = Explored(), set[bytes]()
    seen: dict[tuple[bytes, str], float] = {}
    stack = [_Node(model.beginning(), "", None, "", scenario.interruptions)]
    while stack:
        node = stack.pop()
        key = (node.world.meaning, node.actor)
        if seen.get(key, -1) >= node.interruptions:
            continue
        explored.states += key not in seen
        seen[key] = node.interruptions
        try:
            if node.world.kafka.meaning not in sound:
                check_state(scenario, node.world)
                sound.add(node.world.kafka.meaning)
            steps = model.steps(node.world)
            if not steps:
                check_end(scenario, node.world)
                explored.ends += 1
            # What is put last is looked at first: a fault tells most where much has been done before it.
            stack += [_Node(f.world, f.what, node, node.actor, node.interruptions) for f in model.faults(node.world)]
            stack += _next(node, steps)
        except Broken as broken:
            raise Violation(str(broken), node.trail()) from broken
    return explored


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """States are no cycles and are kept to the end: the collector would find nothing, in a quarter of all the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _next(node: _Node, steps: list[Step]) -> Iterator[_Node]:
    """Most orders that go wrong need few interruptions: who could go on, but has to wait for another."""
    could_go_on = any(step.actor == node.actor for step in steps)
    for step in steps:
        interrupts = could_go_on and step.actor not in (node.actor, BROKER)
        left = node.interruptions - interrupts
        if left >= 0:
            # Where everybody may interrupt, who came last leads to nothing else.
            actor = "" if left == math.inf else node.actor if step.actor == BROKER else step.actor
            yield _Node(step.world, step.what, node, actor, left)
