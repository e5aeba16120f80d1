"""What happens to workers."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from kafka import KafkaConsumer
from kafka.errors import KafkaError

from tests.kit.campaign.bed import Bed
from tests.kit.campaign.faults.base import Dice, Fault
from tests.kit.stream import SESSION_TIMEOUT_SECONDS


@dataclass(frozen=True)
class KilledWorker(Fault):
    """SIGKILL, and a new start."""

    kind = "worker killed"
    struck = "workers"
    worker: int
    down_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.worker(), dice.seconds(0, 3))

    def inflict(self, bed: Bed) -> None:
        with bed.workers[self.worker].killed():
            time.sleep(self.down_seconds)


@dataclass(frozen=True)
class KilledWorkers(Fault):
    """SIGKILL to all of them, one after the other."""

    kind = "all workers killed"
    struck = "workers"
    down_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.seconds(0, 2))

    def inflict(self, bed: Bed) -> None:
        with contextlib.ExitStack() as down:
            for worker in bed.workers:
                down.enter_context(worker.killed())
            time.sleep(self.down_seconds)


@dataclass(frozen=True)
class StoppedWorker(Fault):
    """SIGTERM, the end of the process, and a new start."""

    kind = "worker stopped"
    struck = "workers"
    worker: int
    down_seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.worker(), dice.seconds(0, 3))

    def inflict(self, bed: Bed) -> None:
        with bed.workers[self.worker].stopped():
            time.sleep(self.down_seconds)


@dataclass(frozen=True)
class FrozenWorker(Fault):
    """SIGSTOP and SIGCONT, before the group has given it up."""

    kind = "worker frozen"
    struck = "workers"
    worker: int
    seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.worker(), dice.seconds(0.2, SESSION_TIMEOUT_SECONDS / 2))

    def inflict(self, bed: Bed) -> None:
        with bed.workers[self.worker].frozen():
            time.sleep(self.seconds)


@dataclass(frozen=True)
class ReturnedWorker(FrozenWorker):
    """SIGSTOP, and SIGCONT long after the group has given it up: a zombie."""

    kind = "worker frozen past its session"

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        longest = 3 * SESSION_TIMEOUT_SECONDS
        return cls(dice.worker(), dice.seconds(1.5 * SESSION_TIMEOUT_SECONDS, longest))


@dataclass(frozen=True)
class JumpedClock(Fault):
    """A worker's clock jumps, and jumps back."""

    kind = "clock jumped"
    struck = "workers"
    worker: int
    ahead_seconds: int
    seconds: float

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        # Two hours ahead, Kafka refuses what is stamped.
        ahead_seconds = dice.choice([-10 * 365 * 86400, -7200, -60, 60, 1800, 7200])
        return cls(dice.worker(), ahead_seconds, dice.seconds(1, 5))

    def inflict(self, bed: Bed) -> None:
        with bed.workers[self.worker].clock_ahead(self.ahead_seconds):
            time.sleep(self.seconds)


@dataclass(frozen=True)
class RebalanceStorm(Fault):
    """Others join the group, take partitions, and leave: in good order, or without a word."""

    kind = "rebalance storm"
    struck = "workers"
    guests: int
    rounds: int
    seconds: float
    leaving: bool

    @classmethod
    def draw(cls, dice: Dice) -> Self:
        return cls(dice.count(1, 3), dice.count(2, 4), dice.seconds(0.3, 1.5), dice.choice([True, False]))

    def inflict(self, bed: Bed) -> None:
        for _ in range(self.rounds):
            with contextlib.suppress(KafkaError), contextlib.ExitStack() as guests:
                consumers = [guests.enter_context(_guest(bed, leaves=self.leaving)) for _ in range(self.guests)]
                until = time.monotonic() + self.seconds
                while time.monotonic() < until:
                    for consumer in consumers:
                        consumer.poll(timeout_ms=50)


@contextlib.contextmanager
def _guest(bed: Bed, *, leaves: bool) -> Iterator[KafkaConsumer]:
    consumer = KafkaConsumer(
        bed.stream.topics.input_topic,
        bootstrap_servers=bed.stream.bootstrap_servers,
        group_id=bed.stream.group_id,
        client_id="guest",
        # A member with a name of its own does not say when it goes: the group finds out for itself.
        group_instance_id=None if leaves else f"guest-{uuid.uuid4()}",
        enable_auto_commit=False,
        session_timeout_ms=2000,
        heartbeat_interval_ms=500,
        max_poll_records=10,
    )
    try:
        yield consumer
    finally:
        consumer.close(autocommit=False, timeout_ms=2000)
