from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray

import questream
from questream.clustering.rules import Rules
from questream.encoder import Encoder, Tokens
from questream.errors import BadRecord
from questream.lab.evaluation.agreement import agreement, numbered
from questream.lab.evaluation.online import cluster_online
from tests.kit.stepping import unit_rows
from tests.unit.test_library import subjects

TOPICS = 12


def topics_of(questions: int) -> list[int]:
    return [number % TOPICS for number in range(questions)]


def topic_vectors(questions: int = 400) -> NDArray[np.float64]:
    """Vectors that fall into twelve groups, of no length in particular."""
    random = np.random.default_rng(3)
    centres = random.normal(size=(TOPICS, 32))
    return np.asarray(centres[topics_of(questions)] + random.normal(scale=0.5, size=(questions, 32)))


@dataclass
class WordsEncoder:
    """Bags of words, hashed: an encoder without a model, which counts how often it is copied."""

    name: str = "words"
    revision: str = "1"
    dimension: int = 64
    copies: int = 0

    def refused(self, texts: Sequence[str]) -> dict[int, BadRecord]:
        return {at: BadRecord("tokenise", "no_tokens", "nothing") for at, text in enumerate(texts) if not text}

    def tokenise_all(self, texts: Sequence[str]) -> list[Tokens]:
        return [
            Tokens(np.array([sum(w.encode()) % 64 for w in text.lower().split()], np.int32), False) for text in texts
        ]

    def encode_tokens(self, tokens: Sequence[Tokens]) -> NDArray[np.float32]:
        rows = np.zeros((len(tokens), self.dimension), np.float32)
        for row, text in zip(rows, tokens, strict=True):
            np.add.at(row, text.ids, 1.0)
        unit: NDArray[np.float32] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        return unit

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.encode_tokens(self.tokenise_all(texts))

    def __deepcopy__(self, memo: dict[int, Any]) -> WordsEncoder:
        self.copies += 1
        return self


def test_it_keeps_to_the_manners_of_scikit_learn() -> None:
    from sklearn.utils.estimator_checks import check_estimator

    results = check_estimator(questream.OnlineClustering(), on_fail=None, on_skip=None)
    assert {result["check_name"]: result["exception"] for result in results if result["status"] == "failed"} == {}
    assert sum(result["status"] == "passed" for result in results) > 40


def test_it_clusters_as_the_worker_does() -> None:
    vectors = unit_rows(topic_vectors().astype(np.float32))
    labels = questream.OnlineClustering(threshold=0.6).fit_predict(vectors)
    assert labels.tolist() == numbered(cluster_online(vectors, Rules(0.6, 0.6)).after.tolist()).tolist()
    assert agreement(labels.tolist(), topics_of(400)).bcubed_f1 > 0.9


def test_going_on_in_whole_micro_batches_ends_where_one_fit_does() -> None:
    vectors = topic_vectors()
    whole, parts = questream.OnlineClustering(threshold=0.6).fit(vectors), questream.OnlineClustering(threshold=0.6)
    for start in range(0, len(vectors), 128):
        parts.partial_fit(vectors[start : start + 128])
    assert numbered(parts.labels_.tolist()).tolist() == whole.labels_.tolist()
    assert parts.fit(vectors).labels_.tolist() == whole.labels_.tolist()  # anew


def test_labels_after_going_on_follow_merges_and_name_no_cluster_anew() -> None:
    a, b, other = np.eye(3, 4)
    between = (a + b) / 2
    made = questream.OnlineClustering(similarity="cosine", threshold=0.6, mean_questions=1)
    estimator = made.partial_fit([a, b, other])
    assert estimator.labels_.tolist() == [0, 1, 2]
    estimator.partial_fit([between] * 8)
    assert estimator.labels_.tolist() == [0, 0, 2, *[0] * 8]
    assert estimator.predict([b, other]).tolist() == [0, 2]
    assert estimator.partial_fit([-other]).labels_[-1] == 3


def test_a_prediction_learns_nothing_and_what_is_near_nothing_is_noise() -> None:
    estimator = questream.OnlineClustering(similarity="cosine", threshold=0.8).fit(np.eye(2, 3))
    assert estimator.predict([[9.0, 0.1, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]).tolist() == [0, -1, -1]
    assert [state.size for state in estimator.clusterer_.clusters()] == [1, 1]


def test_a_row_without_direction_is_noise_and_leaves_the_others_as_they_are() -> None:
    vectors = topic_vectors(100)
    with_zero = np.insert(vectors, [0, 50], 0.0, axis=0)
    labels = questream.OnlineClustering().fit_predict(with_zero)
    assert labels[[0, 51]].tolist() == [-1, -1]
    assert np.delete(labels, [0, 51]).tolist() == questream.OnlineClustering().fit_predict(vectors).tolist()


def test_texts_are_clustered_by_an_encoder_which_a_clone_shares() -> None:
    from sklearn.base import clone

    encoder = WordsEncoder()
    texts = ["where is my card", "where is my card now", "", "how do loans work", "where is my card please"]
    estimator = clone(questream.OnlineClustering(cast(Encoder, encoder), similarity="cosine", threshold=0.7))
    assert estimator.fit_predict(texts).tolist() == [0, 0, -1, 1, 0]
    assert estimator.predict(np.array(["how do loans work", "zzz", ""], object)).tolist() == [1, -1, -1]
    assert estimator.clusterer_.clusters()[0].representative == texts[0]
    assert encoder.copies == 0


def test_mails_are_clustered_and_predicted_by_the_question_in_them() -> None:
    from sklearn.base import clone

    mail = "Hello,\n\nwhere is my card\n\nBest regards\nAnna"
    estimator = questream.OnlineClustering(cast(Encoder, WordsEncoder()), similarity="cosine", threshold=0.99)
    assert estimator.fit_predict([mail, "where is my card"]).tolist() == [0, 0]
    assert estimator.predict([mail]).tolist() == [0]
    assert clone(estimator).set_params(prepare=str).fit_predict([mail, "where is my card"]).tolist() == [0, 1]


def test_texts_without_an_encoder_are_refused() -> None:
    with pytest.raises(ValueError, match=r"convert string|Expected 2D"):
        questream.OnlineClustering().fit(["where is my card"])


def test_a_pickled_one_goes_on_where_it_was() -> None:
    vectors = topic_vectors()
    estimator = questream.OnlineClustering(threshold=0.6).fit(vectors[:256])
    again = pickle.loads(pickle.dumps(estimator))
    assert again.labels_.tolist() == estimator.labels_.tolist()
    assert again.partial_fit(vectors[256:]).labels_.tolist() == estimator.partial_fit(vectors[256:]).labels_.tolist()


def test_it_stands_at_the_end_of_a_pipeline() -> None:
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_pipeline

    texts = ["where is my card", "where is my new card", "how do loans work", "how do big loans work"] * 5
    pipeline = make_pipeline(
        TfidfVectorizer(), TruncatedSVD(4, random_state=0), questream.OnlineClustering(threshold=0.5)
    )
    assert agreement(pipeline.fit_predict(texts), [0, 0, 1, 1] * 5).bcubed_f1 == 1.0


def test_a_search_finds_the_threshold_that_groups_ask_for() -> None:
    from sklearn.model_selection import GridSearchCV

    def bcubed_f1(estimator: questream.OnlineClustering, vectors: Any, groups: Any) -> float:
        return agreement(estimator.fit_predict(vectors), groups).bcubed_f1

    search = GridSearchCV(questream.OnlineClustering(), {"threshold": [-0.9, 0.6, 0.99]}, scoring=bcubed_f1, cv=2)
    search.fit(topic_vectors(), topics_of(400))
    assert search.best_params_ == {"threshold": 0.6}
    assert agreement(search.best_estimator_.labels_.tolist(), topics_of(400)).bcubed_f1 > 0.9


@pytest.mark.parametrize("wrong", [{"granularity": "topic"}, {"linkage": "single"}, {"similarity": "dot"}])
def test_parameters_outside_their_range_are_refused_at_fit(wrong: dict[str, str]) -> None:
    estimator = questream.OnlineClustering(**wrong)  # type: ignore[arg-type]  # what a notebook may pass
    with pytest.raises(ValueError, match="is one of"):
        estimator.fit(topic_vectors(10))


def test_labels_are_of_the_level_that_is_asked_for() -> None:
    questions = subjects(4, 30)
    by_cluster = questream.OnlineClustering(threshold=0.9, similarity="cosine").fit(questions)
    assert len(set(by_cluster.labels_.tolist())) == len(questions)
    estimator = questream.OnlineClustering(threshold=0.9, similarity="cosine", level="topic").fit(questions)
    labels = estimator.labels_.tolist()
    assert sorted(set(labels)) == list(range(len(set(labels))))
    assert agreement(labels, [number % 6 for number in range(len(questions))]).bcubed_precision == 1.0
    assert len(set(labels)) < len(questions) / 2
    assert estimator.predict(questions).tolist() == labels
    assert estimator.partial_fit(np.zeros_like(questions[:1])).labels_[-1] == -1


def test_a_level_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="cluster, intent, topic"):
        questream.OnlineClustering(level=cast(Any, "subject")).fit(np.eye(4))
