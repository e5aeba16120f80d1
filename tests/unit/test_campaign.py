"""What a campaign draws, asks and reports, before any server is started."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from tests.kit.campaign.campaign import MOST_WORKERS, Outcome, RoundOutcome
from tests.kit.campaign.faults import KINDS, Fault
from tests.kit.campaign.operator import asked_afterwards
from tests.kit.campaign.report import added_up, summary
from tests.kit.campaign.runs import Run, all_runs, record_of
from tests.kit.campaign.schedule import ROUND_FAULTS, Round, draw_schedule
from tests.kit.campaign.traffic import BURST_QUESTIONS, NAMESPACES, burst
from tests.kit.checker import Promise, Violation


def test_a_seed_draws_the_same_schedule_again_and_a_longer_one_begins_with_it() -> None:
    assert draw_schedule(7, 60, KINDS) == draw_schedule(7, 60, KINDS)
    assert draw_schedule(7, 60, KINDS)[:3] == draw_schedule(7, 300, KINDS)[:3]
    assert draw_schedule(7, 60, KINDS) != draw_schedule(8, 60, KINDS)


def test_the_client_of_a_round_is_drawn_and_changes_nothing_else() -> None:
    both = draw_schedule(7, 200, KINDS, ["kafka-python", "confluent"])
    assert {one.options["kafka.client"] for one in both} == {"kafka-python", "confluent"}
    assert [one.blows for one in both] == [one.blows for one in draw_schedule(7, 200, KINDS)]


def test_some_rounds_have_two_workers_around_a_model_and_say_so() -> None:
    rounds = draw_schedule(7, 400, KINDS)
    owned = [one for one in rounds if one.owner]
    assert 0 < len(owned) < len(rounds)
    assert all(("one of them two around a model" in str(one)) == one.owner for one in rounds)


@pytest.mark.parametrize("faults", [1, ROUND_FAULTS - 1, ROUND_FAULTS + 3, 400])
def test_a_schedule_has_as_many_faults_as_were_asked_for(faults: int) -> None:
    rounds = draw_schedule(3, faults, KINDS)
    assert sum(len(blow) for one in rounds for blow in one.blows) == faults


def test_every_kind_is_drawn_and_only_where_it_can_happen() -> None:
    drawn = [(one, fault) for one in draw_schedule(1, 600, KINDS) for blow in one.blows for fault in blow]
    assert {type(fault) for _, fault in drawn} == set(KINDS)
    assert all(one.store in fault.needs for one, fault in drawn)
    assert all(getattr(fault, "worker", 0) < one.workers <= MOST_WORKERS for one, fault in drawn)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.kind)
def test_a_schedule_is_drawn_of_one_kind_alone(kind: type[Fault]) -> None:
    drawn = [(one, fault) for one in draw_schedule(1, 60, [kind]) for blow in one.blows for fault in blow]
    assert {type(fault) for _, fault in drawn} == {kind}
    assert {one.store for one, _ in drawn} == kind.needs


def test_two_faults_at_once_strike_different_things() -> None:
    pairs = [blow for one in draw_schedule(5, 600, KINDS) for blow in one.blows if len(blow) == 2]
    assert pairs
    assert all(first.struck != second.struck for first, second in pairs)
    assert not any(fault.alone for pair in pairs for fault in pair)


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
    told = summary(1, [record_of(result)])
    assert (told["faults"], told["survived"]) == (len(first) + len(second), len(first))
    assert (told["lost"], told["duplicated"], told["other promises broken"]) == (1, 0, 1)
    assert told["kinds"][first[0].kind]["worst seconds"] == 2.0
    assert [trouble["trouble"] for trouble in told["troubles"]] == ["1 promise broken"]


def test_a_seed_goes_on_with_the_rounds_that_are_missing(tmp_path: Path) -> None:
    shorter, longer = draw_schedule(1, 25, KINDS), draw_schedule(1, 40, KINDS)
    run = Run(tmp_path, 1, "abc", KINDS)
    run.add(survived(shorter[0]))
    run.add(survived(shorter[2]))
    assert Run(tmp_path, 1, "abc", KINDS).missing(shorter) == [shorter[1]]
    # The third round had five of its faults only.
    assert Run(tmp_path, 1, "abc", KINDS).missing(longer) == longer[1:]
    assert Run(tmp_path, 1, "other commit", KINDS).missing(shorter) == shorter
    assert Run(tmp_path, 1, "abc", KINDS[1:]).missing(shorter) == shorter
    assert Run(tmp_path, 2, "abc", KINDS).missing(shorter) == shorter


def test_a_round_that_broke_a_promise_stays_in_the_sum(tmp_path: Path) -> None:
    plan = draw_schedule(1, ROUND_FAULTS, KINDS)[0]
    broken = survived(plan)
    broken.outcomes[0].trouble = "1 promises broken"
    broken.violations = [Violation(Promise.NO_TWINS, "shop/c1", "a twin")]
    run = Run(tmp_path, 1, "abc", KINDS)
    run.add(broken)
    assert run.missing([plan]) == []
    told = summary(1, Run(tmp_path, 1, "abc", KINDS).records)
    assert (told["survived"], told["other promises broken"]) == (ROUND_FAULTS - len(plan.blows[0]), 1)


def test_a_run_that_was_killed_while_it_wrote_repeats_that_round(tmp_path: Path) -> None:
    schedule = draw_schedule(1, 2 * ROUND_FAULTS, KINDS)
    run = Run(tmp_path, 1, "abc", KINDS)
    for plan in schedule:
        run.add(survived(plan))
    (file,) = tmp_path.iterdir()
    file.write_text(file.read_text()[:-10])
    again = Run(tmp_path, 1, "abc", KINDS)
    assert again.missing(schedule) == schedule[1:]
    again.add(survived(schedule[1]))
    assert Run(tmp_path, 1, "abc", KINDS).missing(schedule) == []


def test_code_that_no_commit_has_is_not_resumed(tmp_path: Path) -> None:
    plan = draw_schedule(1, ROUND_FAULTS, KINDS)[0]
    Run(tmp_path, 1, "abc+", KINDS).add(survived(plan))
    assert Run(tmp_path, 1, "abc+", KINDS).missing([plan]) == [plan]


def test_runs_add_up_by_commit(tmp_path: Path) -> None:
    for seed, commit in ((2, "abc"), (1, "abc"), (1, "def")):
        run = Run(tmp_path, seed, commit, KINDS)
        for plan in draw_schedule(seed, 2 * ROUND_FAULTS, KINDS):
            run.add(survived(plan))
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in added_up(all_runs(tmp_path))[2:]]
    assert [[row[0], row[2]] for row in rows] == [["abc", "1, 2"], ["def", "1"], ["2 commits", "2 seeds, 3 runs"]]
    assert [row[3:5] for row in rows] == [["40", "40"], ["20", "20"], ["60", "60"]]


def survived(plan: Round) -> RoundOutcome:
    return RoundOutcome(plan, [Outcome(blow, 1.0) for blow in plan.blows])


def is_question(value: bytes) -> bool:
    try:
        return bool(json.loads(value)["id"] != "p")
    except ValueError:
        return False


def test_questions_of_a_topic_made_anew_come_after_what_was_decided_in_its_life_before() -> None:
    in_the_first = asked_afterwards({0: 7}, 0, 1, [0, 1])
    # The first life is called 1000 and 1001; a partition that was added has no question from before.
    assert in_the_first == {1000: 7, 1001: 0, 0: 0, 1: 0}
    in_the_second = asked_afterwards({0: 7, 1: 3}, 1, 1, [0, 1])
    assert (in_the_second[0], in_the_second[1]) == (7, 3)
    assert in_the_second[1000] == in_the_second[1001] > 10**9
