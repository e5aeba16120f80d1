"""The similarity that unrelated questions of a stream reach, by the stream's mean alone.

With the mean m subtracted, the cosines of unrelated questions lie around 0 with a standard deviation of .33 to .39 |m|
(docs/clustering.md), so that hardly any reaches |m|. Before, they lie around m.m, and hardly any reaches
m.m + (1 - m.m) |m|. A threshold below that joins questions that have nothing but the stream in common.
"""

from __future__ import annotations

from questream.clustering.rules import Similarity


def reached_by_unrelated(mean_length: float, similarity: Similarity) -> float:
    """The least threshold that unrelated questions of a stream do not reach; `mean_length` is |m|."""
    return mean_length if similarity == "centred" else mean_length**2 + (1.0 - mean_length**2) * mean_length
