"""A stream clustered in this process, decided exactly as workers do."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.lab.evaluation.stream import Clustering
from questream.library import BATCH_QUESTIONS, QuestionClusterer
from questream.store.reference.store import MemoryStore


def cluster_online(
    vectors: Matrix, rules: Rules, *, workers: int = 1, batch_questions: int = BATCH_QUESTIONS
) -> Clustering:
    """The cluster of each unit vector (n, d), as published and after the stream, in micro-batches.

    `workers` on one store take the batches in turns: each looks at the clusters as they stood at its own last batch,
    and learns of the others' when it commits.
    """
    store = MemoryStore()
    clusterers = [QuestionClusterer(dimension=vectors.shape[1], store=store, **asdict(rules)) for _ in range(workers)]
    published: list[int] = []
    for turn, start in enumerate(range(0, len(vectors), batch_questions)):
        published += clusterers[turn % workers].assign(vectors[start : start + batch_questions]).ids
    return Clustering(np.array(published, np.int64), np.array(clusterers[0].survivors(published), np.int64))
