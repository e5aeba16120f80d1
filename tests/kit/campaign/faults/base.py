"""What a fault is, and what it happens to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from random import Random
from typing import TYPE_CHECKING, ClassVar, Literal, Self

if TYPE_CHECKING:
    from tests.kit.campaign.bed import Bed

Struck = Literal["workers", "broker", "store", "paths", "input", "people"]
StoreKind = Literal["single", "sentinel"]
EVERY_STORE: frozenset[StoreKind] = frozenset({"single", "sentinel"})


class Dice:
    """What faults are drawn with, for a bed of so many workers; all of it follows from `random`."""

    def __init__(self, random: Random, workers: int) -> None:
        self._random = random
        self._workers = workers
        self.choice = random.choice

    def worker(self) -> int:
        """One of the workers."""
        return self._random.randrange(self._workers)

    def count(self, least: int, most: int) -> int:
        """A number of things."""
        return self._random.randint(least, most)

    def seconds(self, least: float, most: float) -> float:
        """A duration, rounded so that a schedule reads well."""
        return round(self._random.uniform(least, most), 1)


@dataclass(frozen=True)
class Fault(ABC):
    """One fault with all that was drawn for it.

    `kind` names it in the report; two can happen at once if they have not `struck` the same, and neither is to be
    `alone` because it needs all else in order. `needs` are the stores it can happen to. After one that `loses_memory`
    the store has forgotten writes that it had acknowledged.
    """

    kind: ClassVar[str]
    struck: ClassVar[Struck]
    needs: ClassVar[frozenset[StoreKind]] = EVERY_STORE
    alone: ClassVar[bool] = False
    loses_memory: ClassVar[bool] = False

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        """One of this kind; of those that have nothing to draw, all are alike."""
        del dice
        return cls()

    @abstractmethod
    def inflict(self, bed: Bed) -> None:
        """Have it happen; returns when it is over and everything that it struck is there again."""

    def __str__(self) -> str:
        drawn = ", ".join(
            f"{field.name.replace('_', ' ')} {_read(getattr(self, field.name))}" for field in fields(self)
        )
        return f"{self.kind} ({drawn})" if drawn else self.kind


def _read(value: object) -> str:
    return " and ".join(way.value for way in value) if isinstance(value, tuple) else str(value)
