"""Intents and topics of a stream, found through a store as workers find them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from questream.clustering.levels import LEVEL_NAMES, LevelRules, Levels, Node, leaf, leaves_of, regroup
from questream.clustering.rules import Rules
from questream.deciding.batch import NamespaceBatch
from questream.deciding.close_calls import Judge
from questream.deciding.clusterer import Clusterer
from questream.deciding.config import NamespaceConfig
from questream.deciding.level_runs import is_due, regroup_levels
from questream.deciding.namespaces import Namespaces
from questream.deciding.paths import LevelSnapshots
from questream.deciding.proposal import Arrival
from questream.domain import Decision, Matrix, Source
from questream.lab.evaluation.agreement import numbered
from questream.lab.evaluation.stream import Clustering
from questream.library import BATCH_QUESTIONS
from questream.store.aliases import follow_aliases, survivor_of
from questream.store.protocol import Identity
from questream.store.reference.store import MemoryStore

_NAMESPACE = "default"
_TOPIC = "questions"


def cluster_in_levels(
    vectors: Matrix,
    rules: Rules,
    level_rules: LevelRules,
    texts: Sequence[str] | None = None,
    judge: Judge | None = None,
) -> dict[str, Clustering]:
    """Intent and topic of each unit vector (n, d), as published and after the stream, by the level's name.

    As published is the `path` that the decision has; the levels are found anew where a worker with time for it would
    do so, after each micro-batch, and once more at the end. `texts` are those of the vectors; without them there is no
    second look, and no `judge` is asked.
    """
    stream = _Stream(vectors.shape[1], rules, level_rules, judge)
    published: list[tuple[str, ...]] = []
    for decisions in stream.decide_all(vectors, texts):
        published += map(_path_of, decisions)
        stream.find_levels_where_due()
    stream.find_levels()
    after = stream.paths_of([int(path[-1][1:]) for path in published])
    return {name: _clustering(published, after, -1 - level) for level, name in enumerate(LEVEL_NAMES, start=1)}


def levels_at(
    vectors: Matrix, rules: Rules, level_rules: Iterable[LevelRules], texts: Sequence[str] | None = None
) -> Iterator[list[tuple[str, ...]]]:
    """Topic, intent and cluster of each unit vector (n, d) after the stream, by each of the `level_rules`.

    Each finds the levels once, at the end, with nothing from before.
    """
    stream = _Stream(vectors.shape[1], rules, LevelRules(), None)
    decided = [decision.cluster_id or 0 for batch in stream.decide_all(vectors, texts) for decision in batch]
    for one in level_rules:
        yield stream.paths_of(decided, stream.levels_by(one))


class _Stream:
    """A namespace of a store in memory, with its levels."""

    def __init__(self, dimension: int, rules: Rules, level_rules: LevelRules, judge: Judge | None) -> None:
        identity = Identity("vectors", "", dimension, rules.similarity, rules.linkage, rules.threshold)
        self._store = MemoryStore()
        self._namespaces = Namespaces(self._store, NamespaceConfig(identity, rules))
        self._namespaces.open(_NAMESPACE)
        self._snapshots = LevelSnapshots()
        self._clusterer = Clusterer(self._store, self._namespaces, levels=self._snapshots, judge=judge)
        self._rules = level_rules

    def decide_all(self, vectors: Matrix, texts: Sequence[str] | None) -> Iterator[Sequence[Decision]]:
        """Decide a stream, a micro-batch at a time."""
        for start in range(0, len(vectors), BATCH_QUESTIONS):
            batch = slice(start, start + BATCH_QUESTIONS)
            of_batch = [""] * len(vectors[batch]) if texts is None else texts[batch]
            yield self.decide(vectors[batch], of_batch, start)

    def decide(self, vectors: Matrix, texts: Sequence[str], first: int) -> Sequence[Decision]:
        """Decide a micro-batch, whose questions begin at the place `first` of the stream."""
        arrivals = [Arrival(Source(_TOPIC, 0, first + at, 0), text) for at, text in enumerate(texts)]
        batch = NamespaceBatch(_NAMESPACE, self._namespaces.recovered(_NAMESPACE), arrivals, vectors)
        self._clusterer.decide([batch], {(_TOPIC, 0): first})
        return batch.decided().decisions

    def find_levels_where_due(self) -> None:
        """Find the levels anew if so many clusters were opened since the last run."""
        if is_due(self._store.levels_marks([_NAMESPACE])[_NAMESPACE]):
            self.find_levels()

    def find_levels(self) -> None:
        """Find the levels anew; decisions name them from the next batch on."""
        mirror = self._store.load(_NAMESPACE)
        sizes = {state.cluster_id: state.size for state in self._store.summaries(_NAMESPACE)}
        found, _ = regroup_levels(mirror, sizes, self._store.levels(_NAMESPACE), self._rules)
        self._store.write_levels(_NAMESPACE, mirror.store_epoch, found)
        self._snapshots.note(_NAMESPACE, self._store.levels(_NAMESPACE))

    def levels_by(self, rules: LevelRules) -> Levels:
        """The levels of the clusters as they are, found with nothing from before."""
        sizes = {state.cluster_id: state.size for state in self._store.summaries(_NAMESPACE)}
        return regroup(leaves_of(self._store.load(_NAMESPACE), sizes), Levels(), rules).levels

    def paths_of(self, cluster_ids: Sequence[int], found: Levels | None = None) -> list[tuple[str, ...]]:
        """Topic, intent and surviving cluster of each, in levels that were `found`, or the present ones."""
        levels = found or self._store.levels(_NAMESPACE).levels
        chains = follow_aliases(self._store, _NAMESPACE, cluster_ids)
        survivors = {one: survivor_of(one, chains[one]) for one in set(cluster_ids)}
        return [_named(levels.path(survivors[one])) for one in cluster_ids]


def _path_of(decision: Decision) -> tuple[str, ...]:
    """The published path; a cluster alone, or from before levels were found, is its own intent and topic."""
    own = str(leaf(decision.cluster_id or 0))
    return decision.path or (own, own, own)


def _named(path: Sequence[Node]) -> tuple[str, ...]:
    own, intent, topic = path
    return str(topic), str(intent), str(own)


def _clustering(published: Sequence[tuple[str, ...]], after: Sequence[tuple[str, ...]], at: int) -> Clustering:
    numbers = numbered([*(path[at] for path in published), *(path[at] for path in after)])
    return Clustering(numbers[: len(published)], numbers[len(published) :])
