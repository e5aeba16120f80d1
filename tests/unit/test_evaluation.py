"""Evaluation of pairs and of streams with gold groups, on vectors whose groups are known."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.errors import QuestreamError
from questream.lab.calibration.sweep import grid_of
from questream.lab.evaluation import mixing
from questream.lab.evaluation.agreement import agreement, agreement_by_size, spread_agreement
from questream.lab.evaluation.decisions import best_decisions, centred, decision_curve, decisions_at
from questream.lab.evaluation.evaluate import evaluate_groups, evaluate_pairs
from questream.lab.evaluation.files import GoldFile, PairFile, read_gold_file, read_pair_file
from questream.lab.evaluation.groups import CurvePoint, LevelFigures, group_figures, reliability_of_joins, time_order
from questream.lab.evaluation.mixing import broken_down, largest, mixed_clusters, most_broken, worst_false_joins
from questream.lab.evaluation.online import cluster_online
from questream.lab.evaluation.pairs import OneSidedPairs
from questream.lab.evaluation.report.words import group_verdict
from questream.lab.evaluation.run import read_file
from questream.lab.evaluation.sampling import sampled_similarities
from questream.lab.evaluation.stream import Clustering, Stream, orders_of
from questream.records.files import FileTexts
from questream.settings import InputSettings
from tests.kit.stepping import unit_rows
from tests.kit.vectors import hash_encoder, hash_vector

RULES = Rules(0.6, 0.6)


def topics_stream(questions: int = 300) -> Stream:
    random = np.random.default_rng(3)
    gold = random.integers(12, size=questions)
    vectors = random.normal(size=(12, 32))[gold] + 0.7 * random.normal(size=(questions, 32))
    return Stream([f"question {i}" for i in range(questions)], unit_rows(vectors.astype(np.float32)), gold)


def test_sizes_tell_apart_what_the_whole_figure_mixes() -> None:
    gold = np.array([0, 1, 1, 2, 2, 2, *[3] * 30])
    clusters = np.array([9, 9, 8, 7, 7, 7, *[6] * 15, *[5] * 15])
    rows = {row.least: row for row in agreement_by_size(clusters, gold)}
    assert list(rows) == [1, 2, 3, 6, 21]
    assert (rows[3].bcubed_f1, rows[3].clusters_per_group) == (1.0, 1.0)
    assert (rows[1].bcubed_precision, rows[1].bcubed_recall) == (0.5, 1.0)
    assert (rows[2].bcubed_precision, rows[2].bcubed_recall) == (0.75, 0.5)
    assert (rows[21].groups, rows[21].clusters, rows[21].clusters_per_group) == (1, 0, 2.0)
    assert rows[21].bcubed_recall == 0.5
    assert (rows[6].groups, rows[6].clusters, rows[6].questions) == (0, 2, 0)


def test_all_sizes_together_are_the_whole() -> None:
    random = np.random.default_rng(1)
    gold, clusters = random.zipf(1.6, 500).clip(max=40), random.integers(30, size=500)
    whole = agreement(clusters.tolist(), gold.tolist())
    rows = [row for row in agreement_by_size(clusters, gold) if row.groups]
    assert sum(row.questions for row in rows) == 500
    assert sum(row.groups for row in rows) == whole.groups
    for figure in ("bcubed_precision", "bcubed_recall"):
        mean = sum(getattr(row, figure) * row.questions for row in rows) / 500
        assert mean == pytest.approx(getattr(whole, figure))


def test_the_spread_is_over_the_orders_and_none_of_one() -> None:
    figures = [agreement([0, 0, 1], [0, 0, 1]), agreement([0, 1, 2], [0, 0, 1])]
    assert spread_agreement(figures).clusters == pytest.approx(np.std([2, 3], ddof=1))
    assert spread_agreement(figures[:1]).clusters == 0.0


def test_the_curve_passes_through_the_setting_and_finds_a_better_one() -> None:
    questions = topics_stream()
    setting = replace(RULES, threshold=0.91, merge_threshold=0.91)
    figures, clustering = group_figures(questions, "file", setting, orders_of(len(questions), 2, seed=0)[1:])
    at = {point.threshold: point for point in figures.curve}
    assert at[0.91].bcubed_f1 == figures.first.after.bcubed_f1
    assert at[0.91].clusters == len(set(clustering.after.tolist()))
    assert figures.best.bcubed_f1 > figures.first.after.bcubed_f1 + 0.1
    assert len(figures.shuffled) == 2
    assert figures.shuffled_mean is not None
    assert figures.shuffled_mean.after.bcubed_f1 == pytest.approx(
        np.mean([one.after.bcubed_f1 for one in figures.shuffled])
    )


def test_the_best_of_the_curve_is_that_of_all_thresholds_that_calibration_tries() -> None:
    """Groups of questions that hardly share a word have their best threshold far below .4."""
    random = np.random.default_rng(4)
    gold = random.integers(3, size=200)
    vectors = unit_rows((random.normal(size=(3, 48))[gold] + 1.3 * random.normal(size=(200, 48))).astype(np.float32))
    wide = Stream([str(number) for number in range(200)], vectors, gold)
    rules = Rules(0.725, 0.725)
    figures, _ = group_figures(wide, "file", rules, [])
    grid = grid_of(rules)
    f1 = [
        agreement(
            cluster_online(vectors, replace(rules, threshold=t, merge_threshold=t), wide.texts).after.tolist(),
            gold.tolist(),
        ).bcubed_f1
        for t in grid
    ]
    assert max(f1) > max(one for one, t in zip(f1, grid, strict=True) if t >= 0.4) + 0.05
    assert figures.best.bcubed_f1 == max(f1)


def test_a_best_threshold_at_an_end_of_those_tried_is_said_to_be_one() -> None:
    figures, _ = group_figures(topics_stream(), "file", replace(RULES, threshold=0.91, merge_threshold=0.91), [])
    best = figures.best

    def told(curve: list[CurvePoint]) -> str:
        return " ".join(group_verdict(replace(figures, levels=[], curve=curve), 0.91))

    assert "tried" not in told(figures.curve)
    assert "(the lowest tried)" in told([point for point in figures.curve if point.threshold >= best.threshold])
    assert "(the highest tried)" in told([point for point in figures.curve if point.threshold <= best.threshold])


def test_a_threshold_that_makes_heaps_is_not_praised() -> None:
    questions = topics_stream()
    loose = Rules(-0.9, -0.9, "cosine", "average")
    figures, _ = group_figures(questions, "file", loose, [])
    assert figures.first.after.heap_share == 1.0
    told = " ".join(group_verdict(figures, loose.threshold))
    assert "100% of the questions are in heaps" in told
    alike = replace(figures, curve=[point for point in figures.curve if point.heap_share == 1.0])
    assert "it does not see the heaps" in " ".join(group_verdict(alike, loose.threshold))
    fine, _ = group_figures(questions, "file", RULES, [])
    assert fine.first.after.heap_share == 0.0
    assert "heaps" not in " ".join(group_verdict(fine, RULES.threshold))


def test_a_threshold_that_finds_few_of_the_pairs_is_not_praised_for_questions_that_are_alone() -> None:
    figures, _ = group_figures(topics_stream(), "file", RULES, [])
    best = max(figures.curve, key=lambda point: point.adjusted_rand_index)
    after = replace(figures.first.after, bcubed_f1=best.bcubed_f1, adjusted_rand_index=best.adjusted_rand_index)

    def told(rand_index: float) -> str:
        first = replace(figures.first, after=replace(after, adjusted_rand_index=rand_index))
        return " ".join(group_verdict(replace(figures, first=first, levels=[], curve=[best]), RULES.threshold))

    assert "suits these labels" in told(best.adjusted_rand_index)
    few = told(best.adjusted_rand_index - 0.3)
    assert "suits" not in few
    assert f"at {best.threshold:.3f} the adjusted Rand index would be {best.adjusted_rand_index:.3f}" in few


def test_labels_that_a_level_is_as_near_to_as_any_threshold_ask_for_no_other_threshold() -> None:
    strict = replace(RULES, threshold=0.91, merge_threshold=0.91)
    figures, _ = group_figures(topics_stream(), "file", strict, [])
    assert figures.best.threshold < strict.threshold

    def told(f1: float, heap_share: float, threshold: float) -> str:
        after = replace(figures.first.after, bcubed_f1=f1, heap_share=heap_share)
        levels = [LevelFigures("intent", after, after, 0.0)]
        return " ".join(group_verdict(replace(figures, levels=levels), threshold))

    best = figures.best.bcubed_f1
    assert "as wide as intents" in told(best, 0.0, strict.threshold)
    assert "too strict" not in told(best, 0.0, strict.threshold)
    for f1, heap_share, threshold in ((best - 0.05, 0.0, 0.91), (best, 0.2, 0.91), (best, 0.0, 0.1)):
        assert "are as wide as" not in told(f1, heap_share, threshold)


def test_a_level_that_comes_nearer_than_the_clusters_is_named_before_the_threshold_is_lowered() -> None:
    strict = replace(RULES, threshold=0.91, merge_threshold=0.91)
    figures, _ = group_figures(topics_stream(), "file", strict, [])
    f1 = figures.first.after.bcubed_f1
    assert figures.best.bcubed_f1 > f1 + 0.1

    def told(of_level: float, threshold: float) -> str:
        after = replace(figures.first.after, bcubed_f1=of_level)
        levels = [LevelFigures("intent", after, after, 0.0)]
        return " ".join(group_verdict(replace(figures, levels=levels), threshold))

    assert "intents above these clusters already have" in told(f1 + 0.05, 0.91)
    assert "--level intent" in told(f1 + 0.05, 0.91)
    assert "--level" not in told(f1 - 0.05, 0.91)
    assert "--level" not in told(f1 + 0.05, 0.1)


def test_a_low_threshold_has_a_curve_around_it() -> None:
    figures, _ = group_figures(topics_stream(60), "file", Rules(0.1, 0.1, "cosine", "average"), [])
    assert figures.curve[0].threshold < 0.1 < figures.curve[-1].threshold
    assert 0.1 in {point.threshold for point in figures.curve}
    assert (figures.shuffled, figures.shuffled_mean, figures.shuffled_spread) == ([], None, None)


def test_questions_that_say_when_go_by_time_and_others_as_the_file_has_them() -> None:
    assert time_order(None, 3)[0] == "file"
    order, rows = time_order(np.array([5.0, 1.0, 1.0]), 3)
    assert (order, rows.tolist()) == ("time", [1, 2, 0])


def test_groups_of_a_file_are_clustered_in_time_order() -> None:
    words = ["card lost", "close account", "card lost", "close account", "card lost now"]
    file = GoldFile(words, np.array([0, 1, 0, 1, 0]), ["card", "close"], np.array([5.0, 4, 3, 2, 1]), 0, 0, 0)
    found = evaluate_groups(file, hash_encoder(), Rules(0.6, 0.6, "cosine"), 1, 0, lambda _: None)
    assert found.figures.order == "time"
    assert found.stream.texts == words[::-1]
    assert found.figures.first.after.bcubed_f1 == 1.0
    assert found.clustering.after.tolist() == [1, 2, 1, 2, 1]


def test_pairs_fall_as_the_threshold_says() -> None:
    decided = decisions_at(0.5, [0.9, 0.5, 0.4, 0.6, 0.1], [True, True, True, False, False])
    assert (decided.joined, decided.missed, decided.falsely_joined, decided.apart) == (2, 1, 1, 1)
    assert (decided.precision, decided.recall, decided.accuracy) == (2 / 3, 2 / 3, 3 / 5)
    assert decided.f1 == pytest.approx(2 / 3)
    assert decisions_at(2.0, [0.9], [True]).precision == 1.0


def test_no_point_of_the_curve_beats_the_best_f1() -> None:
    random = np.random.default_rng(2)
    same = random.random(400) < 0.4
    scores = (random.normal(size=400) + same).astype(np.float32)
    best = best_decisions(scores, same.tolist())
    curve = decision_curve(scores, same.tolist())
    assert best.f1 >= max(point.f1 for point in curve) > best.f1 - 0.02
    assert curve[0].recall == 1.0


def test_pairs_are_compared_as_a_worker_compares_them() -> None:
    file = PairFile(["a card lost", "a card lost"], ["a card gone", "a loan please"], [True, False], 0, 0)
    plain = evaluate_pairs(file, hash_encoder(), Rules(0.5, 0.5, "cosine"), lambda _: None)
    vectors = [hash_vector(text) for text in (*file.first, *file.second)]
    assert plain.similarities == pytest.approx([vectors[0] @ vectors[2], vectors[1] @ vectors[3]], abs=1e-5)
    shifted = evaluate_pairs(file, hash_encoder(), Rules(0.5, 0.5), lambda _: None)
    # "a" is in every text: less the mean, it makes none alike.
    assert (shifted.similarities < plain.similarities).all()
    assert shifted.figures.metrics == plain.figures.metrics


def test_centred_rows_have_length_one_and_plain_ones_are_left() -> None:
    rows: Matrix = unit_rows(np.random.default_rng(0).normal(1.0, 1.0, (50, 8)).astype(np.float32))
    assert centred(rows, "cosine") is rows
    assert np.linalg.norm(centred(rows, "centred"), axis=1) == pytest.approx(1.0, abs=1e-5)
    assert abs(centred(rows, "centred") @ centred(rows, "centred").T).mean() < abs(rows @ rows.T).mean()
    alike = np.repeat(rows[:1], 4, axis=0)
    assert np.isfinite(centred(alike, "centred")).all()


def test_drawn_pairs_are_of_one_group_or_of_two() -> None:
    gold = np.array([0, 1, 1, 2, 2, 2, 2] * 5 + [9])
    same, different = sampled_similarities(np.eye(10, dtype=np.float32)[gold], gold)
    assert len(same) == 20_000
    assert set(same.tolist()) == {1.0}
    assert set(different.tolist()) == {0.0}


def test_a_question_is_never_paired_with_itself() -> None:
    rows = np.eye(6, dtype=np.float32)
    same, _ = sampled_similarities(rows, np.array([0, 0, 1, 1, 1, 2]))
    assert set(same.tolist()) == {0.0}
    none, different = sampled_similarities(rows, np.arange(6))
    assert len(none) == 0 < len(different)
    _, none = sampled_similarities(rows, np.zeros(6, np.int64))
    assert len(none) == 0


def test_a_cluster_is_broken_down_by_groups_largest_first() -> None:
    clusters = np.array([4, 4, 4, 4, 4, 4, 2, 2, 7])
    gold = np.array([0, 1, 1, 1, 2, 2, 3, 3, 3])
    assert largest(clusters, 5) == [4, 2]  # a single question mixes nothing
    found, _ = broken_down(clusters, gold, largest(clusters, 5))
    assert (found.of, found.questions, found.parts, found.rest) == (4, 6, 3, 0)
    assert [(part.of, part.questions, part.examples) for part in found.largest] == [
        (1, 3, [1, 2]), (2, 2, [4, 5]), (0, 1, [0]),
    ]  # fmt: skip
    assert most_broken(gold, clusters, 5) == [3]
    assert most_broken(clusters, gold, 1) == [4]


def test_clusters_that_look_like_two_are_found_the_largest_first() -> None:
    rows = unit_rows(np.array([[1, 0, 0.1]] * 6 + [[0, 1, 0.1]] * 5 + [[0.1, 0, 1]] * 9 + [[0, 1, 1], [0, -1, 1]] * 6))
    clusters = np.array([3] * 11 + [5] * 9 + [7] * 12)
    found = mixed_clusters(clusters, rows.astype(np.float32), Rules(0.7, 0.7, similarity="cosine"))
    assert [(one.cluster, one.questions, len(one.larger), len(one.smaller)) for one in found] == [
        (7, 12, 6, 6), (3, 11, 6, 5),
    ]  # fmt: skip
    assert set(found[1].smaller) == set(range(6, 11))
    # Of two questions a clear half is no second cluster yet.
    assert mixed_clusters(np.array([1] * 7), rows[4:11].astype(np.float32), Rules(0.7, 0.7, similarity="cosine")) == []


def test_a_cluster_of_many_questions_is_looked_at_by_some_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mixing, "_MOST_LOOKED_AT", 10)
    rows = np.repeat(np.eye(2, dtype=np.float32), [30, 15], axis=0)
    (found,) = mixed_clusters(np.zeros(45, np.int64), rows, Rules(0.7, 0.7, similarity="cosine"))
    assert (found.questions, found.larger, found.smaller) == (45, [0, 5, 10, 15, 20, 25], [30, 35, 40])


def test_the_surest_false_join_comes_first_beside_the_nearest_that_was_there() -> None:
    rows = unit_rows(np.array([[1, 0], [1, 0.1], [1, 1], [0, 1], [0.5, 1], [1, 0]], np.float32))
    clusters, gold = np.array([1, 1, 1, 2, 2, 2]), np.array([0, 1, 2, 3, 4, 3])
    found = worst_false_joins(clusters, gold, rows, 5)
    assert [(join.question, join.beside) for join in found] == [(1, 0), (4, 3), (2, 1)]
    assert worst_false_joins(clusters, gold, rows, 1) == found[:1]


def test_what_is_passed_over_in_a_file_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "q.csv"
    path.write_text("text,gold,ts\na,g,3\n  ,g,2\nb,h,1\nc,,4\nd,g,\n")
    file = read_gold_file(path, 10, seed=0)
    assert (file.texts, file.gold.tolist(), file.groups) == (["a", "b", "d"], [0, 1, 0], ["g", "h"])
    assert (file.empty, file.ungrouped, file.left_out, file.asked_at, file.contradicted) == (1, 1, 0, None, 0)
    path.write_text("text,gold\na,g\na,h\na,g\nb,h\nb,h\n")
    assert read_gold_file(path, 10, seed=0).contradicted == 3
    path.write_text("text,gold,ts\na,g,3\nb,h,1\n")
    moments = read_gold_file(path, 10, seed=0).asked_at
    assert moments is not None
    assert moments.tolist() == [3.0, 1.0]


def test_files_are_evaluated_as_a_worker_would_prepare_them(tmp_path: Path) -> None:
    mail = "Hello,\n\nwhere is my card?\n\nBest regards\nAnna"
    groups, pairs = tmp_path / "groups.jsonl", tmp_path / "pairs.jsonl"
    groups.write_text("".join(json.dumps({"subject": mail, "gold": gold}) + "\n" for gold in "ab"))
    pairs.write_text("".join(json.dumps({"a": mail, "b": "where?", "label": label}) + "\n" for label in (0, 1)))
    asked = read_file(groups, 10, 0, FileTexts(InputSettings(text="{subject}")))
    assert isinstance(asked, GoldFile)
    assert asked.texts == ["where is my card?"] * 2
    told = read_file(pairs, 10, 0, FileTexts(InputSettings()))
    assert isinstance(told, PairFile)
    assert told.first == ["where is my card?"] * 2


def test_pairs_are_drawn_in_the_order_of_the_file_and_need_both_labels(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("a,b,label\n" + "".join(f"q{i},r{i},{i % 2}\n" for i in range(40)) + " ,x,1\n")
    file = read_pair_file(path, 20, seed=0)
    assert (len(file.same), file.empty, file.left_out) == (20, 1, 20)
    assert list(file.first) == sorted(file.first, key=lambda text: int(text[1:]))
    assert [int(text[1:]) % 2 == 1 for text in file.first] == file.same
    path.write_text("a,b,label\nq,r,1\n")
    with pytest.raises(OneSidedPairs, match="labelled 0"):
        read_pair_file(path, 20, seed=0)


def test_a_text_without_a_finite_vector_ends_the_evaluation_and_is_not_quoted() -> None:
    class Broken:
        batch_tokens = 64

        def __call__(self, batches: object) -> Matrix:  # noqa: ARG002 - the protocol's name
            return np.full((2, 64), np.nan, np.float32)

    file = GoldFile(["secret one", "secret two"], np.array([0, 1]), ["g", "h"], None, 0, 0, 0)
    with pytest.raises(QuestreamError, match="2 of 2") as raised:
        evaluate_groups(file, replace(hash_encoder(), forward=Broken()), RULES, 0, 0, lambda _: None)
    assert "secret" not in str(raised.value)


def test_a_confidence_is_told_of_joins_and_right_where_most_were_of_the_group_before() -> None:
    # Two clusters, opened by group 0 and group 1; a join at .9 goes right, one at .5 goes wrong.
    gold = np.array([0, 1, *[0, 1] * 10, *[1, 0] * 10])
    published = np.array([1, 2, *[1, 2] * 10, *[1, 2] * 10])
    similarity = np.array([np.nan, np.nan, *[0.9] * 20, *[0.5] * 20])
    stream = Stream(["?"] * len(gold), np.zeros((len(gold), 2), np.float32), gold)
    found = reliability_of_joins(Clustering(published, published, similarity), stream)
    assert found is not None
    assert sum(one.decisions for one in found.bins) == 40
    assert [(one.decisions, one.right) for one in found.bins] == [(20, 0.0), (20, 1.0)]
    assert reliability_of_joins(Clustering(published, published), stream) is None
    right = Clustering(published[:22], published[:22], similarity[:22])
    assert reliability_of_joins(right, stream.first(22)) is None
