"""What a campaign draws, asks and reports, before any server is started."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import pytest

from tests.campaign.campaign import MOST_WORKERS, Outcome, RoundOutcome
from tests.campaign.faults import KINDS
from tests.campaign.report import summary
from tests.campaign.schedule import ROUND_FAULTS, draw_schedule
from tests.campaign.traffic import BURST_QUESTIONS, NAMESPACES, burst
from tests.checker import Promise, Violation


def test_a_seed_draws_the_same_schedule_again_and_a_longer_one_begins_with_it() -> None:
    assert draw_schedule(7, 60, KINDS) == draw_schedule(7, 60, KINDS)
    assert draw_schedule(7, 60, KINDS)[:3] == draw_schedule(7, 300, KINDS)[:3]
    assert draw_schedule(7, 60, KINDS) != draw_schedule(8, 60, KINDS)


@pytest.mark.parametrize("faults", [1, ROUND_FAULTS - 1, ROUND_FAULTS + 3, 400])
def test_a_schedule_has_as_many_faults_as_were_asked_for(faults: int) -> None:
    rounds = draw_schedule(3, faults, KINDS)
    assert sum(len(blow) for one in rounds for blow in one.blows) == faults


def test_every_kind_is_drawn_and_only_where_it_can_happen() -> None:
    drawn = [(one, fault) for one in draw_schedule(1, 600, KINDS) for blow in one.blows for fault in blow]
    assert {type(fault) for _, fault in drawn} == set(KINDS)
    assert all(one.store in fault.needs for one, fault in drawn)
    assert all(getattr(fault, "worker", 0) < one.workers <= MOST_WORKERS for one, fault in drawn)


def test_two_faults_at_once_strike_different_things() -> None:
    pairs = [blow for one in draw_schedule(5, 600, KINDS) for blow in one.blows if len(blow) == 2]
    assert pairs
    assert all(first.struck != second.struck for first, second in pairs)


def test_the_names_of_the_kinds_are_unique() -> None:
    assert max(Counter(kind.kind for kind in KINDS).values()) == 1


def test_each_burst_has_its_questions_in_both_namespaces_and_one_poison() -> None:
    random = Random(1)
    for number in range(20):
        records = list(burst(number, random))
        assert len(records) == BURST_QUESTIONS + 1
        questions = [value for _, value in records if value is not None and is_question(value)]
        assert len(questions) == BURST_QUESTIONS
        assert {json.loads(value)["namespace"] for value in questions} == set(NAMESPACES)


def test_a_report_counts_by_kind_and_by_broken_promise() -> None:
    plan = draw_schedule(1, 4, KINDS)[0]
    first, second, *_ = plan.blows
    result = RoundOutcome(plan, [Outcome(first, 2.0), Outcome(second, 4.0, "1 promise broken")])
    result.violations = [
        Violation(Promise.NOTHING_LOST, "record 0/1", "lost"),
        Violation(Promise.CENTROIDS, "shop/c1", "off"),
    ]
    told = summary(1, [result])
    assert (told["faults"], told["survived"]) == (len(first) + len(second), len(first))
    assert (told["lost"], told["duplicated"], told["other promises broken"]) == (1, 0, 1)
    assert told["kinds"][first[0].kind]["worst seconds"] == 2.0
    assert [trouble["trouble"] for trouble in told["troubles"]] == ["1 promise broken"]


def is_question(value: bytes) -> bool:
    try:
        return bool(json.loads(value)["id"] != "p")
    except ValueError:
        return False
