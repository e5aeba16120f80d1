"""Every order of the workers' calls, with a fault between any two: what the guarantees promise holds in each.

`QUESTREAM_MODEL_INTERRUPTIONS` raises how often threads may come in each other's way where faults strike (0), at the
price of minutes for each.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.kit.explorer.explorer import Violation, explore
from tests.kit.explorer.mutations import (
    ANY_ASSIGNMENT,
    CARELESS_CONFIRM,
    CARELESS_MERGE,
    DOUBLE_COUNT,
    GOES_ON_AFTER_REFUSAL,
    LOST_ALIAS,
    MIXING_MERGE,
    NO_LEDGER,
    NO_STALE_CHECK,
    OFFSETS_FIRST,
    TRUSTING,
)
from tests.kit.explorer.scenario import MERGE, MERGE_AND_JOIN, SAME, TWINS, TWO_PARTITIONS, Faults, Scenario
from tests.kit.explorer.worker import Protocol

INTERRUPTIONS = int(os.environ.get("QUESTREAM_MODEL_INTERRUPTIONS", "0"))


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def report(scenario: Scenario, record: pytest.FixtureRequest) -> None:
    explored = explore(scenario)
    assert explored.ends
    record.node.user_properties.append(("states", explored.states))
    print(f"{explored.states} states, {explored.ends} ends")  # noqa: T201 - pytest shows it with -s


@pytest.mark.parametrize("scenario", [MERGE, TWINS, MERGE_AND_JOIN], ids=["merge", "twins", "merge and join"])
def test_workers_race_and_nothing_is_lost(scenario: Scenario, request: pytest.FixtureRequest) -> None:
    report(scenario, request)


@pytest.mark.parametrize("fault", ["crashes", "rebalances", "resets", "expiries", "losses"])
def test_a_fault_between_any_two_calls_loses_nothing(fault: str, request: pytest.FixtureRequest) -> None:
    # A reset strikes all workers: two questions at a time keep that many states small.
    batch_questions = 2 if fault == "resets" else 1
    faults = Faults(**{fault: 1})
    scenario = replace(MERGE, faults=faults, batch_questions=batch_questions, interruptions=INTERRUPTIONS)
    report(scenario, request)


def test_a_refused_batch_ends_its_assignment(request: pytest.FixtureRequest) -> None:
    # The other worker decides, publishes and forgets a partition while one waits, and one fetches ahead.
    scenario = replace(TWO_PARTITIONS, faults=Faults(rebalances=1), interruptions=max(1, INTERRUPTIONS))
    report(scenario, request)


def test_the_cluster_topic_ends_as_the_store_stands(request: pytest.FixtureRequest) -> None:
    report(replace(MERGE, topic_is_compared=True), request)


def test_the_cluster_topic_ends_as_a_store_that_lost_its_memory(request: pytest.FixtureRequest) -> None:
    faults = Faults(losses=1)
    report(replace(SAME, topic_is_compared=True, faults=faults, interruptions=INTERRUPTIONS), request)


def test_what_an_operator_named_meanwhile_is_neither_merged_away_nor_mixed(request: pytest.FixtureRequest) -> None:
    report(replace(MERGE, faults=Faults(namings=2), interruptions=INTERRUPTIONS), request)


@pytest.mark.parametrize(
    ("protocol", "scenario"),
    [
        pytest.param(OFFSETS_FIRST, MERGE, id="offsets before records"),
        pytest.param(NO_LEDGER, replace(MERGE, faults=Faults(crashes=1)), id="no ledger"),
        pytest.param(NO_STALE_CHECK, TWINS, id="no stale check"),
        pytest.param(CARELESS_MERGE, MERGE_AND_JOIN, id="merge without member check"),
        pytest.param(LOST_ALIAS, MERGE, id="lost alias"),
        pytest.param(MIXING_MERGE, replace(MERGE, faults=Faults(namings=2)), id="merge mixes labels"),
        pytest.param(DOUBLE_COUNT, replace(MERGE, faults=Faults(rebalances=1)), id="double count"),
        pytest.param(CARELESS_CONFIRM, replace(MERGE, topic_is_compared=True), id="confirm ignores revision"),
        pytest.param(TRUSTING, replace(MERGE, faults=Faults(losses=1)), id="lost memory goes unseen"),
        pytest.param(
            GOES_ON_AFTER_REFUSAL, replace(TWO_PARTITIONS, faults=Faults(rebalances=1)), id="goes on after a refusal"
        ),
        pytest.param(ANY_ASSIGNMENT, replace(TWO_PARTITIONS, faults=Faults(rebalances=1)), id="any assignment's"),
    ],
)
def test_a_broken_protocol_is_caught(protocol: Protocol, scenario: Scenario) -> None:
    with pytest.raises(Violation):
        explore(replace(scenario, interruptions=2), protocol)
