from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from questream.bench.quality.measure import measure_quality
from questream.clustering.rules import Rules
from questream.errors import QuestreamError
from questream.evaluation.agreement import agreement
from questream.evaluation.online import cluster_online
from questream.evaluation.stream import Stream, orders_of, read_gold
from tests.unit.test_assignment import stream


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


def test_what_merges_later_is_one_cluster_after_the_stream_but_not_as_published() -> None:
    a, b = np.eye(2, 4, dtype=np.float32)
    between = (a + b) / np.linalg.norm(a + b)
    vectors = np.stack([a, b, *[between] * 8])
    clustering = cluster_online(vectors, Rules(0.6, 0.6, "cosine"))
    assert clustering.published is not None
    assert len(set(clustering.published.tolist())) == 2
    assert len(set(clustering.after.tolist())) == 1


def test_small_groups_are_drawn_whole_and_large_ones_are_not(tmp_path: Path) -> None:
    pairs, topics = tmp_path / "pairs.jsonl", tmp_path / "topics.jsonl"
    pairs.write_text("".join(f'{{"text": "q{i}", "gold": "g{i // 2}"}}\n' for i in range(400)))
    topics.write_text("".join(f'{{"text": "q{i}", "gold": "g{i % 2}"}}\n' for i in range(400)))
    _, gold = read_gold(pairs, 100, seed=0)
    assert set(np.unique(gold, return_counts=True)[1].tolist()) == {2}
    assert 90 <= len(gold) <= 100
    texts, gold = read_gold(topics, 100, seed=0)
    assert len(texts) == 100
    assert texts == sorted(texts, key=lambda text: int(text[1:]))  # the order of the file


def test_a_file_without_gold_groups_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "questions.txt"
    path.write_text("Where is my card?\nWhere is it?\n")
    with pytest.raises(QuestreamError, match="gold"):
        read_gold(path, 100, seed=0)


def test_a_method_is_measured_in_its_own_process_and_an_absent_one_is_named() -> None:
    questions = topics_stream()
    streams = [questions.in_order(order) for order in orders_of(len(questions), 1, seed=0)]
    ours, drain = measure_quality(streams, "intent", ["questream", "Drain3 (on text)"], 60.0, lambda _: None)
    assert ours.orders == 2
    assert ours.after is not None
    assert ours.peak_mib is None or ours.peak_mib >= 0
    assert (drain.after is None) == (find_spec("drain3") is None)
    assert drain.remark == ("absent: drain3" if find_spec("drain3") is None else None)
