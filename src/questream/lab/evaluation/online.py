"""A stream clustered in this process, decided exactly as workers do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import numpy as np

from questream.clustering.rules import Rules
from questream.deciding.close_calls import Judge
from questream.domain import Matrix
from questream.lab.evaluation.stream import Clustering
from questream.library import BATCH_QUESTIONS, QuestionClusterer
from questream.store.reference.store import MemoryStore


def cluster_online(
    vectors: Matrix,
    rules: Rules,
    texts: Sequence[str] | None = None,
    *,
    workers: int = 1,
    judge: Judge | None = None,
) -> Clustering:
    """The cluster of each unit vector (n, d), as published and after the stream, in micro-batches.

    `workers` on one store take the batches in turns: each looks at the clusters as of its own last batch,
    and learns of the others' when it commits. `texts` are those of the vectors; without them there is no second look,
    and no `judge` is asked.
    """
    store = MemoryStore()
    clusterers = [
        QuestionClusterer(dimension=vectors.shape[1], store=store, judge=judge, **options_of(rules))
        for _ in range(workers)
    ]
    published: list[int] = []
    similarities: list[float] = []
    for turn, start in enumerate(range(0, len(vectors), BATCH_QUESTIONS)):
        batch = slice(start, start + BATCH_QUESTIONS)
        of_batch = None if texts is None else texts[batch]
        assigned = clusterers[turn % workers].assign(vectors[batch], of_batch)
        published += assigned.ids
        similarities += [one.similarity or 0.0 if one.outcome == "joined" else np.nan for one in assigned.decisions]
    after = np.array(clusterers[0].survivors(published), np.int64)
    return Clustering(np.array(published, np.int64), after, np.array(similarities))


def options_of(rules: Rules) -> dict[str, Any]:
    """The rules as a `QuestionClusterer` takes them: all that say where a question goes."""
    beside = {"confidence", "routing_precision"}
    return {one.name: getattr(rules, one.name) for one in fields(rules) if one.name not in beside}
