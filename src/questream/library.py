"""The same online clustering in this process, for a notebook: no Kafka, no Redis unless you bring one."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import get_args

import numpy as np
from numpy.typing import ArrayLike

from questream.clusterer import Arrival, Clusterer
from questream.clustering.nearest import Neighbour
from questream.clustering.rules import Linkage, Rules, Similarity
from questream.domain import ClusterState, Decision, Matrix, Source
from questream.encoder import Encoder
from questream.errors import QuestreamError
from questream.settings import GRANULARITY_THRESHOLDS, Granularity
from questream.store.memory import MemoryStore
from questream.store.protocol import Identity, Store

__all__ = ["Assigned", "Neighbour", "QuestionClusterer"]

# As many at a time where a whole stream is at hand; docs/clustering.md says how little their number matters.
BATCH_QUESTIONS = 64

_TOPIC = "library"


@dataclass(frozen=True, slots=True)
class Assigned:
    """What a call of `assign` brought: a decision for each question in order, and the clusters that changed."""

    decisions: list[Decision]
    events: list[ClusterState]

    @property
    def ids(self) -> list[int]:
        """Cluster ids in order."""
        return [decision.cluster_id or 0 for decision in self.decisions]

    @property
    def scores(self) -> list[float]:
        """Similarities to the assigned clusters in order; 1 for a question that opened one."""
        return [decision.similarity or 0.0 for decision in self.decisions]


class QuestionClusterer:
    """Online clustering of questions, decided exactly as the worker does.

    Give an `encoder` (see `load_encoder`) to assign texts, or a `dimension` to assign vectors of your own. `threshold`
    overrides `granularity`: `intent`, `question` or `duplicate`. `store` defaults to memory.
    """

    def __init__(
        self,
        encoder: Encoder | None = None,
        *,
        dimension: int | None = None,
        granularity: Granularity = "question",
        threshold: float | None = None,
        merge_threshold: float | None = None,
        similarity: Similarity = "centred",
        linkage: Linkage = "adaptive",
        centroid_members: int = 256,
        mean_questions: int = 1000,
        namespace: str = "default",
        store: Store | None = None,
    ) -> None:
        for name, given, allowed in (
            ("granularity", granularity, get_args(Granularity)),
            ("similarity", similarity, get_args(Similarity)),
            ("linkage", linkage, get_args(Linkage)),
        ):
            if given not in allowed:
                raise ValueError(f"{name} is one of {', '.join(allowed)}")
        if encoder is None and dimension is None:
            raise ValueError("give an encoder to assign texts, or a dimension to assign vectors")
        self.encoder = encoder
        self.dimension = encoder.dimension if encoder is not None else int(dimension or 0)
        chosen = GRANULARITY_THRESHOLDS[granularity] if threshold is None else threshold
        self.rules = Rules(
            chosen,
            chosen if merge_threshold is None else merge_threshold,
            similarity,
            linkage,
            centroid_members,
            mean_questions,
        )
        self.namespace = namespace
        self._store = store if store is not None else MemoryStore()
        identity = Identity(
            encoder.name if encoder is not None else "vectors",
            encoder.revision if encoder is not None else "",
            self.dimension,
            similarity,
            linkage,
            chosen,
        )
        self._clusterer = Clusterer(self._store, identity, self.rules)
        self._clusterer.open(namespace)
        # Another clusterer may share the store: its questions must not look like ours again.
        self._partition = time.time_ns()
        self._next_offset = 0

    def assign(self, questions: Sequence[str] | ArrayLike) -> Assigned:
        """Assign texts, or vectors (n, dimension), in order; they learn, count and may open or merge clusters.

        Raises ValueError if vectors have another shape or are not finite, QuestreamError for texts without an encoder.
        """
        texts, vectors = self._embed(questions)
        now, first = int(time.time() * 1000), self._next_offset
        self._next_offset += len(texts)
        arrivals = [
            Arrival(Source(_TOPIC, self._partition, offset, now), text)
            for offset, text in enumerate(texts, start=first)
        ]
        # What went before has been handed over: its ledger may be forgotten.
        handed_over = {(_TOPIC, self._partition): first}
        incarnation = self._clusterer.settled(self.namespace)
        decided = self._clusterer.decide(self.namespace, incarnation, arrivals, vectors, handed_over)
        return Assigned(decided.decisions, decided.states)

    def nearest(self, question: str | ArrayLike, limit: int = 5) -> list[Neighbour]:
        """The clusters nearest to one text or vector (dimension,), best first; nothing is learned."""
        one = [question] if isinstance(question, str) else np.atleast_2d(np.asarray(question, np.float32))
        _, vectors = self._embed(one)
        self._clusterer.catch_up(self.namespace)
        return self._clusterer.nearest(self.namespace, vectors[0], limit)

    def survivors(self, ids: Iterable[int]) -> list[int]:
        """The cluster that each of these lives on in: itself, or the one that it was merged into."""
        given = list(ids)
        lives_in = {cluster_id: cluster_id for cluster_id in given}
        merged = self._merged_into(lives_in)
        while merged:
            lives_in = {cluster_id: merged.get(last, last) for cluster_id, last in lives_in.items()}
            merged = self._merged_into(lives_in.values())
        return [lives_in[cluster_id] for cluster_id in given]

    def clusters(self) -> list[ClusterState]:
        """All live clusters, largest first."""
        return sorted(self._store.clusters(self.namespace), key=lambda state: -state.size)

    def _merged_into(self, ids: Iterable[int]) -> dict[int, int]:
        states = self._store.states(self.namespace, sorted(set(ids)))
        return {state.cluster_id: state.merged_into for state in states if state.merged_into is not None}

    def _embed(self, questions: Sequence[str] | ArrayLike) -> tuple[list[str], Matrix]:
        if isinstance(questions, list | tuple) and questions and isinstance(questions[0], str):
            if self.encoder is None:
                raise QuestreamError("assigning texts takes an encoder: QuestionClusterer(load_encoder(...))")
            texts = [str(text) for text in questions]
            return texts, self.encoder.encode(texts)
        vectors = np.asarray(questions, np.float32)
        if vectors.size == 0:
            return [], np.empty((0, self.dimension), np.float32)
        if vectors.ndim != 2 or vectors.shape[1] != self.dimension:
            raise ValueError(f"vectors are (n, {self.dimension}), these are {vectors.shape}")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(vectors).all() or not lengths.all():
            raise ValueError("vectors must be finite and not zero")
        unit: Matrix = np.ascontiguousarray(vectors / lengths)
        return [""] * len(unit), unit
