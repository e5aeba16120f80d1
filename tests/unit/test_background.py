"""Whether a namespace's clusters hold unrelated questions is known from its mean and its clusters."""

from __future__ import annotations

import logging
from typing import get_args

import numpy as np
import pytest

from questream.clustering.background import least_threshold, loose_share
from questream.clustering.mirror import ClusterMoved, MeanMoved, Mirror
from questream.clustering.rules import Similarity
from questream.domain import Matrix
from questream.library import QuestionClusterer
from questream.store.reference.store import MemoryStore
from tests.kit.stepping import unit_rows


def of_one_subject(questions: int) -> Matrix:
    """Unit rows (n, n + 1) that have a cosine of .25 to each other."""
    return np.hstack([np.full((questions, 1), 0.5), 0.75**0.5 * np.eye(questions)]).astype(np.float32)


@pytest.mark.parametrize(("similarity", "least"), [("centred", 0.504), ("cosine", 0.63)])
def test_the_least_threshold_is_above_what_unrelated_questions_reach(similarity: Similarity, least: float) -> None:
    vectors = of_one_subject(200)
    # |m|^2 is .25 and what is left of the questions' own parts, .75 / 200.
    assert least_threshold(vectors.sum(axis=0), 200, similarity) == least


@pytest.mark.parametrize("similarity", get_args(Similarity))
@pytest.mark.parametrize("spread", [0.3, 0.6, 0.9])
def test_questions_that_are_all_alike_say_nothing_of_unrelated_ones(similarity: Similarity, spread: float) -> None:
    """Mails that are nearly the same have a mean cosine of .55 to .92, and little in common beside their mean."""
    random, store = np.random.default_rng(3), MemoryStore()
    own = unit_rows(random.normal(size=(150, 384)).astype(np.float32))
    vectors = unit_rows(np.eye(1, 384, dtype=np.float32) + spread * own)
    QuestionClusterer(dimension=384, store=store, similarity=similarity).assign(vectors)
    assert least_threshold(vectors.sum(axis=0), len(vectors), similarity) is None
    assert loose_share(store.load("default")) == 0.0


def test_few_questions_say_nothing_of_a_threshold() -> None:
    vectors = of_one_subject(99)
    for similarity in get_args(Similarity):
        assert least_threshold(vectors.sum(axis=0), 99, similarity) is None


def test_loose_clusters_are_large_ones_of_questions_with_little_in_common() -> None:
    random = np.random.default_rng(1)
    unrelated = unit_rows(random.normal(size=(60, 256)).astype(np.float32))
    alike = unit_rows(unrelated[0] + 0.5 * unrelated[1:41])
    mirror = Mirror(256)
    clusters = [unrelated[:20], alike, unrelated[40:49], unrelated[50:51]]
    mirror.apply([ClusterMoved(n, len(rows), rows.sum(axis=0)) for n, rows in enumerate(clusters, start=1)])
    everything = np.concatenate(clusters)
    mirror.apply([MeanMoved(len(everything), everything.sum(axis=0))])
    assert loose_share(mirror) == 20 / 70
    assert loose_share(Mirror(256)) == 0.0


def test_a_mirror_is_loaded_with_a_warning_where_unrelated_questions_reach_the_threshold(
    caplog: pytest.LogCaptureFixture,
) -> None:
    vectors, store = of_one_subject(200), MemoryStore()

    def told(namespace: str, threshold: float) -> list[logging.LogRecord]:
        with caplog.at_level(logging.WARNING):
            caplog.clear()
            clusterer = QuestionClusterer(dimension=201, store=store, namespace=namespace, threshold=threshold)
            clusterer.assign(vectors)
            clusterer.assign(vectors)
        return [record for record in caplog.records if "unrelated questions" in record.message]

    assert told("low", 0.4) == []
    (record,) = told("low", 0.4)
    assert record.__dict__["namespace"] == "low"
    assert 0.4 < record.__dict__["least_threshold"] < 0.55
    told("high", 0.6)
    assert told("high", 0.6) == []
