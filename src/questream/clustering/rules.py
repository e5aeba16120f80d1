"""The numbers that decide: linkage, centring, thresholds and limits of one namespace."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, cast

from questream.clustering.confidence import Confidence
from questream.domain import Mode, NamespaceRules

Similarity = Literal["centred", "cosine"]
Linkage = Literal["adaptive", "average", "centroid", "first"]

# A mean of few questions is one of them rather than the stream's: it is shrunk towards zero (plain cosine) as if this
# many questions of mean zero had come before. It also keeps |mean| < 1, so that |question - mean| never vanishes.
MEAN_PRIOR_QUESTIONS = 5
# Below it clusters are of a matter, not of one question: what a number or a negation changes is no matter to them.
COARSEST_JUDGED = 0.65


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules of clustering. Thresholds are cosines in [-1, 1]; a question joins at or above `threshold`.

    Clusters merge at or above `merge_threshold`, which with linkage `adaptive` binds the cohesion of what they become
    too. A centroid learns from its first `centroid_members` members, the stream's mean from the first `mean_questions`.
    `scores.py` says what a linkage compares. With `judge_features` a second look passes over clusters of questions that
    differ in a number, a name, a negation and the like (`second_look`). Where there is a judge, it is asked about
    clusters whose similarity is less than `judge_margin` above the threshold. With mode `known-only` what joins no
    cluster opens none. `confidence` gives a probability of similarities; a question with less than `routing_precision`
    has no route.
    """

    threshold: float
    merge_threshold: float
    similarity: Similarity = "centred"
    linkage: Linkage = "adaptive"
    centroid_members: int = 256
    mean_questions: int = 1000
    judge_features: bool = True
    judge_margin: float = 0.0
    mode: Mode = "open"
    confidence: Confidence | None = None
    routing_precision: float | None = None

    def in_force(self, of_namespace: NamespaceRules) -> Rules:
        """These, but for what people set for the namespace.

        Where only a threshold is set, clusters merge at that too, unless these have a merge threshold of their own.
        """
        if of_namespace == NamespaceRules():
            return self
        threshold = self.threshold if of_namespace.threshold is None else of_namespace.threshold
        follows = self.merge_threshold == self.threshold
        merge_threshold = of_namespace.merge_threshold
        if merge_threshold is None:
            merge_threshold = threshold if follows else self.merge_threshold
        linkage = cast("Linkage", of_namespace.linkage or self.linkage)
        mode = cast("Mode", of_namespace.mode or self.mode)
        precision = of_namespace.routing_precision
        return replace(
            self,
            threshold=threshold,
            merge_threshold=merge_threshold,
            linkage=linkage,
            mode=mode,
            confidence=_confidence(of_namespace.confidence),
            routing_precision=self.routing_precision if precision is None else precision or None,
        )

    def confidence_of(self, similarity: float, model: str) -> float | None:
        """The confidence at a similarity of vectors of the model (`model_mark`), None where none is fitted to it."""
        fitted = self.confidence
        return None if fitted is None or fitted.model != model else fitted.of(similarity)

    @property
    def judges(self) -> bool:
        """True if near clusters get a second look by features: not those of a coarse threshold."""
        return self.judge_features and self.threshold >= COARSEST_JUDGED

    def threshold_of(self, own: float | None) -> float:
        """The least similarity at which a question joins a cluster with this threshold of its own, if it has one."""
        return own or self.threshold

    def close(self, own: float | None) -> float:
        """The similarity below which a judge is asked about such a cluster: at a coarse `threshold` about none."""
        return self.threshold_of(own) + (self.judge_margin if self.threshold >= COARSEST_JUDGED else 0.0)

    @property
    def learning_members(self) -> int:
        """The number of members that a centroid learns from; with linkage `first` only the founder."""
        return 1 if self.linkage == "first" else self.centroid_members


def _confidence(text: str | None) -> Confidence | None:
    """The fitted confidence; a form of a later release is read as none."""
    try:
        return None if text is None else Confidence.parse(text)
    except ValueError:
        return None
