"""Records that ask for more than a stream gives."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Literal, Self

from tests.kit.campaign.bed import NAMESPACES_MAX, Bed
from tests.kit.campaign.faults.base import Dice, Fault
from tests.kit.campaign.traffic import question_value
from tests.kit.stream import Message

MIB = 1024 * 1024


@dataclass(frozen=True)
class NamespaceFlood(Fault):
    """Records that name a namespace of their own each, most of them beyond `namespaces.max`."""

    kind = "flood of namespaces"
    struck = "input"
    namespaces: int

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.count(NAMESPACES_MAX, 10 * NAMESPACES_MAX))

    def inflict(self, bed: Bed) -> None:
        flood = uuid.uuid4().hex[:6]
        bed.traffic.send_besides(
            Message(question_value(f"{flood}-{n}", "a b", f"tenant-{flood}-{n}"), f"{flood}-{n}".encode())
            for n in range(self.namespaces)
        )


@dataclass(frozen=True)
class HugeRecords(Fault):
    """Records of some thousand bytes on the wire that unpack to more than any topic takes."""

    kind = "compressed poison"
    struck = "input"
    records: int
    mebibytes: int
    part: Literal["value", "key", "header"]

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        parts: tuple[Literal["value", "key", "header"], ...] = ("value", "key", "header")
        return cls(dice.count(1, 4), dice.count(2, 6), dice.choice(parts))

    def inflict(self, bed: Bed) -> None:
        huge = b"x" * self.mebibytes * MIB
        bed.traffic.send_besides(self._record(uuid.uuid4().hex, huge) for _ in range(self.records))

    def _record(self, name: str, huge: bytes) -> Message:
        key, value = name.encode(), question_value(name, "a1 b1", "shop")
        if self.part == "value":
            return Message(b'{"text": "' + huge, key)
        return Message(value, huge) if self.part == "key" else Message(value, key, [("huge", huge)])
