"""What the demo counts, from decisions and cluster states as they stand in the topics."""

from __future__ import annotations

from typing import Any

import pytest

from questream.lab.demo.snapshot import ClusterView
from questream.lab.demo.tally import Tally


def decision(offset: int, cluster_id: str, outcome: str = "joined", timestamp: int = 0) -> dict[str, Any]:
    return {
        "cluster_id": cluster_id,
        "outcome": outcome,
        "source": {"topic": "questions", "partition": 0, "offset": offset, "timestamp": timestamp},
    }


def state(size: int, representative: str | None = "why", merged_into: str | None = None) -> dict[str, Any]:
    return {"size": size, "representative": representative, "merged_into": merged_into}


def test_a_decision_read_twice_counts_once() -> None:
    tally = Tally()
    assert tally.add_decision(decision(0, "c1", "created"), 1.0, 1.0)
    assert not tally.add_decision(decision(0, "c1", "created"), 2.0, 2.0)
    assert (tally.processed, tally.figures(2.0, 5).created) == (1, 1)


def test_outcomes_and_dead_letters_add_up_to_what_was_processed() -> None:
    tally = Tally()
    tally.add_decision(decision(0, "c1", "created"), 1.0, 1.0)
    tally.add_decision(decision(1, "c1"), 1.0, 1.0)
    assert tally.add_dead_letter((0, 2), 1.0)
    assert not tally.add_dead_letter((0, 2), 1.0)
    figures = tally.figures(1.0, 5)
    assert (figures.decided, figures.joined, figures.created, figures.dead_lettered) == (2, 1, 1, 1)
    assert tally.processed == 3


def test_latency_is_from_the_records_timestamp_to_its_reading() -> None:
    tally = Tally()
    for offset in range(100):
        tally.add_decision(decision(offset, "c1", timestamp=10_000), 10.0 + (offset + 1) / 1000, 1.0)
    figures = tally.figures(1.0, 5)
    assert figures.p50_ms == pytest.approx(50.5)
    assert figures.p99_ms == pytest.approx(99.01)


def test_rate_is_that_of_the_last_two_seconds_and_of_the_whole_stream_at_the_end() -> None:
    tally = Tally()
    for second in range(10):
        for question in range(5):
            tally.add_decision(decision(10 * second + question, "c1"), 0.0, 100.0 + second)
    assert tally.figures(109.0, 5).questions_per_second == pytest.approx(15 / 2)
    assert tally.figures(120.0, 5).questions_per_second == 0
    assert tally.final_figures(99.0, 5).questions_per_second == pytest.approx(5.0)


def test_nothing_read_yet_has_no_latency_and_no_rate() -> None:
    figures = Tally().figures(5.0, 5)
    assert (figures.p50_ms, figures.p99_ms, figures.questions_per_second, figures.biggest) == (None, None, 0.0, ())


def test_biggest_clusters_are_the_living_ones_by_size() -> None:
    tally = Tally()
    tally.add_cluster_state("c1", state(3, "one"))
    tally.add_cluster_state("c2", state(9, "two", merged_into="c1"))
    tally.add_cluster_state("c3", state(5, "three"))
    tally.add_cluster_state("c4", state(1, None))
    tally.add_cluster_state("c5", state(7))
    tally.add_cluster_state("c5", None)
    tally.add_cluster_state("c1", state(12, "one"))
    figures = tally.figures(1.0, 2)
    assert figures.biggest == (ClusterView("c1", 12, "one"), ClusterView("c3", 5, "three"))
    assert (figures.clusters, figures.merged) == (3, 1)


def test_agreement_follows_merges_to_the_surviving_cluster() -> None:
    tally = Tally()
    for offset, cluster_id in enumerate(["c1", "c2", "c3", "c4"]):
        tally.add_decision(decision(offset, cluster_id), 1.0, 1.0)
    tally.add_cluster_state("c3", state(1, merged_into="c2"))
    tally.add_cluster_state("c2", state(2, merged_into="c1"))
    tally.add_cluster_state("c1", state(3))
    gold = {(0, 0): "a", (0, 1): "a", (0, 2): "a", (0, 9): "never decided"}
    found = tally.agreement(gold)
    assert found is not None
    assert (found.questions, found.clusters, found.bcubed_f1) == (3, 1, 1.0)
    assert tally.representative("c3") == "why"


def test_questions_without_gold_have_no_agreement() -> None:
    tally = Tally()
    tally.add_decision(decision(0, "c1"), 1.0, 1.0)
    assert tally.agreement({}) is None


def test_only_the_last_thousand_decisions_are_kept_for_the_prompt() -> None:
    tally = Tally()
    for offset in range(1500):
        tally.add_decision(decision(offset, "c1"), 1.0, 1.0)
    assert tally.decision_at((0, 499)) is None
    assert tally.decision_at((0, 500)) is not None
    assert tally.processed == 1500
