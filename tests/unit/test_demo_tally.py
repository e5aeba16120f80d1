"""What the demo counts, from decisions and cluster states as they stand in the topics."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from questream.lab.demo.snapshot import ClusterView, IntentView
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
    # Each stands alone until intents were found.
    assert figures.biggest == (
        IntentView("c1", 12, (ClusterView("c1", 12, "one"),)),
        IntentView("c3", 5, (ClusterView("c3", 5, "three"),)),
    )
    assert (figures.clusters, figures.intents, figures.topics, figures.merged) == (3, 3, 3, 1)


def test_agreement_follows_merges_to_the_surviving_cluster() -> None:
    tally = Tally()
    for offset, cluster_id in enumerate(["c1", "c2", "c3", "c4"]):
        tally.add_decision(decision(offset, cluster_id), 1.0, 1.0)
    tally.add_cluster_state("c3", state(1, merged_into="c2"))
    tally.add_cluster_state("c2", state(2, merged_into="c1"))
    tally.add_cluster_state("c1", state(3))
    gold = {(0, 0): "a", (0, 1): "a", (0, 2): "a", (0, 9): "never decided"}
    found = tally.agreement(gold)["clusters"]
    assert (found.questions, found.clusters, found.bcubed_f1) == (3, 1, 1.0)
    assert tally.typical("c3") == "why"


def test_a_cluster_is_shown_by_the_question_that_was_most_alike_to_it() -> None:
    tally = Tally()
    for name in ("c1", "c2"):
        tally.add_cluster_state(name, state(5, f"opened {name}"))
    told: list[tuple[str, str, float, str | None]] = [
        ("c1", "joined", 0.8, "near"),
        ("c1", "joined", 0.95, "nearest"),
        ("c1", "joined", 0.9, "late"),
    ]
    told += [("c1", "joined", 0.99, None), ("c2", "created", 1.0, "itself")]
    for offset, (name, outcome, similarity, text) in enumerate(told):
        tally.add_decision(decision(offset, name, outcome) | {"similarity": similarity}, 1.0, 1.0, text)
    assert (tally.typical("c1"), tally.typical("c2")) == ("nearest", "opened c2")
    tally.add_cluster_state("c2", state(5, "opened c2", merged_into="c1"))
    assert tally.typical("c2") == "nearest"
    assert tally.nearest_in_words("c2", "Is it late?") == "late"
    assert tally.nearest_in_words("c1", "or near, or not") == "near"
    assert tally.nearest_in_words("c1", "else") == "nearest"
    # Of a cluster whose state was not read nothing is shown.
    tally.add_decision(decision(9, "c9") | {"similarity": 0.9}, 1.0, 1.0, "early")
    assert (tally.typical("c9"), tally.nearest_in_words("c9", "early")) == ("", "")
    tally.add_cluster_state("c1", None)
    assert tally.typical("c1") == ""


def test_questions_without_gold_have_no_agreement() -> None:
    tally = Tally()
    tally.add_decision(decision(0, "c1"), 1.0, 1.0)
    assert tally.agreement({}) == {}


def test_only_the_last_thousand_decisions_are_kept_for_the_prompt() -> None:
    tally = Tally()
    for offset in range(1500):
        tally.add_decision(decision(offset, "c1"), 1.0, 1.0)
    assert tally.decision_at((0, 499)) is None
    assert tally.decision_at((0, 500)) is not None
    assert tally.processed == 1500


def encoded(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def test_clusters_are_shown_by_the_intents_that_their_states_form() -> None:
    tally = Tally()
    # 40 subjects with four clusters each, of which each has a part that is its own.
    for number in range(1, 161):
        vector = np.zeros(201, np.float32)
        vector[[number % 40, number + 40]] = np.sqrt([0.8, 0.2])
        centroid = {"dimension": 201, "members": 1, "sum": encoded(vector)}
        told = state(5 + (number == 80) + (number == 120), f"question {number}")
        tally.add_cluster_state(f"c{number}", told | {"vector": centroid})
        tally.add_decision(decision(number, f"c{number}"), 1.0, 1.0)
    tally.find_intents()
    assert tally.figures(1.0, 5).intents == 160, "the stream's mean is not known yet"
    tally.add_namespace_state({"mean": {"questions": 0, "sum": encoded(np.zeros(201, np.float32))}})
    tally.find_intents()
    figures = tally.figures(1.0, 5)
    assert (figures.clusters, figures.intents) == (160, 40)
    largest = figures.biggest[0]
    assert largest.size == 22
    assert [view.id for view in largest.clusters] == ["c80", "c120", "c40"]
    assert largest.more == 1
    assert tally.intent("c40") == largest
    found = tally.agreement({(0, number): str(number % 40) for number in range(1, 161)})
    assert found["intents"].bcubed_f1 == 1.0 > found["clusters"].bcubed_f1
