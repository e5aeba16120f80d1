"""The numbers that decide: linkage, centring, thresholds and limits of one namespace."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Similarity = Literal["centred", "cosine"]
Linkage = Literal["adaptive", "average", "centroid", "first"]

# A mean of few questions is one of them rather than the stream's: it is shrunk towards zero (plain cosine) as if this
# many questions of mean zero had come before. It also keeps |mean| < 1, so that |question - mean| never vanishes.
MEAN_PRIOR_QUESTIONS = 5


@dataclass(frozen=True, slots=True)
class Rules:
    """How a namespace clusters. Thresholds are cosines in [-1, 1]; a question joins at or above `threshold`.

    A centroid learns from its first `centroid_members` members, the stream's mean from the first `mean_questions`.
    `scores.py` says what a linkage compares.
    """

    threshold: float
    merge_threshold: float
    similarity: Similarity = "centred"
    linkage: Linkage = "adaptive"
    centroid_members: int = 256
    mean_questions: int = 1000

    @property
    def learning_members(self) -> int:
        """How many members a centroid learns from; with linkage `first` only the founder."""
        return 1 if self.linkage == "first" else self.centroid_members

    @property
    def learning_questions(self) -> int:
        """How many questions the mean learns from; none where similarity is the plain cosine."""
        return self.mean_questions if self.similarity == "centred" else 0
