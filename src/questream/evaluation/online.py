"""A stream clustered in this process, decided exactly as workers do."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from questream.clustering.rules import Rules
from questream.domain import Matrix
from questream.evaluation.agreement import Labels
from questream.evaluation.stream import Clustering
from questream.library import QuestionClusterer
from questream.store.memory import MemoryStore

BATCH_QUESTIONS = 64


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
    survivors: dict[int, int] = {}
    for turn, start in enumerate(range(0, len(vectors), batch_questions)):
        assigned = clusterers[turn % workers].assign(vectors[start : start + batch_questions])
        published += assigned.ids
        survivors.update((e.cluster_id, e.merged_into) for e in assigned.events if e.merged_into is not None)
    return Clustering(np.array(published, np.int64), _after(published, survivors))


def _after(published: list[int], survivors: dict[int, int]) -> Labels:
    def survivor(number: int) -> int:
        while number in survivors:
            number = survivors[number]
        return number

    return np.array([survivor(number) for number in published], np.int64)
