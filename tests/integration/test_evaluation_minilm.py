"""Evaluation on the real all-MiniLM-L6-v2, held to sentence-transformers' own."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from questream.clustering.mirror import MeanMoved, Mirror
from questream.clustering.rules import Rules
from questream.encoder import Encoder
from questream.lab.evaluation.groups import joined_their_group, reliability_of_joins
from questream.lab.evaluation.online import cluster_online
from questream.lab.evaluation.pairs import pair_metrics
from questream.lab.evaluation.stream import Stream, read_gold
from questream.operations.confidence import fit, of_pairs, reliability
from questream.records.files import FileTexts
from questream.settings import InputSettings
from tests.kit.command import questream

SAME = [
    ("How do I reset my password?", "I forgot my password, how can I get a new one?"),
    ("Where is my card?", "My card has not arrived yet"),
    ("Why was my card payment declined?", "My card did not work in the shop"),
    ("How do I close my account?", "I want to delete my account"),
    ("What are your opening hours?", "When are you open?"),
    ("Can I change my address?", "I have moved, how do I tell you?"),
    ("Is there a fee for transfers abroad?", "What does it cost to send money to another country?"),
]
DIFFERENT = [
    ("How do I reset my password?", "How do I reset my PIN?"),
    ("Where is my card?", "Where is my refund?"),
    ("Why was my card payment declined?", "Why was my transfer declined?"),
    ("How do I close my account?", "How do I open an account?"),
    ("What are your opening hours?", "Is there a fee for transfers abroad?"),
    ("Can I change my address?", "Can I change my name?"),
    ("How do I get a new card?", "Which currencies can I hold?"),
]


def test_pairs_are_measured_as_the_evaluator_measures_the_model_itself(encoder: Encoder, minilm: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.evaluation import BinaryClassificationEvaluator

    first, second = zip(*SAME, *DIFFERENT, strict=True)
    labels = [1] * len(SAME) + [0] * len(DIFFERENT)
    theirs = BinaryClassificationEvaluator(
        list(first), list(second), labels, similarity_fn_names=["cosine", "manhattan", "euclidean", "dot"]
    )(SentenceTransformer(str(minilm), device="cpu"))
    ours = pair_metrics(encoder.encode(first), encoder.encode(second), [bool(label) for label in labels]).named()
    compared = {name: theirs[name.replace("cossim", "cosine")] for name in ours}
    # Our encoder may round in bfloat16, which moves thresholds but hardly a decision.
    assert ours == pytest.approx(compared, rel=0.03, abs=0.01)
    assert 0.5 < ours["cossim_ap"] < 1.0


def test_the_command_clusters_real_questions_and_draws_a_report(minilm: Path, tmp_path: Path) -> None:
    rows = [f'"{text}",{number}' for number, pair in enumerate(SAME) for text in pair]
    (tmp_path / "questions.csv").write_text("text,gold\n" + "\n".join(rows) + "\n")
    report = tmp_path / "report.html"
    flags = [f"--model.name={minilm}", "--clusters.threshold=0.55", f"--report={report}", "--json"]
    outcome = questream("evaluate", str(tmp_path / "questions.csv"), *flags)
    assert outcome.code == 0, outcome.err
    (found,) = outcome.json["files"]
    assert found["first"]["after"]["questions"] == 2 * len(SAME)
    assert 0.6 < found["first"]["after"]["bcubed_f1"] <= found["best"]["bcubed_f1"]
    assert {point["threshold"]: point["clusters"] for point in found["curve"]}[0.975] == 2 * len(SAME)
    assert "My card has not arrived yet" in report.read_text("utf-8")


def test_a_confidence_that_is_fitted_to_pairs_holds_for_decisions(encoder: Encoder) -> None:
    file = Path(str(resources.files("questream.lab.demo"))) / "banking77.jsonl"
    texts, gold = read_gold(file, 3000, 0, FileTexts(InputSettings()))
    vectors, rules = encoder.encode(texts), Rules(0.725, 0.725)
    clustering = cluster_online(vectors, rules, texts)
    by_folds = reliability_of_joins(clustering, Stream(texts, vectors, gold))
    assert by_folds is not None
    assert by_folds.calibration_error < 0.03
    mirror = Mirror(vectors.shape[1])
    mirror.apply([MeanMoved(1000, vectors[:1000].sum(axis=0))])
    centred = vectors - mirror.mean_sum / 1005
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    near = np.argwhere(np.triu(centred @ centred.T >= 0.55, 1))
    asked = near[np.random.default_rng(0).choice(len(near), 1000, replace=False)]
    same = (gold[asked[:, 0]] == gold[asked[:, 1]]).tolist()
    answers = list(of_pairs(mirror, rules, [*vectors[asked[:, 0]]], [*vectors[asked[:, 1]]], same))
    confidence = fit(answers, "m")
    assert clustering.similarity is not None
    joined = ~np.isnan(clustering.similarity)
    told = [confidence.of(float(one)) for one in clustering.similarity[joined]]
    right = joined_their_group(clustering.after if clustering.published is None else clustering.published, gold)
    assert reliability(told, right[joined]).calibration_error < 0.05
