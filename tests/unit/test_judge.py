"""Close calls: what a judge says of them decides, in batches as one by one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from questream import QuestionClusterer
from questream.clustering.nearest import Neighbour
from questream.clustering.rules import Rules
from questream.deciding.close_calls import with_verdicts
from questream.encoder import load_judge
from questream.errors import ModelError, SettingsError
from questream.lab.evaluation.groups import group_figures
from questream.lab.evaluation.stream import Stream
from questream.lab.evaluation.verdicts import RememberingJudge
from questream.settings import JudgeSettings, load_settings

MARGIN = 0.1


class ByLastWord:
    """Two texts are the same where their last words are."""

    def __init__(self) -> None:
        self.calls: list[list[tuple[str, str]]] = []

    def same(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        self.calls.append(list(pairs))
        return [one.split()[-1] == other.split()[-1] for one, other in pairs]


def clusterer(judge: ByLastWord | None, margin: float = MARGIN) -> QuestionClusterer:
    return QuestionClusterer(
        dimension=2, similarity="cosine", threshold=0.9, linkage="first", judge=judge, judge_margin=margin
    )


def at(*cosines: float) -> list[list[float]]:
    """Rows with these cosines to the first axis."""
    return [[cosine, (1 - cosine**2) ** 0.5] for cosine in cosines]


def test_a_close_call_goes_as_the_judge_says() -> None:
    judge = ByLastWord()
    assigned = clusterer(judge).assign(at(1, 0.95, 0.97), ["where is my card", "where is my parcel", "see the card"])
    assert assigned.ids == [1, 2, 1]
    first, second, third = assigned.decisions
    assert [(one.checked_by, one.reason) for one in (first, second)] == [(None, None), ("judge", "judge")]
    assert second.runner_up is not None
    assert (second.runner_up.cluster_id, round(second.runner_up.similarity, 2)) == (1, 0.95)
    # The nearer cluster, of the parcel, was passed over.
    assert (third.checked_by, third.reason, third.runner_up and third.runner_up.cluster_id) == ("judge", "judge", 2)


def test_what_is_clear_is_not_asked() -> None:
    judge = ByLastWord()
    assigned = clusterer(judge, margin=0.02).assign(at(1, 0.95), ["where is my card", "where is my parcel"])
    assert assigned.ids == [1, 1]
    assert judge.calls == []
    assert assigned.decisions[1].checked_by == "features"


def test_a_coarse_threshold_asks_nobody() -> None:
    judge = ByLastWord()
    coarse = QuestionClusterer(dimension=2, similarity="cosine", threshold=0.6, judge=judge, judge_margin=1.0)
    assert coarse.assign(at(1, 0.7), ["where is my card", "where is my parcel"]).ids == [1, 1]
    assert judge.calls == []


def test_without_texts_nothing_is_asked() -> None:
    judge = ByLastWord()
    assert clusterer(judge).assign(at(1, 0.95)).ids == [1, 1]
    assert judge.calls == []


def test_the_close_calls_of_a_batch_are_asked_together() -> None:
    judge = ByLastWord()
    one = clusterer(judge)
    one.assign(at(1), ["where is my card"])
    one.assign(at(0.95, 0.96, 0.97), ["a card", "the card", "any card"])
    assert [len(pairs) for pairs in judge.calls] == [3]


@pytest.mark.parametrize("batch", [2, 7, 48])
def test_batches_decide_as_one_by_one(batch: int) -> None:
    spread = np.random.default_rng(5).normal(size=(48, 8)) * 0.25 + np.eye(8)[0]
    vectors = (spread / np.linalg.norm(spread, axis=1, keepdims=True)).astype(np.float32)
    texts = [f"{word} of {last}" for word in ("one", "some", "all") for last in ("card", "parcel", "bill", "card") * 4]

    def run(size: int) -> list[tuple[int | None, str | None, str | None]]:
        judged = QuestionClusterer(
            dimension=8,
            similarity="cosine",
            threshold=0.7,
            merge_threshold=1.0,  # no merges, which come between batches
            judge_features=False,
            judge=ByLastWord(),
            judge_margin=0.2,
        )
        found: list[tuple[int | None, str | None, str | None]] = []
        for start in range(0, 48, size):
            decided = judged.assign(vectors[start : start + size], texts[start : start + size]).decisions
            found += [(one.cluster_id, one.checked_by, one.reason) for one in decided]
        return found

    alone = run(1)
    assert {reason for _, _, reason in alone} == {None, "judge"}
    assert run(batch) == alone


def test_clusters_that_the_judge_tells_apart_do_not_merge() -> None:
    def merged(judge: ByLastWord | None) -> bool:
        one = QuestionClusterer(dimension=2, similarity="cosine", threshold=0.9, linkage="average", judge=judge)
        one.assign(at(1, 0.8), ["where is my card", "where is my parcel"])
        # Each draws one of the two towards the other.
        one.assign(at(0.96, 0.9), ["this card", "that parcel"])
        return len(one.clusters()) == 1

    assert merged(None)
    assert not merged(ByLastWord())


def test_who_only_asks_is_told_what_the_judge_would_say() -> None:
    rules = Rules(0.9, 0.9, "cosine", judge_margin=MARGIN)
    near = [Neighbour(1, 0.97), Neighbour(2, 0.95), Neighbour(3, 0.2)]
    texts = {1: "my parcel", 2: "my card", 3: "my bill"}
    judge = ByLastWord()
    told = with_verdicts(near, rules, judge, "the card", texts)
    assert [(one.checked_by, one.reason) for one in told] == [("judge", "judge"), ("judge", None), (None, None)]
    assert len(judge.calls) == 2
    assert with_verdicts(near[2:], rules, judge, "the card", texts) == near[2:]


def test_settings_say_what_a_judge_needs() -> None:
    with pytest.raises(SettingsError, match=r"clusters\.keep_texts"):
        load_settings(None, {"judge.model": "judge", "clusters.keep_texts": False})


def test_no_judge_is_loaded_where_none_is_named() -> None:
    assert load_judge(JudgeSettings(), "cpu") is None


@pytest.mark.parametrize(
    ("files", "told"),
    [
        ({}, "no weights"),
        ({"pytorch_model.bin": "x"}, "pickled weights"),
        ({"model.safetensors": "x"}, "no config.json"),
        ({"model.safetensors": "x", "config.json": '{"architectures": ["BertModel"]}'}, "no cross-encoder"),
        (
            {"model.safetensors": "x", "config.json": '{"architectures": ["BertForSequenceClassification"]}'},
            "gives 2 scores",
        ),
        (
            {
                "model.safetensors": "x",
                "config.json": '{"architectures": ["RobertaForSequenceClassification"],'
                ' "id2label": {"0": "contradiction", "1": "entailment", "2": "neutral"}}',
            },
            "gives 3 scores",
        ),
        (
            {
                "model.safetensors": "x",
                "config.json": '{"architectures": ["X"], "auto_map": {"AutoModel": "evil.py"}}',
            },
            "code of its own",
        ),
    ],
)
def test_what_is_no_judge_is_refused_before_it_is_loaded(tmp_path: Path, files: dict[str, str], told: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ModelError, match=told):
        load_judge(JudgeSettings(model=str(tmp_path)), "cpu")


def test_a_judge_that_is_nowhere_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"judge\.model"):
        load_judge(JudgeSettings(model=str(tmp_path / "none")), "cpu")


def test_a_cross_encoder_gives_probabilities(tmp_path: Path) -> None:
    from tests.kit.models import save_cross_encoder

    judge = load_judge(JudgeSettings(model=str(save_cross_encoder(tmp_path)), min_probability=0.5), "cpu")
    assert judge is not None
    pairs = [("w1 w2", "w3"), ("w1", "w1"), ("w4 w5 w6", "w1 w2")]
    probabilities = judge.probabilities(pairs)
    assert np.all((np.array(probabilities) > 0) & (np.array(probabilities) < 1))
    assert judge.same(pairs) == [probability >= 0.5 for probability in probabilities]
    assert judge.probabilities([]) == []
    assert len(judge.probabilities([("w1 " * 300, "w2 " * 300)])) == 1
    # Alone as beside others, and the same whenever it is loaded.
    assert judge.probabilities(pairs[:1]) == pytest.approx(probabilities[:1], abs=1e-5)
    assert judge.revision.startswith("sha256:")


def test_an_evaluation_asks_the_judge_about_each_close_call_once() -> None:
    texts = ["where is my card", "where is my parcel", "see the card", "see the parcel"]
    stream = Stream(texts, np.array(at(1, 0.95, 0.97, 0.96), np.float32), np.array([0, 1, 0, 1]))
    rules = Rules(0.9, 0.9, "cosine", "first", judge_features=False, judge_margin=MARGIN)
    judge = ByLastWord()
    alone, _ = group_figures(stream, "file", replace(rules, judge_margin=0.0), [])
    asked, clustering = group_figures(stream, "file", rules, [np.arange(4)], judge=RememberingJudge(judge))
    assert (alone.first.after.clusters, asked.first.after.clusters) == (1, 2)
    assert clustering.after.tolist() == [1, 2, 1, 2]
    assert next(point.clusters for point in asked.curve if point.threshold == 0.9) == 2
    # Without texts the levels would be those of one cluster, in which all four are.
    assert all(level.published.bcubed_precision == 1.0 for level in asked.levels)
    pairs = [pair for call in judge.calls for pair in call]
    assert len(pairs) == len(set(pairs)) > 0
