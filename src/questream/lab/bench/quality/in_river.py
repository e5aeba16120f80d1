"""Clusterers in river's protocol, `learn_one` and `predict_one`: river's own, and questream's as one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from river import base
from river.cluster import DBSTREAM, TextClust
from river.feature_extraction import BagOfWords

from questream.domain import Matrix, Vector
from questream.lab.evaluation.agreement import Labels, numbered
from questream.lab.evaluation.stream import Clustering
from questream.library import QuestionClusterer


class RiverQuestionClusterer(base.Clusterer):  # type: ignore[misc]  # river ships no types
    """questream's clustering as river has it: one vector at a time, as a mapping from feature to value.

    A prediction is the number of the nearest cluster, as river's own clusterers answer, and learns nothing; 0 before
    anything was learned. A vector's features are its positions, or whatever the first vector names them.
    """

    def __init__(self, threshold: float = 0.725) -> None:
        self.threshold = threshold
        self._clusterer: QuestionClusterer | None = None
        self._features: list[Any] = []

    def learn_one(self, x: Mapping[Any, float]) -> None:
        """Assign one vector; it learns, and may open or merge clusters."""
        if self._clusterer is None:
            self._features = list(x)
            self._clusterer = QuestionClusterer(dimension=len(x), threshold=self.threshold)
        self._clusterer.assign(self._row(x)[None])

    def predict_one(self, x: Mapping[Any, float]) -> int:
        """The cluster nearest to one vector."""
        if self._clusterer is None:
            return 0
        return int(self._clusterer.nearest(self._row(x), limit=1)[0].cluster_id)

    def _row(self, x: Mapping[Any, float]) -> Vector:
        return np.array([x.get(feature, 0.0) for feature in self._features], np.float32)


def learn_and_predict(items: Sequence[Any], model: base.Clusterer) -> Clustering:
    """One by one: learn, and publish what the model then predicts; at the end predict all again."""
    published = []
    for item in items:
        model.learn_one(item)
        published.append(model.predict_one(item))
    return Clustering(numbered(published), _predict_all(items, model))


def learn_then_predict(items: Sequence[Any], model: base.Clusterer) -> Clustering:
    """Learn one by one, predict at the end: for a model that numbers its clusters anew whenever it is asked."""
    for item in items:
        model.learn_one(item)
    return Clustering(None, _predict_all(items, model))


def mappings(vectors: Matrix) -> list[dict[int, float]]:
    """Each vector as river takes it."""
    return [dict(enumerate(row)) for row in vectors.tolist()]


def words_of(texts: Sequence[str], longest: int) -> list[dict[Any, int]]:
    """The counts of words and runs of words up to `longest` in a text, as river's example counts them."""
    bag = BagOfWords(lowercase=True, ngram_range=(1, longest))
    return [bag.transform_one(text) for text in texts]


def dbstream(radius: float, questions: int) -> DBSTREAM:
    """`radius` is a Euclidean distance between unit vectors. Nothing fades, or single questions would be forgotten."""
    return DBSTREAM(clustering_threshold=radius, fading_factor=1e-6, cleanup_interval=questions + 1)


def text_clust(radius: float, questions: int) -> TextClust:
    """A question's micro-cluster is its cluster. What fades is forgotten at the next cleanup, so nothing does."""
    return TextClust(radius=radius, real_time_fading=False, fading_factor=1e-9, tgap=questions + 1)


def _predict_all(items: Sequence[Any], model: base.Clusterer) -> Labels:
    return numbered([model.predict_one(item) for item in items])
