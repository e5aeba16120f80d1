"""A store that forgets what it has acknowledged."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from tests.campaign.bed import Bed
from tests.campaign.faults.base import Dice, Fault, StoreKind
from tests.campaign.faults.servers import SINGLE

SENTINEL: frozenset[StoreKind] = frozenset({"sentinel"})


@dataclass(frozen=True)
class FlushedStore(Fault):
    """FLUSHALL."""

    kind = "store flushed"
    struck = "store"
    needs = SINGLE
    loses_memory = True

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        del dice
        return cls()

    def inflict(self, bed: Bed) -> None:
        with bed.single.server.client() as client:
            client.flushall()


@dataclass(frozen=True)
class ForgetfulStore(Fault):
    """A machine dies with a Redis that syncs every second: the end of its append-only file is gone, in mid-command."""

    kind = "store killed, last second lost"
    struck = "store"
    needs = SINGLE
    loses_memory = True
    lost_seconds: float
    torn_bytes: int
    down_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(0.3, 1), dice.choice([0, 1, 100]), dice.seconds(0, 3))

    def inflict(self, bed: Bed) -> None:
        server = bed.single.server
        server.set(appendfsync="everysec")
        kept_bytes = server.append_file.stat().st_size
        time.sleep(self.lost_seconds)
        server.kill()
        # Redis cuts a torn command off when it starts (aof-load-truncated).
        torn = min(kept_bytes + self.torn_bytes, server.append_file.stat().st_size)
        server.cut_append_file(torn)
        time.sleep(self.down_seconds)
        server.start()
        server.set(appendfsync="always")


@dataclass(frozen=True)
class FailedOver(Fault):
    """The master dies, and Sentinel makes a replica the master that misses its last seconds."""

    kind = "failover to a lagging replica"
    struck = "store"
    needs = SENTINEL
    loses_memory = True
    lag_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.choice([0.0, dice.seconds(0.2, 3)]))

    def inflict(self, bed: Bed) -> None:
        if self.lag_seconds:
            bed.sentinel.servers.stop_replication()
            time.sleep(self.lag_seconds)
        bed.sentinel.servers.fail_over()
