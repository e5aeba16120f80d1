"""What happens to the broker and to the store that forgets nothing."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Literal, Self

from tests.kit.campaign.bed import Bed
from tests.kit.campaign.faults.base import Dice, Fault, StoreKind
from tests.kit.servers import KafkaServer
from tests.kit.stream import wait_until

_ANSWERS_IN_A_ROW = 4
_BETWEEN_ANSWERS_SECONDS = 0.5

SINGLE: frozenset[StoreKind] = frozenset({"single"})


@dataclass(frozen=True)
class KilledBroker(Fault):
    """SIGKILL, and a new start on the same data."""

    kind = "broker killed"
    struck = "broker"
    down_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(0, 5))

    def inflict(self, bed: Bed) -> None:
        bed.kafka.kill()
        time.sleep(self.down_seconds)
        bed.kafka.start()


@dataclass(frozen=True)
class FrozenBroker(Fault):
    """SIGSTOP and SIGCONT."""

    kind = "broker frozen"
    struck = "broker"
    seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(0.5, 10))

    def inflict(self, bed: Bed) -> None:
        bed.kafka.pause()
        time.sleep(self.seconds)
        bed.kafka.resume()
        # The controller, frozen with it, may still shut it out for its silence, a moment after it answers again.
        wait_until(lambda: _answers_steadily(bed.kafka), "the broker is let in again")


def _answers_steadily(kafka: KafkaServer) -> bool:
    for _ in range(_ANSWERS_IN_A_ROW):
        if not kafka.answers():
            return False
        time.sleep(_BETWEEN_ANSWERS_SECONDS)
    return True


@dataclass(frozen=True)
class KilledStore(Fault):
    """SIGKILL, and a new start on an append-only file that was synced at every write."""

    kind = "store killed"
    struck = "store"
    needs = SINGLE
    down_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(0, 5))

    def inflict(self, bed: Bed) -> None:
        bed.single.server.kill()
        time.sleep(self.down_seconds)
        bed.single.server.start()


@dataclass(frozen=True)
class FrozenStore(Fault):
    """SIGSTOP and SIGCONT: what was sent meanwhile is done late, when its sender has given up."""

    kind = "store frozen"
    struck = "store"
    needs = SINGLE
    seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(0.5, 8))

    def inflict(self, bed: Bed) -> None:
        bed.single.server.pause()
        time.sleep(self.seconds)
        bed.single.server.resume()


@dataclass(frozen=True)
class FullStore(Fault):
    """No memory left (noeviction), and later again."""

    kind = "store out of memory"
    struck = "store"
    needs = SINGLE
    seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(1, 6))

    def inflict(self, bed: Bed) -> None:
        bed.single.server.set(maxmemory="1mb")
        time.sleep(self.seconds)
        bed.single.server.set(maxmemory="0")


@dataclass(frozen=True)
class FullDisk(Fault):
    """The append-only file can grow no more.

    A Redis that syncs at every write ends then, and is started again; one that syncs every second refuses writes.
    """

    kind = "store's disk full"
    struck = "store"
    needs = SINGLE
    appendfsync: Literal["always", "everysec"]
    more_bytes: int
    seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.choice(("always", "everysec")), dice.choice([0, 100, 5000, 50_000]), dice.seconds(1, 6))

    def inflict(self, bed: Bed) -> None:
        server = bed.single.server
        server.set(appendfsync=self.appendfsync)
        server.limit_files(self.more_bytes)
        time.sleep(self.seconds)
        if server.runs():
            server.lift_limit()
            wait_until(lambda: _writes(bed), "the store takes writes again")
            server.set(appendfsync="always")
        if not server.runs():
            server.kill()
            server.start()


def _writes(bed: Bed) -> bool:
    if not bed.single.server.runs():
        return True
    with bed.single.server.client() as client:
        return bool(client.info("persistence")["aof_last_write_status"] == "ok")
