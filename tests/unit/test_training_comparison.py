"""What is said of two models on held-out questions, and the card of the one that was trained."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.lab.evaluation.agreement import agreement
from questream.lab.training.card import licence_of, write_card
from questream.lab.training.comparing import Change, Subject, average_precision, bcubed_of_each, compare
from questream.lab.training.corpus import Corpus, LeftOut, as_pairs
from questream.lab.training.recipe import Recipe
from questream.lab.training.report import Fitted, Report, Sizes

GROUPS, SIZE, DIMENSION = 24, 3, 16


def held_out() -> Corpus:
    groups = np.repeat(np.arange(GROUPS), SIZE)
    same = as_pairs([(SIZE * g, SIZE * g + 1) for g in range(GROUPS)])
    different = as_pairs([(SIZE * g, (SIZE * g + SIZE) % len(groups)) for g in range(GROUPS)])
    return Corpus([f"text {i}" for i in range(len(groups))], groups, same, different)


def subject(spread: float, seed: int = 0) -> Subject:
    """A model whose vectors stray so far from those of their groups."""
    random = np.random.default_rng(seed)
    centres = np.repeat(random.normal(size=(GROUPS, DIMENSION)), SIZE, axis=0)
    vectors: Matrix = (centres + spread * random.normal(size=centres.shape)).astype(np.float32)
    return Subject(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), Rules(0.725, 0.725))


def test_average_precision_and_bcubed_are_those_of_the_usual_definitions() -> None:
    from sklearn.metrics import average_precision_score

    random = np.random.default_rng(1)
    scores, right = random.normal(size=200), random.random(200) < 0.3
    order = np.argsort(-scores)
    expected = average_precision_score(right, scores)
    assert average_precision(right[order], np.ones(200)) == pytest.approx(expected)
    clusters, groups = random.integers(9, size=200), random.integers(12, size=200)
    precision, recall = bcubed_of_each(clusters, groups)
    whole = agreement(clusters.tolist(), groups.tolist())
    assert (precision.mean(), recall.mean()) == pytest.approx((whole.bcubed_precision, whole.bcubed_recall))


def test_all_pairs_of_the_questions_are_ranked() -> None:
    from sklearn.metrics import average_precision_score

    corpus, model = held_out(), subject(0.5)
    (change,) = [c for c in compare(corpus, model, model, 0) if c.figure == "average precision of all pairs"]
    one, other = np.triu_indices(len(corpus.texts), 1)
    scores = (model.vectors @ model.vectors.T)[one, other]
    assert change.before == pytest.approx(average_precision_score(corpus.groups[one] == corpus.groups[other], scores))


def test_a_model_gains_nothing_on_itself() -> None:
    for change in compare(held_out(), subject(0.5), subject(0.5), 0):
        assert (change.before, change.low, change.high) == (change.after, 0, 0)
        assert change.verdict == "no difference that is sure"


def test_a_better_model_is_told_from_a_worse_one_in_every_figure() -> None:
    better = compare(held_out(), subject(1.0), subject(0.3), 0)
    assert {change.verdict for change in better} == {"improved"}
    assert {change.verdict for change in compare(held_out(), subject(0.3), subject(1.0), 0)} == {"worse"}
    figures = {(change.figure, change.oracle) for change in better}
    assert ("BCubed F1 as published", False) in figures
    assert ("BCubed F1 after the stream", True) in figures
    for change in better:
        assert change.low <= change.after - change.before <= change.high
        if change.oracle:
            fixed = next(c for c in better if c.figure == change.figure and not c.oracle)
            assert change.before >= fixed.before
            assert change.after >= fixed.after


def test_without_labels_of_both_kinds_labelled_pairs_are_not_spoken_of() -> None:
    corpus = held_out()
    one_sided = Corpus(corpus.texts, corpus.groups, corpus.same, as_pairs([]))
    named = {change.figure for change in compare(one_sided, subject(0.5), subject(0.4), 0)}
    assert named == {"average precision of all pairs", "BCubed F1 as published", "BCubed F1 after the stream"}


def report(folder: Path, losses: dict[str, str]) -> Report:
    changes = [
        Change("average precision of all pairs", 0.81, 0.87, 0.04, 0.08),
        Change("BCubed F1 after the stream", 0.7, 0.69, -0.03, 0.01, (0.725, 0.725)),
        Change("BCubed F1 after the stream", 0.72, 0.75, 0.01, 0.05, (0.7, 0.65), oracle=True),
    ]
    fitted = Fitted(600, 60, 0, {"ranking": 32, "contrastive": 32}, losses, "float32")
    sizes = Sizes(4321, 1234, 2000, 1000), Sizes(1000, 300, 400, 0)
    return Report(str(folder), "base/model", "abc123", Recipe(), *sizes, LeftOut(parted_pairs=17), fitted, changes)


def test_the_card_tells_what_was_done_and_names_the_licence_of_the_base(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "README.md").write_text("---\nlanguage: en\nlicense: apache-2.0\n---\n# Base\nlicense: none\n")
    losses = {"ranking": "MultipleNegativesRankingLoss", "contrastive": "OnlineContrastiveLoss"}
    write_card(tmp_path, base, report(tmp_path / "my-model", losses))
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\n")
    for told in (
        "base_model: base/model",
        "# my-model",
        "| trained on | 4,321 | 1,234 | 2,000 | 1,000 |",
        "17 pairs between the two sides",
        "| ranking loss | MultipleNegativesRankingLoss, scale 20.0, cosine, 32 pairs a batch |",
        "round robin",
        "60 steps of warm-up (scaled down from 1000",
        "| 0.725 | 0.7000 | 0.6900 | -0.0100 | -0.0300 to +0.0100 | no difference that is sure |",
        "| 0.7, 0.65 (oracle) |",
    ):
        assert told in card, told


def test_a_card_without_a_known_licence_or_a_contrastive_loss_says_so(tmp_path: Path) -> None:
    write_card(tmp_path, tmp_path / "base", report(tmp_path, {"ranking": "MultipleNegativesRankingLoss"}))
    card = (tmp_path / "README.md").read_text()
    assert "license:" not in card.partition("# ")[0]
    assert "name no licence" in card
    assert "no pairs of different questions were there" in card


def test_only_the_front_matter_names_a_licence(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Model\nlicense: mit\n")
    assert licence_of(tmp_path) is None
