"""What happens to the network between a worker and a server."""

from __future__ import annotations

import time
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, Self

from tests.kit.campaign.bed import Bed
from tests.kit.campaign.faults.base import Dice, Fault
from tests.kit.campaign.faults.servers import SINGLE
from tests.kit.servers import Link, Way

Server = Literal["broker", "store"]
WAYS: tuple[tuple[Way, ...], ...] = ((Way.TO_SERVER,), (Way.TO_CLIENT,), (Way.TO_SERVER, Way.TO_CLIENT))


@dataclass(frozen=True)
class _BrokenPath(Fault):
    """The path from one worker to one server, broken in one way and healed."""

    struck = "paths"
    needs = SINGLE
    server: Server
    worker: int
    seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        # Shorter and longer than the timeouts of calls and of the session.
        server: Server = dice.choice(("broker", "store"))
        return cls(server, dice.worker(), dice.seconds(0.5, 12))

    def inflict(self, bed: Bed) -> None:
        worker = bed.workers[self.worker]
        path = worker.to_broker if self.server == "broker" else worker.to_store
        assert path is not None
        self.break_path(path)
        time.sleep(self.seconds)
        path.heal()

    @abstractmethod
    def break_path(self, path: Link) -> None:
        """What happens to it."""


@dataclass(frozen=True)
class CutPath(_BrokenPath):
    """Connections are reset and refused."""

    kind = "path cut"

    def break_path(self, path: Link) -> None:
        path.cut()


@dataclass(frozen=True)
class ResetPath(_BrokenPath):
    """Connections are reset once, and welcome again at once."""

    kind = "path reset"

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        server: Server = dice.choice(("broker", "store"))
        return cls(server, dice.worker(), 0.0)

    def break_path(self, path: Link) -> None:
        path.reset()


@dataclass(frozen=True)
class SlowPath(_BrokenPath):
    """Everything takes longer, each way."""

    kind = "path slow"
    delay_seconds: float = 0.1

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        server: Server = dice.choice(("broker", "store"))
        # 1.5 s each way is more than a worker waits for Redis: its request is done, and it gets no answer.
        delay_seconds = dice.choice([0.05, 0.25, 0.5, 1.5])
        return cls(server, dice.worker(), dice.seconds(2, 8), delay_seconds)

    def break_path(self, path: Link) -> None:
        path.delay(self.delay_seconds)


@dataclass(frozen=True)
class HalfOpenPath(_BrokenPath):
    """Connections stay, and what travels one way, or either, is lost in silence."""

    kind = "path half open"
    ways: tuple[Way, ...] = WAYS[0]

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        server: Server = dice.choice(("broker", "store"))
        return cls(server, dice.worker(), dice.seconds(0.5, 12), dice.choice(WAYS))

    def break_path(self, path: Link) -> None:
        path.half_open(self.ways)


@dataclass(frozen=True)
class LateOperations(Fault):
    """Operations of people arrive late, when others have gone on: their server was frozen with one in flight."""

    kind = "operations held up"
    struck = "people"
    needs = SINGLE
    seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(0.5, 12))

    def inflict(self, bed: Bed) -> None:
        bed.single.to_people.hold_up()
        time.sleep(self.seconds)
        bed.single.to_people.heal()


@dataclass(frozen=True)
class HeldUpPath(_BrokenPath):
    """Connections stay, and everything arrives late: also what its sender has given up."""

    kind = "path held up"

    def break_path(self, path: Link) -> None:
        path.hold_up()
