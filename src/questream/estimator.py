"""questream's clustering as a scikit-learn estimator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClusterMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from questream.arguments import texts_of
from questream.clustering.levels import LevelRules, leaf
from questream.clustering.nearest import NEIGHBOURS, assigned
from questream.clustering.rules import Linkage, Similarity
from questream.encoder import Encoder
from questream.library import BATCH_QUESTIONS, QuestionClusterer
from questream.preparing import without_frame
from questream.settings import Granularity

__all__ = ["OnlineClustering"]

Labels = NDArray[np.int64]

Level = Literal["cluster", "intent", "topic"]
_LEVELS = get_args(Level)

_NOISE = -1
# Clusters are numbered from 1.
_NO_CLUSTER = 0


class OnlineClustering(ClusterMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn ships no types
    """Online clustering in scikit-learn's manners, over a `QuestionClusterer`, which decides as the worker does.

    Takes arrays (n, d), or with an `encoder` (see `load_encoder`) also sequences of texts. Rows are scaled to length 1;
    one of length 0 has no direction, is near nothing and is labelled -1, as scikit-learn labels noise; so is a text
    that a worker would dead-letter, such as one that the model knows nothing of. They are decided in their order, in
    micro-batches of 64. `fit` starts anew, `partial_fit` goes on. The parameters are those of
    `QuestionClusterer`.

    `labels_` are of all questions since `fit`, merges followed: 0 to k-1 in the order in which their clusters came,
    after `fit`. `partial_fit` never renames a cluster: new ones take the next numbers, one that is merged into another
    leaves a gap. `predict` gives the nearest cluster within the threshold, -1 where none is; it learns nothing.
    `clusterer_` is the `QuestionClusterer` underneath, for neighbours, sizes and clusters as it numbers them itself.

    With `level` intent or topic, labels are of the groups of clusters that are found at the end of each call; a
    question may change its label with more questions.

    Vectors of a model are worth computing once, before a search. With groups that are known:

        from questream.lab.evaluation.agreement import agreement
        from sklearn.model_selection import GridSearchCV

        def bcubed_f1(estimator, vectors, groups):
            return agreement(estimator.fit_predict(vectors), groups).bcubed_f1

        search = GridSearchCV(OnlineClustering(), {"threshold": [0.5, 0.55, 0.6, 0.65]}, scoring=bcubed_f1)
        search.fit(vectors, groups).best_params_

    The scorer clusters each fold by itself: what is searched for is a setting, not a set of clusters.
    """

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        granularity: Granularity = "question",
        threshold: float | None = None,
        merge_threshold: float | None = None,
        similarity: Similarity = "centred",
        linkage: Linkage = "adaptive",
        centroid_members: int = 256,
        mean_questions: int = 1000,
        level: Level = "cluster",
        judge_features: bool = True,
        prepare: Callable[[str], str] = without_frame,
    ) -> None:
        self.encoder = encoder
        self.granularity = granularity
        self.threshold = threshold
        self.merge_threshold = merge_threshold
        self.similarity = similarity
        self.linkage = linkage
        self.centroid_members = centroid_members
        self.mean_questions = mean_questions
        self.level = level
        self.judge_features = judge_features
        self.prepare = prepare

    def fit(self, X: ArrayLike | Sequence[str], y: object = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Forget what was learned, and cluster these; `y` is not looked at. Raises ValueError as `partial_fit`."""
        del y
        questions = self._questions(X, reset=True)
        self._start(questions)
        return self._learn(questions)

    def partial_fit(self, X: ArrayLike | Sequence[str], y: object = None) -> Self:  # noqa: N803 - scikit-learn's name
        """Cluster these after all before.

        Raises ValueError for rows that are not finite, and for parameters outside their range.
        """
        del y
        first = not hasattr(self, "clusterer_")
        questions = self._questions(X, reset=first)
        if first:
            self._start(questions)
        return self._learn(questions)

    def predict(self, X: ArrayLike | Sequence[str]) -> Labels:  # noqa: N803 - scikit-learn's name
        """The label of the nearest cluster within the threshold for each, -1 where none is; nothing is learned."""
        check_is_fitted(self)
        questions = self._questions(X, reset=False)
        taken = self._taken(questions)
        labels = np.full(len(questions), _NOISE, np.int64)
        texts = (
            [""] * len(taken) if isinstance(questions, np.ndarray) else [self.prepare(questions[at]) for at in taken]
        )
        vectors = questions[taken] if isinstance(questions, np.ndarray) else self._encoded(texts)
        labels[taken] = [self._nearest(vector, text) for vector, text in zip(vectors, texts, strict=True)]
        return labels

    @property
    def labels_(self) -> Labels:
        """The label (n,) of each question since `fit`, in order."""
        if not hasattr(self, "clusterer_"):
            raise AttributeError("labels_ is there after fit or partial_fit")
        return self._labels(self.clusterer_.survivors(self._published))

    def __sklearn_clone__(self) -> Self:
        # The encoder holds a model and learns nothing: it is shared, where scikit-learn would copy it.
        return type(self)(**self.get_params(deep=False))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.string = self.encoder is not None
        return tags

    def _questions(self, given: ArrayLike | Sequence[str], *, reset: bool) -> list[str] | NDArray[np.float64]:
        texts = texts_of(given) if self.encoder is not None else None
        if texts is not None:
            return texts
        vectors: NDArray[np.float64] = validate_data(self, given, reset=reset, dtype=np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        # Scaled here: the length of a row may be beyond single precision.
        unit: NDArray[np.float64] = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
        return unit

    def _start(self, questions: list[str] | NDArray[np.float64]) -> None:
        self._published: list[int] = []
        self._label_of = {leaf(_NO_CLUSTER): _NOISE}
        at = _LEVELS.index(self.level) if self.level in _LEVELS else None
        if at is None:
            raise ValueError(f"level is one of {', '.join(_LEVELS)}")
        self._level = at
        self.clusterer_ = QuestionClusterer(
            self.encoder,
            dimension=questions.shape[1] if isinstance(questions, np.ndarray) else None,
            granularity=self.granularity,
            threshold=self.threshold,
            merge_threshold=self.merge_threshold,
            similarity=self.similarity,
            linkage=self.linkage,
            centroid_members=self.centroid_members,
            mean_questions=self.mean_questions,
            judge_features=self.judge_features,
            prepare=self.prepare,
            levels=LevelRules() if self._level else None,
        )

    def _learn(self, questions: list[str] | NDArray[np.float64]) -> Self:
        published = np.full(len(questions), _NO_CLUSTER)
        learned = self._taken(questions)
        for start in range(0, len(learned), BATCH_QUESTIONS):
            batch = learned[start : start + BATCH_QUESTIONS]
            published[batch] = self.clusterer_.assign([questions[i] for i in batch]).ids
        self._published += published.tolist()
        if self._level:
            self.clusterer_.regroup()
        # Only what is left at the end takes a number, so that after `fit` there is none without a question.
        self._labels(self.clusterer_.survivors(published.tolist()))
        return self

    def _labels(self, clusters: Sequence[int]) -> Labels:
        """The labels (n,) of live clusters, or of their intents or topics; one that has none yet takes the next."""
        nodes = [self.clusterer_.path(cluster)[self._level] for cluster in clusters]
        return np.array([self._label_of.setdefault(node, len(self._label_of) - 1) for node in nodes], np.int64)

    def _taken(self, questions: list[str] | NDArray[np.float64]) -> NDArray[np.intp]:
        """The places of the questions that have a direction, or a text that a worker would decide."""
        if isinstance(questions, np.ndarray):
            return np.flatnonzero(questions.any(axis=1))
        refused = self.encoder.refused([self.prepare(text) for text in questions])  # type: ignore[union-attr]  # texts came with an encoder
        return np.array([at for at in range(len(questions)) if at not in refused], np.intp)

    def _encoded(self, texts: Sequence[str]) -> NDArray[Any]:
        return self.encoder.encode(texts)  # type: ignore[union-attr]  # texts came with an encoder

    def _nearest(self, vector: NDArray[Any], text: str) -> int:
        nearest = self.clusterer_.nearest(vector, NEIGHBOURS, text)
        cluster = assigned(nearest, self.clusterer_.rules).cluster
        if cluster is None:
            return _NOISE
        (label,) = self._labels([cluster.cluster_id]).tolist()
        return int(label)
