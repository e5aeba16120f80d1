"""Whether clusters hold unrelated questions: by the stream's mean alone, or by the clusters that there are.

With the mean m subtracted, the cosines of unrelated questions lie around 0 with a standard deviation of .33 to .39 |m|
(docs/clustering.md), so that hardly any reaches |m|. Before, they lie around m.m, and hardly any reaches
m.m + (1 - m.m) |m|. A threshold below that joins questions that have nothing but the stream in common.

That is so where the mean is what a subject or a model gives to all questions. Where questions have a mean cosine of a
half or more, it is mostly what they ask, or the model gives any two texts a high cosine: neither shows how near
unrelated questions come.
"""

from __future__ import annotations

import math

import numpy as np

from questream.clustering.mirror import Mirror
from questream.clustering.rules import MEAN_PRIOR_QUESTIONS, Similarity
from questream.domain import Vector

# Fewer say little of the mean of a stream.
FEWEST_QUESTIONS = 100
# The mean plain cosine of questions that are alike in more than a subject.
_ALIKE = 0.5
# A cluster of so many questions is loose if their mean cosine to each other is less: as little as levels ask of a
# cluster and the others of its intent.
_FEWEST_MEMBERS = 10
_LEAST_MEAN_COSINE = 0.2


def least_threshold(mean_sum: Vector, questions: int, similarity: Similarity) -> float | None:
    """The least threshold, in thousandths, that unrelated questions of a stream do not reach.

    `mean_sum` (d,) is the sum of so many of its questions; None where these are too few or too alike to know.
    """
    length = float(np.linalg.norm(mean_sum)) / max(questions, 1)
    if questions < FEWEST_QUESTIONS or length**2 >= _ALIKE:
        return None
    reached = length if similarity == "centred" else length**2 + (1.0 - length**2) * length
    return math.ceil(1000.0 * reached) / 1000.0


def loose_share(mirror: Mirror) -> float:
    """The share of the centroids' members that are in loose clusters, which hold questions with little in common.

    That is a mean cosine of less than .2 between ten or more, with the stream's mean subtracted, and of less than a
    half without that.
    """
    members = mirror.members.astype(np.float64)
    mean = mirror.mean_sum.astype(np.float64) / (mirror.mean_questions + MEAN_PRIOR_QUESTIONS)
    dot_mean = mirror.dot_mean / (members * (mirror.mean_questions + MEAN_PRIOR_QUESTIONS))
    shifted = float(mean @ mean) - 2.0 * dot_mean
    cohesion = (mirror.dot_self / members**2 + shifted) / np.maximum(1.0 + shifted, 1e-9)
    mean_cosine = (members * cohesion - 1.0) / np.maximum(members - 1.0, 1.0)
    plain_cosine = (mirror.dot_self / members - 1.0) / np.maximum(members - 1.0, 1.0)
    loose = (members >= _FEWEST_MEMBERS) & (mean_cosine < _LEAST_MEAN_COSINE) & (plain_cosine < _ALIKE)
    return float(members[loose].sum() / max(members.sum(), 1.0))
