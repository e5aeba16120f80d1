"""The store in memory and Redis, through the same calls in any order: every reply and all that can be read is compared.

The explorer walks the store in memory, so what it proves holds for Redis only as far as the two agree.
`QUESTREAM_SEQUENCES` says how many sequences of calls are tried (`make machine`: 10,000), in parts that processes of
pytest share out. Those of a long run are new ones each time; `SEED=7` repeats them. A sequence in which the two differ
is made as short as it can be, which takes minutes, unless `QUESTREAM_TEST_AS_FOUND` is set.
"""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable

import hypothesis
import pytest
import redis
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.contract.machine.beside import Beside
from tests.contract.machine.clusters import Clusters
from tests.contract.machine.people import People
from tests.kit.servers import RedisServer

ASKED = os.environ.get("QUESTREAM_SEQUENCES")
SEQUENCES = int(ASKED or "150")
PART_SEQUENCES = 500
STEPS = 25
PHASES = [phase for phase in Phase if phase is not Phase.shrink or "QUESTREAM_TEST_AS_FOUND" not in os.environ]


class Machine(Clusters, People, Beside):
    """All calls of a store."""


@pytest.mark.parametrize("first", range(0, SEQUENCES, PART_SEQUENCES))
def test_redis_and_the_store_in_memory_answer_alike_whatever_is_asked_in_whatever_order(
    redis_factory: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    # Longer than a sequence takes: the two have clocks of their own, and a turn ends with its time.
    for module in ("redis.commits", "reference.commits"):
        monkeypatch.setattr(f"questream.store.{module}.TURN_SECONDS", 50.0)
    client = redis.Redis.from_url(redis_factory(directives={"appendonly": "no"}).url)
    machine = type("MachineOnRedis", (Machine,), {"client": client})
    if ASKED:
        seed = int(os.environ.get("SEED") or random.SystemRandom().randrange(10**6))
        sys.stderr.write(f"SEED={seed}, part {first}\n")
        machine = hypothesis.seed(seed + first)(machine)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=min(PART_SEQUENCES, SEQUENCES - first),
            stateful_step_count=STEPS,
            deadline=None,
            phases=PHASES,
            suppress_health_check=list(HealthCheck),
        ),
    )
    client.close()
