"""The same online clustering in this process, for a notebook: no Kafka, no Redis unless you bring one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import RLock
from typing import Any, get_args

from numpy.typing import ArrayLike

from questream.arguments import (
    check_namespace,
    check_parts,
    check_rules,
    check_thresholds,
    dimension_of,
    ids_of,
    limit_of,
    plain,
    texts_beside,
    texts_of,
    unit_vectors_of,
)
from questream.clustering.levels import LevelRules, Node, leaf, leaves_of
from questream.clustering.nearest import Neighbour
from questream.clustering.rules import Linkage, Rules, Similarity
from questream.deciding.batch import NamespaceBatch, NamespaceDecisions
from questream.deciding.close_calls import Judge
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.grouping import Grouping
from questream.deciding.namespaces import Namespaces
from questream.deciding.proposal import Arrival
from questream.domain import ClusterState, Decision, Matrix, Mode, Source
from questream.encoder import Encoder, Tokens
from questream.errors import QuestreamError
from questream.preparing import version_of_function, without_frame
from questream.settings import GRANULARITY_THRESHOLDS, Granularity
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.protocol import Identity, Store
from questream.store.reference.store import MemoryStore

__all__ = ["Assigned", "Neighbour", "QuestionClusterer"]

# As many at a time where a whole stream is at hand; docs/clustering.md says how little their number matters.
BATCH_QUESTIONS = 64

_TOPIC = "library"
_CHOICES = {"granularity": Granularity, "similarity": Similarity, "linkage": Linkage, "mode": Mode}


@dataclass(frozen=True, slots=True)
class Assigned:
    """The result of `assign`: a decision for each question in order, and the clusters that changed.

    `paths` are of the same questions, with `levels` alone: the cluster, its intent and its topic as of this call.
    """

    decisions: list[Decision]
    events: list[ClusterState]
    paths: list[tuple[Node, ...]] = field(default_factory=list)

    @property
    def ids(self) -> list[int]:
        """Cluster ids in order, 0 for a question that is in none."""
        return [decision.cluster_id or 0 for decision in self.decisions]

    @property
    def scores(self) -> list[float]:
        """Similarities to the assigned clusters in order; 1 for a question that opened one."""
        return [decision.similarity or 0.0 for decision in self.decisions]

    def __repr__(self) -> str:
        """A line with how many questions went where."""
        created = sum(decision.outcome == "created" for decision in self.decisions)
        return f"Assigned({len(self.decisions)} questions in {len(set(self.ids))} clusters, {created} of them new)"


class QuestionClusterer:
    """Online clustering of questions, decided exactly as the worker does.

    Give an `encoder` (see `load_encoder`) to assign texts, or a `dimension` to assign vectors of your own. `threshold`
    overrides `granularity`: `question` or `duplicate`. `prepare` makes of a text what is embedded and shown:
    of a mail the question in it, as a worker does by default; `str` leaves all as they are. `judge_features` passes
    over near clusters whose questions differ in a number, a name or a negation. With `mode="known-only"` what joins no
    cluster of the store opens none: it has cluster id None, 0 in `ids`. A `judge` (see `load_judge`) is asked
    about clusters less than `judge_margin` above the threshold. `store` defaults to memory.
    With `levels` clusters are grouped to intents and these to topics, from time to time, by this clusterer alone.

    Threads may share one: their calls take turns. Raises ValueError for a parameter that makes no sense, with what it
    may be.
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
        judge_features: bool = True,
        judge: Judge | None = None,
        judge_margin: float = 0.1,
        mode: Mode = "open",
        namespace: str = "default",
        store: Store | None = None,
        levels: LevelRules | None = None,
        prepare: Callable[[str], str] = without_frame,
    ) -> None:
        _check_choices(granularity=granularity, similarity=similarity, linkage=linkage, mode=mode)
        if encoder is None and dimension is None:
            raise ValueError("give an encoder to assign texts, or a dimension to assign vectors")
        check_parts(encoder, store, levels, judge, prepare)
        check_thresholds(threshold=threshold, merge_threshold=merge_threshold)
        check_rules(centroid_members=centroid_members, mean_questions=mean_questions)
        if judge is not None:
            check_rules(judge_margin=judge_margin)
        check_namespace(namespace)
        self.encoder = encoder
        self.dimension = encoder.dimension if encoder is not None else dimension_of(dimension)
        chosen = GRANULARITY_THRESHOLDS[granularity] if threshold is None else threshold
        self.rules = Rules(
            chosen,
            chosen if merge_threshold is None else merge_threshold,
            similarity,
            linkage,
            centroid_members,
            mean_questions,
            judge_features,
            0.0 if judge is None else judge_margin,
            mode,
        )
        self.namespace = namespace
        self.prepare = prepare
        self._store = store if store is not None else MemoryStore()
        name, revision, prepared_by = (
            ("vectors", "", "") if encoder is None else (encoder.name, encoder.revision, version_of_function(prepare))
        )
        identity = Identity(name, revision, self.dimension, similarity, linkage, chosen, prepared_by)
        self._namespaces = Namespaces(self._store, NamespaceConfig(identity, self.rules))
        self._namespaces.open(namespace)
        self._clusterer = Clusterer(self._store, self._namespaces, judge=judge)
        self._grouping = None if levels is None else Grouping(levels)
        # Another clusterer may share the store: its questions must not look like ours again.
        self._partition = time.time_ns()
        self._next_offset = 0
        self._turn = RLock()

    def __getstate__(self) -> dict[str, Any]:
        """All but the lock, which no other process can have."""
        return {name: value for name, value in self.__dict__.items() if name != "_turn"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _turn=RLock())

    def __repr__(self) -> str:
        """A line with what is compared and how."""
        what = f"dimension={self.dimension}" if self.encoder is None else repr(self.encoder)
        return f"QuestionClusterer({what}, threshold={self.rules.threshold:g}, namespace={self.namespace!r})"

    def assign(self, questions: Sequence[str] | ArrayLike, texts: Sequence[str] | None = None) -> Assigned:
        """Assign texts, or vectors (n, dimension), in order; they learn, count and may open or merge clusters.

        `texts` are those of the vectors, for a second look and to show.

        Lists, tuples, arrays and the Series of data frames all hold texts or vectors. Raises ValueError with the
        positions of what is no text (None, NaN), if vectors have another shape, are zero or not finite; QuestreamError
        for texts without an encoder; BadRecord with its position if a worker would dead-letter one of the texts.
        """
        embedded, tokens, vectors = self._embed(questions)
        texts = embedded if texts is None else texts_beside(texts, len(vectors))
        with self._turn:
            return self._decide(texts, tokens, vectors)

    def _decide(self, texts: Sequence[str], tokens: Sequence[Tokens | None], vectors: Matrix) -> Assigned:
        now, first = int(time.time() * 1000), self._next_offset
        self._next_offset += len(texts)
        arrivals = [
            Arrival(
                Source(_TOPIC, self._partition, offset, now),
                text,
                truncated=read is not None and read.truncated,
                unknown_share=0.0 if read is None else read.unknown_share,
            )
            for offset, (text, read) in enumerate(zip(texts, tokens, strict=True), start=first)
        ]
        # Earlier decisions have been handed over: their ledger may be forgotten.
        handed_over = {(_TOPIC, self._partition): first}
        store_epoch = self._namespaces.recovered(self.namespace)
        batch = NamespaceBatch(self.namespace, store_epoch, arrivals, vectors)
        self._clusterer.decide([batch], handed_over)
        decided = batch.decided()
        return Assigned(decided.decisions, decided.states, self._paths_of(decided))

    def path(self, cluster_id: int) -> tuple[Node, ...]:
        """A live cluster with its present intent and topic; without `levels` it is all three."""
        (cluster_id,) = ids_of([cluster_id])
        grouping = self._grouping or Grouping(LevelRules())
        with self._turn:
            return grouping.path(cluster_id)

    def regroup(self) -> None:
        """Find intents and topics anew now, as `assign` does from time to time. Raises ValueError without `levels`."""
        if self._grouping is None:
            raise ValueError("intents and topics are found with levels=LevelRules()")
        with self._turn:
            sizes = {state.cluster_id: state.size for state in self._store.clusters(self.namespace)}
            mirror = self._clusterer.mirrors.follow(self.namespace)
            self._grouping.run(leaves_of(mirror, sizes), self._next_offset)

    def _paths_of(self, decided: NamespaceDecisions) -> list[tuple[Node, ...]]:
        """The levels of the questions of a batch, before changed clusters are grouped again."""
        grouping = self._grouping
        if grouping is None:
            return []
        created = [one.cluster_id or 0 for one in decided.decisions if one.outcome == "created"]
        into = {state.cluster_id: state.merged_into for state in decided.states if state.merged_into is not None}
        grouping.add(self._clusterer.mirrors.follow(self.namespace), created)
        grouping.merge((_survivor(loser, into), loser) for loser in into)
        paths = []
        for decision in decided.decisions:
            cluster_id = decision.cluster_id or 0
            paths.append((leaf(cluster_id), *grouping.path(_survivor(cluster_id, into))[1:]))
        if grouping.is_due(self._next_offset):
            self.regroup()
        return paths

    def nearest(self, question: str | ArrayLike, limit: int = 5, text: str = "") -> list[Neighbour]:
        """The clusters nearest to one text or vector (dimension,), best first; nothing is learned.

        Of a text, and of a vector whose `text` is given, those near enough to join have had a second look: their
        `reason` says why one would be passed over.
        """
        one: Any = [question]
        limit = limit_of(limit)
        (text,) = texts_beside([text], 1)
        texts, _, vectors = self._embed(one)
        with self._turn:
            self._clusterer.mirrors.catch_up(self.namespace)
            return self._clusterer.mirrors.nearest(self.namespace, vectors[0], limit, texts[0] or text)[:limit]

    def survivors(self, ids: Iterable[int]) -> list[int]:
        """The cluster that each of these lives on in: itself, or the one that it was merged into."""
        given = ids_of(ids)
        with self._turn:
            chains = follow_aliases(self._store, self.namespace, given)
        return [survivor_of(cluster_id, chains[cluster_id]) for cluster_id in given]

    def clusters(self) -> list[ClusterState]:
        """All live clusters, largest first."""
        with self._turn:
            states = self._store.clusters(self.namespace)
        return sorted(states, key=lambda state: -state.size)

    def _embed(self, questions: Sequence[str] | ArrayLike) -> tuple[list[str], Sequence[Tokens | None], Matrix]:
        """Text, tokens and unit row of each question; of a vector there is no more than itself."""
        given = plain(questions)
        texts = texts_of(given)
        if texts is not None:
            if self.encoder is None:
                raise QuestreamError("assigning texts takes an encoder: QuestionClusterer(load_encoder(...))")
            prepared = [self.prepare(text) for text in texts]
            tokens = self.encoder.tokenise_all(prepared)
            return prepared, tokens, self.encoder.encode_tokens(tokens)
        unit = unit_vectors_of(given, self.dimension)
        return [""] * len(unit), [None] * len(unit), unit


def _check_choices(**given: str) -> None:
    for name, value in given.items():
        allowed = get_args(_CHOICES[name])
        if value not in allowed:
            hint = "; intents and topics are `levels` above clusters" if name == "granularity" else ""
            raise ValueError(f"{name} is one of {', '.join(allowed)}{hint}")


def _survivor(cluster_id: int, into: Mapping[int, int]) -> int:
    while cluster_id in into:
        cluster_id = into[cluster_id]
    return cluster_id
