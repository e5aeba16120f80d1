from __future__ import annotations

import os
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from questream.clustering.levels import LevelRules
from questream.clustering.rules import Rules
from questream.errors import QuestreamError
from questream.lab.bench.quality.anew import anew_methods, published_anew
from questream.lab.bench.quality.goals import goals_of, reference_f1
from questream.lab.bench.quality.measure import Figures, comparable, measure_quality
from questream.lab.bench.quality.method import Method
from questream.lab.bench.quality.offline import offline_methods
from questream.lab.bench.quality.ours import answered_method, level_method, our_methods
from questream.lab.bench.quality.report import print_quality
from questream.lab.bench.quality.runs import Run, runs_of
from questream.lab.evaluation.agreement import Agreement, agreement
from questream.lab.evaluation.levels import cluster_in_levels
from questream.lab.evaluation.online import cluster_online
from questream.lab.evaluation.stream import Clustering, Stream, orders_of, read_gold
from questream.library import QuestionClusterer
from questream.records.files import AS_THEY_STAND
from tests.kit.stepping import unit_rows
from tests.unit.test_assignment import stream
from tests.unit.test_library import subjects


def topics_stream() -> Stream:
    vectors = stream(3, 400, 12, 32, 0.5, 0.5)
    return Stream([f"question {number}" for number in range(400)], vectors, np.arange(400) % 12)


def test_joining_a_cluster_without_ones_own_group_is_a_false_join() -> None:
    assert agreement([1, 1, 1, 2, 2], [7, 8, 7, 9, 9]).falsely_joined == pytest.approx(1 / 5)


def test_late_workers_publish_every_question_and_agree_with_one() -> None:
    questions = topics_stream()
    rules = Rules(0.6, 0.6)
    alone, together = cluster_online(questions.vectors, rules), cluster_online(questions.vectors, rules, workers=8)
    assert together.published is not None
    assert len(together.published) == len(questions)
    assert agreement(together.after.tolist(), alone.after.tolist()).bcubed_f1 > 0.95


def test_levels_are_found_above_the_clusters_and_a_change_is_told() -> None:
    vectors = subjects(3, 60)
    questions = Stream([""] * len(vectors), vectors, np.arange(len(vectors)) % 6)
    rules = Rules(0.9, 0.9, similarity="cosine")
    clusters = cluster_online(questions.vectors, rules)
    found = cluster_in_levels(questions.vectors, rules, LevelRules(resolutions=(1.0, 0.2)))
    assert list(found) == ["intent", "topic"]
    gold = questions.gold.tolist()
    assert agreement(clusters.after.tolist(), gold).clusters == len(vectors)
    assert agreement(found["intent"].after.tolist(), gold).bcubed_f1 == 1.0
    # What was one cluster is one intent, and what was one intent is one topic.
    assert agreement(found["intent"].after.tolist(), clusters.after.tolist()).bcubed_recall == 1.0
    assert agreement(found["topic"].after.tolist(), found["intent"].after.tolist()).bcubed_recall == 1.0
    published = found["intent"].published
    assert published is not None
    # Until the levels were first found each cluster was its own intent.
    assert found["intent"].changed.tolist() == (published != found["intent"].after).tolist()
    assert found["intent"].changed[:64].all()
    assert not found["intent"].changed[128:].any()
    assert not Clustering(None, clusters.after).changed.any()


def test_answers_of_who_knows_the_groups_find_how_fine_intents_are() -> None:
    kinds = np.arange(720) % 48
    own = np.random.default_rng(5).normal(size=(720, 64)) / 8
    vectors = unit_rows(
        np.hstack([0.71 * np.eye(4)[kinds // 12], 0.45 * np.eye(48)[kinds], 0.55 * own]).astype(np.float32)
    )
    methods = {one.name: one for one in our_methods("question")}
    by_answers = methods[answered_method("intent")]
    found = {
        gold: by_answers.run(Stream([""] * 720, vectors, kinds // gold), "its own").after.tolist() for gold in (1, 12)
    }
    for asked_for, other in ((1, 12), (12, 1)):
        gold = (kinds // asked_for).tolist()
        assert agreement(found[asked_for], gold).bcubed_f1 > agreement(found[other], gold).bcubed_f1 + 0.1


def test_what_merges_later_is_one_cluster_after_the_stream_but_not_as_published() -> None:
    a, b = np.eye(2, 4, dtype=np.float32)
    between = (a + b) / np.linalg.norm(a + b)
    vectors = np.stack([a, b, *[between] * 8])
    clustering = cluster_online(vectors, Rules(0.6, 0.6, "cosine", mean_questions=1))
    assert clustering.published is not None
    assert len(set(clustering.published.tolist())) == 2
    assert len(set(clustering.after.tolist())) == 1


def test_small_groups_are_drawn_whole_and_large_ones_are_not(tmp_path: Path) -> None:
    pairs, topics = tmp_path / "pairs.jsonl", tmp_path / "topics.jsonl"
    pairs.write_text("".join(f'{{"text": "q{i}", "gold": "g{i // 2}"}}\n' for i in range(400)))
    topics.write_text("".join(f'{{"text": "q{i}", "gold": "g{i % 2}"}}\n' for i in range(400)))
    _, gold = read_gold(pairs, 100, 0, AS_THEY_STAND)
    assert set(np.unique(gold, return_counts=True)[1].tolist()) == {2}
    assert 90 <= len(gold) <= 100
    texts, gold = read_gold(topics, 100, 0, AS_THEY_STAND)
    assert len(texts) == 100
    assert texts == sorted(texts, key=lambda text: int(text[1:]))  # the order of the file


def test_a_file_without_gold_groups_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("Where is my card?\nWhere is it?\n")
    with pytest.raises(QuestreamError, match="gold"):
        read_gold(path, 100, 0, AS_THEY_STAND)


def test_a_method_is_measured_in_its_own_process_and_an_absent_one_is_named() -> None:
    questions = topics_stream()
    streams = [questions.in_order(order) for order in orders_of(len(questions), 1, seed=0)]
    ours, drain = measure_quality(streams, "question", ["questream", "Drain3 (on text)"], 60.0, lambda _: None)
    assert ours.orders == 2
    assert ours.after is not None
    assert ours.peak_mib is None or ours.peak_mib >= 0
    assert (drain.after is None) == (find_spec("drain3") is None)
    assert drain.remark == ("absent: drain3" if find_spec("drain3") is None else None)


def in_one_cluster(stream: Stream, seconds: float) -> Clustering:
    time.sleep(seconds)
    return Clustering(None, np.zeros(len(stream), np.int64))


def endless() -> Method:
    return Method("endless", [600.0], in_one_cluster)


def deadly() -> Method:
    return Method("deadly", [1], lambda *_: os._exit(1))


def test_a_method_that_takes_too_long_is_stopped() -> None:
    started = time.monotonic()
    runs, reason = runs_of(endless, [topics_stream()], limit_seconds=2.0)
    assert (runs, reason) == ([], "stopped after 2 s")
    assert time.monotonic() - started < 60  # rather than ten minutes


def test_a_method_whose_process_dies_is_said() -> None:
    assert runs_of(deadly, [topics_stream()], limit_seconds=120.0) == ([], "its process died")


def test_settings_are_compared_on_the_same_orders_also_where_a_method_was_stopped() -> None:
    scores = agreement([0, 0], [0, 1])
    runs = [Run(setting, order, None, scores, 1.0, None) for order in (0, 1) for setting in ("low", "high")]
    assert {setting: len(of) for setting, of in comparable(runs, 2).items()} == {"low": 2, "high": 2}
    assert {setting: len(of) for setting, of in comparable(runs[:3], 2).items()} == {"low": 1, "high": 1}
    assert {setting: len(of) for setting, of in comparable(runs[:1], 2).items()} == {"low": 1}
    assert comparable([], 2) == {}


def figures_of(method: str, published: float | None, after: float, falsely_joined: float = 0.02) -> Figures:
    def scored(f1: float) -> Agreement:
        return replace(agreement([0, 0], [0, 1]), bcubed_f1=f1, falsely_joined=falsely_joined)

    return Figures(method, "0.5", 1, 1, None if published is None else scored(published), scored(after), 0.0, 1.0, None)


def test_goals_are_held_against_the_better_offline_reference() -> None:
    figures = [
        figures_of("questream", 0.55, 0.601),
        figures_of("questream, 8 workers", 0.55, 0.594),
        figures_of("average linkage, offline", None, 0.56),
        figures_of("average linkage, offline, centred", None, 0.60),
        figures_of("HDBSCAN, offline", None, 0.9),
    ]
    assert reference_f1(figures) == 0.60
    after, published, workers = goals_of(figures, "question")
    assert (round(after.value, 1), after.holds) == (0.1, True)
    assert (round(published.value, 1), published.holds) == (-5.0, False)
    assert (round(workers.value, 1), workers.holds) == (0.7, False)
    assert [goal.holds for goal in goals_of(figures, "duplicate")] == [True, False, False, True]
    assert not goals_of([figures_of("questream", 0.5, 0.5, falsely_joined=0.03)], "duplicate")[0].holds
    assert goals_of(figures[2:], "duplicate") == []


@pytest.mark.parametrize("intents", [level_method("intent"), answered_method("intent")])
def test_goals_of_intents_are_held_against_the_reference_and_against_themselves(intents: str) -> None:
    reference = figures_of("average linkage, offline", None, 0.60)
    figures = [figures_of(intents, 0.55, 0.59), reference]
    assert [(round(goal.value, 1), goal.holds) for goal in goals_of(figures, "question")] == [
        (-1.0, False),
        (4.0, True),
    ]
    figures = [figures_of(intents, 0.55, 0.61), reference]
    assert [(round(goal.value, 1), goal.holds) for goal in goals_of(figures, "question")] == [(1.0, True), (6.0, False)]


def test_the_table_says_how_far_each_stands_from_the_reference_and_which_goals_hold() -> None:
    absent = Figures("river DBSTREAM", "", 0, 0, None, None, 0.0, 0.0, None, "absent: river")
    figures = [figures_of("questream", 0.55, 0.58), figures_of("average linkage, offline", None, 0.6), absent]
    lines: list[str] = []
    print_quality("file", figures, "question", lines.append, lambda _, rows: lines.extend(map(str, rows)))
    assert "'-2.0'" in lines[1]
    assert lines[4:] == [
        "river DBSTREAM: absent: river",
        "falls short: questream: after the stream, 0 points or more above offline: -2.0",
        "falls short: questream: as published, at most 3 points below offline: -5.0",
    ]


def test_offline_references_find_topics_that_are_far_apart() -> None:
    vectors = np.repeat(np.eye(5, 8, dtype=np.float32), 4, axis=0)
    vectors += np.random.default_rng(0).normal(scale=0.05, size=vectors.shape).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    questions = Stream(["question"] * 20, vectors, np.repeat(np.arange(5), 4))
    for method in offline_methods()[:5]:
        prepared = method.prepare(questions)
        found = [method.run(prepared, setting).after.tolist() for setting in method.settings]
        assert max(agreement(labels, questions.gold.tolist()).bcubed_f1 for labels in found) == 1.0, method.name


needs_river = pytest.mark.skipif(find_spec("river") is None, reason="river is not installed: group quality")


def test_clustered_anew_a_cluster_keeps_the_id_of_most_of_its_questions() -> None:
    # One parts, and later two meet: the larger has the id, also for what comes to it.
    found = published_anew([np.array([5, 5, 5, 8]), np.array([3, 3, 4, 4, 4, 3]), np.array([1, 1, 1, 1, 1, 1, 1])])
    assert found.published is not None
    assert found.published.tolist() == [0, 0, 0, 1, 1, 0, 0]
    assert found.after.tolist() == [0] * 7


def test_clustered_anew_an_id_that_ended_does_not_come_back() -> None:
    found = published_anew([np.array([1, 2]), np.array([1, 1, 2])])
    assert found.published is not None
    assert found.published.tolist() == [0, 1, 2]


def test_clustered_anew_the_last_clusters_are_those_of_offline_linkage() -> None:
    questions = topics_stream()
    offline, anew = offline_methods()[0], anew_methods()[0]
    for cosine in (0.3, 0.5, 0.7):
        after = anew.run(anew.prepare(questions), cosine).after.tolist()
        reference = offline.run(offline.prepare(questions), cosine).after.tolist()
        assert agreement(after, reference).bcubed_f1 == 1.0


@needs_river
def test_in_rivers_protocol_questions_are_clustered_as_one_by_one_and_rivers_measure_agrees() -> None:
    from river.metrics import AdjustedRand

    from questream.lab.bench.quality.in_river import RiverQuestionClusterer, learn_and_predict, mappings

    questions = topics_stream()
    one_by_one = QuestionClusterer(dimension=32, threshold=0.6)
    for vector in questions.vectors:
        one_by_one.assign(vector[None])
    model, metric = RiverQuestionClusterer(threshold=0.6), AdjustedRand()
    assert model.predict_one({0: 1.0}) == 0
    clustering = learn_and_predict(mappings(questions.vectors), model)
    assert clustering.published is not None
    nearest = [one_by_one.nearest(vector, limit=1)[0].cluster_id for vector in questions.vectors]
    assert agreement(clustering.after.tolist(), nearest).bcubed_f1 == 1.0
    for label, group in zip(clustering.after.tolist(), questions.gold.tolist(), strict=True):
        metric.update(group, label)
    scored = agreement(clustering.after.tolist(), questions.gold.tolist())
    assert metric.get() == pytest.approx(scored.adjusted_rand_index)
    assert model.clone().predict_one({0: 1.0}) == 0


@needs_river
def test_rivers_own_clusterers_run_in_the_same_loop() -> None:
    from questream.lab.bench.quality.in_river import (
        dbstream,
        learn_and_predict,
        learn_then_predict,
        mappings,
        text_clust,
        words_of,
    )

    vectors = np.eye(2, 4, dtype=np.float32)[[0, 1, 0, 1]]
    assert learn_then_predict(mappings(vectors), dbstream(0.5, 4)).after.tolist() == [0, 1, 0, 1]
    texts = ["where is my card", "how do loans work", "where is my card", "how do loans work"]
    clustering = learn_and_predict(words_of(texts, 2), text_clust(0.5, 4))
    assert clustering.published is not None
    assert clustering.published.tolist() == clustering.after.tolist() == [0, 1, 0, 1]
