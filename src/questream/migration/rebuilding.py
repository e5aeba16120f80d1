"""Embed a namespace's clusters with another model, and keep up with the stream while it goes on with the old one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Literal, TypeVar

import numpy as np

from questream.broker.decided import DecidedTopics, Place, Published
from questream.clustering.constraints import pack_vector
from questream.clustering.rules import Rules
from questream.domain import ClusterState, Exemplar, Matrix, Vector
from questream.encoder import Encoder
from questream.errors import BadRecord
from questream.migration.centroids import Centroids
from questream.migration.chosen import Chosen
from questream.operations import live_cluster
from questream.store.protocol import Store

# What the new model would have done with a question: the same, join another cluster, open one where the old model
# joined (apart), or join one where the old model opened (together).
Verdict = Literal["same", "elsewhere", "apart", "together"]

_TEXTS_AT_ONCE = 256

T = TypeVar("T")


class Rebuilding:
    """The new centroids of one namespace on their way. Question texts are read, embedded and forgotten.

    With `topics` they come from the input topic, else from the store, which keeps one text of each cluster where
    `clusters.keep_texts` holds. `on_progress` gets how many texts are embedded, and of how many. Calls raise what
    store and topics raise.
    """

    def __init__(
        self,
        store: Store,
        namespace: str,
        topics: DecidedTopics | None,
        encoder: Encoder,
        rules: Rules,
        on_progress: Callable[[int, int], None],
    ) -> None:
        self._store = store
        self._namespace = namespace
        self._topics = topics
        self._encoder = encoder
        self._rules = rules
        self._on_progress = on_progress
        self.centroids = Centroids(encoder.dimension, rules)
        # What `complete` learned from before its decisions were read: clusters by their kept text, questions by place.
        self._completed: set[int] = set()
        self._completed_from: set[Place] = set()

    def read_history(self, members: int) -> None:
        """Embed the first `members` questions of each cluster that the input topic still has, and the mean's sample."""
        if self._topics is None:
            return
        learned = min(members, self._rules.learning_members)
        chosen = Chosen(learned, self._rules.mean_questions, self._topics.first_offsets())
        for published in self._topics.read_decisions():
            chosen.note(published)
        cluster_of = {place: cluster_id for cluster_id, places in chosen.by_cluster.items() for place in places}
        in_sample = set(chosen.sample)
        sample: list[Vector] = []
        for place, vector in self._embed_places(cluster_of.keys() | in_sample):
            if place in cluster_of:
                self.centroids.learn(cluster_of[place], vector)
            if place in in_sample:
                sample.append(vector)
        if sample:
            self.centroids.set_mean(np.stack(sample))
        self.follow_store()

    def read_news(self) -> list[Verdict]:
        """Follow the decisions that come within a moment; returns what the new model says to each."""
        verdicts = []
        if self._topics is not None:
            for published, vector in self._vectors_of(self._topics.wait_for_decisions()):
                verdicts.append(self._judge(published, vector))
                self._learn(published, vector)
        return verdicts

    def read_rest(self) -> None:
        """Follow all decisions that are published by now, as far as there is something to learn from them."""
        if self._topics is not None:
            news = [published for published in self._topics.read_decisions() if self._may_learn(published.cluster_id)]
            for published, vector in self._vectors_of(news):
                self._learn(published, vector)

    def follow_store(self) -> None:
        """Follow what was merged and retired by now."""
        gone = set(self.centroids.mirror.ids.tolist()) - {s.cluster_id for s in self._store.summaries(self._namespace)}
        self.centroids.follow({cluster_id: self._survivor(cluster_id) for cluster_id in sorted(gone)})

    def complete(self, live: Sequence[ClusterState]) -> list[int]:
        """Embed those of the live clusters that are not yet, and return the ids of those whose texts are nowhere.

        What was decided and not published yet is in the cluster's state; else the text that the store keeps is
        taken.
        """
        missing = [state for state in live if state.cluster_id not in self.centroids]
        if self._topics is not None:
            topic = self._topics.input_topic
            places = {
                (partition, offset): state.cluster_id
                for state in missing
                for (its_topic, partition), offsets in state.in_flight.joins.items()
                if its_topic == topic
                for offset in offsets
            }
            for place, vector in self._embed_places(places):
                self.centroids.learn(places[place], vector)
                self._completed_from.add(place)
        kept = [s for s in missing if s.cluster_id not in self.centroids and s.representative is not None]
        vectors = list(self._embed(((s, s.representative or "") for s in kept), len(kept)))
        for state, vector in vectors:
            self.centroids.learn(state.cluster_id, vector)
            self._completed.add(state.cluster_id)
        if vectors and not self.centroids.mirror.mean_questions:
            # One text represents all questions of its cluster.
            self.centroids.set_mean(np.stack([vector for _, vector in vectors]), [s.size for s, _ in vectors])
        return [state.cluster_id for state in live if state.cluster_id not in self.centroids]

    def exemplars_of(self, live: Sequence[ClusterState]) -> dict[int, tuple[Exemplar, ...]]:
        """The exemplars of the live clusters, embedded anew, without those whose questions are nowhere."""
        owned = {one.name: (state.cluster_id, one) for state in live for one in state.ruling.exemplars}
        texts = {name: one.text for name, (_, one) in owned.items() if one.text is not None}
        vectors = dict(self._embed(texts.items(), len(texts)))
        if self._topics is not None:
            places = {
                one.place[1:]: name
                for name, (_, one) in owned.items()
                if name not in vectors and one.place is not None and one.place[0] == self._topics.input_topic
            }
            vectors |= {places[place]: vector for place, vector in self._embed_places(places)}
        found: dict[int, tuple[Exemplar, ...]] = {}
        for name, (cluster_id, one) in owned.items():
            if name in vectors:
                anew = replace(one, vector=pack_vector(vectors[name]))
                found[cluster_id] = (*found.get(cluster_id, ()), anew)
        return found

    def _vectors_of(self, decisions: Sequence[Published]) -> Iterator[tuple[Published, Vector]]:
        """Decisions in their order, without those that `complete` has learned from before they came."""
        fresh = [
            published
            for published in decisions
            if published.place not in self._completed_from
            and not (published.created and published.cluster_id in self._completed)
        ]
        vectors = dict(self._embed_places(published.place for published in fresh))
        for published in fresh:
            vector = vectors.get(published.place)
            if vector is not None:
                yield published, vector

    def _learn(self, published: Published, vector: Vector) -> None:
        self.centroids.learn_mean(vector)
        self.centroids.learn(published.cluster_id, vector)

    def _may_learn(self, cluster_id: int) -> bool:
        mirror = self.centroids.mirror
        if mirror.mean_questions < self._rules.mean_questions or cluster_id not in self.centroids:
            return True
        return mirror.member_count(cluster_id) < self._rules.learning_members

    def _judge(self, published: Published, vector: Vector) -> Verdict:
        nearest = self.centroids.nearest(vector)
        if published.created:
            return "same" if nearest is None else "together"
        if nearest is None:
            return "apart"
        return "same" if nearest.cluster_id == self._survivor(published.cluster_id) else "elsewhere"

    def _survivor(self, cluster_id: int) -> int | None:
        """The survivor of a cluster, itself if it was not merged; None if it is gone."""
        try:
            return live_cluster(self._store, self._namespace, cluster_id).cluster_id
        except KeyError:
            return None

    def _embed_places(self, places: Iterable[Place]) -> Iterator[tuple[Place, Vector]]:
        wanted = set(places)
        if self._topics is not None and wanted:
            found = self._topics.questions(wanted)
            yield from self._embed(((place, question.text) for place, question in found), len(wanted))

    def _embed(self, texts: Iterable[tuple[T, str]], count: int) -> Iterator[tuple[T, Vector]]:
        done, rest = 0, iter(texts)
        while chunk := list(islice(rest, _TEXTS_AT_ONCE)):
            vectors = self._encode([text for _, text in chunk])
            done += len(chunk)
            self._on_progress(done, count)
            for (named, _), vector in zip(chunk, vectors, strict=True):
                if np.isfinite(vector).all():
                    yield named, vector

    def _encode(self, texts: Sequence[str]) -> Matrix:
        """Unit rows; of a text that this model cannot take, a row that is not finite."""
        try:
            return self._encoder.encode(texts)
        except BadRecord:
            nothing: Matrix = np.full((1, self._encoder.dimension), np.nan, np.float32)
            rows = []
            for text in texts:
                try:
                    rows.append(self._encoder.encode([text]))
                except BadRecord:
                    rows.append(nothing)
            return np.concatenate(rows)
