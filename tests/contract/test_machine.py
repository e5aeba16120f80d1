"""The store in memory and Redis, through the same calls in any order: every reply and all that can be read is compared.

The explorer walks the store in memory, so what it proves holds for Redis only as far as the two agree.
`QUESTREAM_SEQUENCES` says how many sequences of calls are tried (`make machine`: 10,000).
"""

from __future__ import annotations

import os

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.machine.beside import Beside
from tests.contract.machine.clusters import Clusters
from tests.contract.machine.deciding import Deciding

SEQUENCES = int(os.environ.get("QUESTREAM_SEQUENCES", "150"))
STEPS = 25


class Machine(Clusters, Deciding, Beside):
    """All calls of a store."""


def test_redis_and_the_store_in_memory_answer_alike_whatever_is_asked_in_whatever_order(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Longer than a sequence takes: the two have clocks of their own, and a turn ends with its time.
    for module in ("redis.commits", "reference.store"):
        monkeypatch.setattr(f"questream.store.{module}.TURN_SECONDS", 50.0)
    client = redis.Redis.from_url(redis_url)
    machine = type("MachineOnRedis", (Machine,), {"client": client})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    client.close()
