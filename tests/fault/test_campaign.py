"""A short campaign of a fresh seed; `make faults` runs long ones, of every kind."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from tests.kit.campaign.campaign import MOST_WORKERS, RoundOutcome, run_round
from tests.kit.campaign.faults import Fault
from tests.kit.campaign.faults.paths import CutPath
from tests.kit.campaign.faults.servers import KilledStore
from tests.kit.campaign.faults.workers import FrozenWorker, KilledWorker, StoppedWorker
from tests.kit.campaign.schedule import draw_schedule
from tests.kit.servers import KafkaServer, Link
from tests.kit.servers.kafka import SHORT_SESSION
from tests.kit.servers.process import free_port

FAULTS = 4
# Those that are over soon.
QUICK = (KilledWorker, StoppedWorker, FrozenWorker, KilledStore, CutPath)


def say(line: str) -> None:
    """To where pytest shows it if the test fails."""
    sys.stderr.write(f"{line}\n")


@pytest.fixture
def paths() -> Iterator[list[Link]]:
    with ExitStack() as started:
        yield [started.enter_context(Link(free_port())) for _ in range(MOST_WORKERS)]


def test_random_faults_cost_no_question_and_break_no_promise(
    kafka_factory: Callable[..., KafkaServer], paths: list[Link], tmp_path: Path
) -> None:
    seed = random.SystemRandom().randrange(10**6)
    say(f"SEED={seed}")
    (plan,) = draw_schedule(seed, FAULTS, QUICK)
    result = RoundOutcome(plan)
    run_round(result, tmp_path, kafka_factory(properties=SHORT_SESSION, links=paths), paths, say)
    assert all(outcome.survived for outcome in result.outcomes), (seed, result.outcomes, result.violations[:5])
    assert sum(len(outcome.blow) for outcome in result.outcomes) == FAULTS
    assert result.verdict.published["decisions"] > 0


def test_the_owner_of_a_model_is_killed_and_stopped_and_no_promise_is_broken(
    kafka_factory: Callable[..., KafkaServer], paths: list[Link], tmp_path: Path
) -> None:
    (drawn,) = draw_schedule(1, 1, QUICK)
    blows: list[tuple[Fault, ...]] = [(KilledWorker(0, 2.0),), (StoppedWorker(0, 0.5),), (KilledWorker(0, 0.0),)]
    plan = replace(drawn, store="single", workers=2, partitions=4, owner=True, blows=blows)
    result = RoundOutcome(plan)
    run_round(result, tmp_path, kafka_factory(properties=SHORT_SESSION, links=paths), paths, say)
    assert all(outcome.survived for outcome in result.outcomes), (result.outcomes, result.violations[:5])
    assert len(result.outcomes) == len(blows)
    started = [log.read_text().count("worker processes started") for log in tmp_path.glob("worker-*.log")]
    assert sorted(started) == [0, 1 + len(blows)]
