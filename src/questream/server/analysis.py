"""Answers which cluster a question would join, with a model that is loaded once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import numpy as np

from questream.clustering.mirror import Mirror
from questream.clustering.nearest import Neighbour, nearest_clusters, similarities
from questream.clustering.rules import Rules
from questream.deciding.config import rules_of
from questream.domain import ClusterState, Matrix, NamespaceRules, NamespaceState
from questream.encoder import CrossEncoderJudge, Encoder, load_encoder, load_judge
from questream.errors import QuestreamError
from questream.operations import Answer, ask_mirror
from questream.operations.binding import KnownQuestion
from questream.operations.intents import ImportPlan, plan_import
from questream.operations.lookup import with_next_best
from questream.operations.suggesting import Suggestion, find_suggestions, largest_first, ruled_clusters
from questream.server.catalogue import Nearness
from questream.server.failures import read_failure, without_traceback
from questream.server.levels import CurrentLevels
from questream.server.mirrors import Mirrors
from questream.server.problems import Refused, loading
from questream.settings import Settings
from questream.store.protocol import ProposedOperation, Store
from questream.tools.importing import embedded
from questream.tools.intent_files import GivenIntent
from questream.tools.lookup import question_of
from questream.tools.previewing import OperationEffect, effect_of
from questream.tools.questions import ReadQuestion, chosen_question, known_questions
from questream.tools.rules import Effect, Values, effect_on
from questream.tools.splitting import MixedCluster, find_mixed_clusters, kept_nearer, proposed_part
from questream.tools.stored_sentences import StoredSentences
from questream.tools.suggestions import rules_built_with, rules_in_use
from questream.tools.unmerging import Joined, joined_questions

logger = logging.getLogger(__name__)

# For suggestions and the effect of rules: some seconds of a processor.
_MOST_PAIRS = 10_000_000
_MOST_SUGGESTIONS = 1000


class Analysis:
    """Answers which clusters texts would join. The model is loaded in the background from `start` on. Thread-safe."""

    def __init__(self, settings: Settings, store: Store, mirrors: Mirrors, levels: CurrentLevels) -> None:
        self._settings = settings
        self._store = store
        self._sentences = StoredSentences(lambda: store)
        self._mirrors = mirrors
        self._levels = levels
        self._loaded = threading.Event()
        self._device = threading.Lock()
        self._encoders: list[Encoder] = []
        self._judge: CrossEncoderJudge | None = None
        self._failure: QuestreamError | None = None

    def start(self) -> None:
        """Begin to load the model."""
        threading.Thread(target=self._load, name="model", daemon=True).start()

    def take(self, *encoders: Encoder) -> None:
        """Answer with these from now on."""
        self._encoders = list(encoders)
        self._loaded.set()

    def ask(self, namespace: str, text: str) -> tuple[Answer, Rules]:
        """The cluster that a text would join, and the rules of that. Nothing is learned or counted.

        Raises Refused while model or centroids are being loaded, QuestreamError for a text that a worker would refuse
        and for a namespace of another model, and what the store raises.
        """
        question = self._prepared(namespace, text)
        encoder = self._encoder_of(namespace)
        rules = rules_of(self._settings, encoder)
        levels = self._levels.now(namespace)
        with self._mirrors.of(namespace) as mirror, self._device:
            answer = ask_mirror(self._store, namespace, mirror, levels, encoder, rules, question, self._judge)
            return answer, rules.in_force(mirror.rules)

    def _prepared(self, namespace: str, text: str) -> str:
        return question_of(text, self._settings, self._sentences, namespace)

    def near(self, namespace: str, text: str) -> Nearness:
        """The similarity of each cluster to a text. Raises what `ask` raises."""
        encoder = self._encoder_of(namespace)
        (vector,) = _Locked(encoder, self._device).encode([self._prepared(namespace, text)])
        rules = rules_of(self._settings, encoder)
        with self._mirrors.of(namespace) as mirror:
            found = similarities(mirror, rules.in_force(mirror.rules), vector)
            order = np.argsort(mirror.ids)
            return Nearness(mirror.ids[order], found[order])

    def known(self, namespace: str, question_ids: Sequence[str]) -> list[KnownQuestion]:
        """The questions of these ids, read again from Kafka, as `known_questions`, whose errors it raises.

        Raises Refused while the model or centroids are being loaded.
        """
        encoder = self._encoder_of(namespace)
        found = known_questions(self._settings, namespace, self._locked(namespace), question_ids)
        with self._mirrors.of(namespace) as mirror:
            return with_next_best(mirror, rules_of(self._settings, encoder), found)

    def chosen(self, namespace: str, question_id: str | None, text: str | None) -> ReadQuestion:
        """A question that is to represent a cluster, as `chosen_question`, whose errors it raises. Needs no model."""
        return chosen_question(self._settings, namespace, question_id, text)

    def given(self, namespace: str, texts: Sequence[str], cluster_id: int | None) -> list[KnownQuestion]:
        """Questions of which there is a text alone, in a cluster, else in the one that each would join now.

        Raises Refused where one would join none, and what `ask` raises.
        """
        found = []
        for text in texts:
            joins = None if cluster_id is not None else self.ask(namespace, text)[0].joins
            if cluster_id is None and joins is None:
                raise Refused(HTTPStatus.CONFLICT, "a text would join no cluster now", "give its cluster_id")
            owner = cluster_id if joins is None else joins.state.cluster_id
            prepared = self._prepared(namespace, text)
            (vector,) = self._locked(namespace).encode([prepared])
            kept = prepared if self._settings.clusters.keep_texts else None
            found.append(KnownQuestion(owner or 0, vector, None, kept))
        return found

    def part_of(self, namespace: str, cluster_id: int) -> list[KnownQuestion]:
        """The part of a cluster that may be another, as `proposed_part`, whose errors it raises.

        Raises Refused while the model or centroids are being loaded, as `nearer`.
        """
        return proposed_part(self._settings, self._store, namespace, cluster_id, self._locked(namespace))

    def nearer(self, namespace: str, cluster_id: int, found: Sequence[KnownQuestion]) -> list[KnownQuestion]:
        """The kept members that are nearer to these questions than to the rest of a cluster, as `kept_nearer`."""
        return kept_nearer(self._settings, self._store, namespace, cluster_id, self._locked(namespace), found)

    def joined(self, namespace: str, cluster_id: int | None) -> Joined:
        """The questions that joined what a cluster was merged into, since then; none of no cluster.

        Raises Refused while the model is being loaded.
        """
        try:
            return joined_questions(self._settings, self._store, namespace, cluster_id, lambda: self._locked(namespace))
        except Refused as refused:
            if refused.status == HTTPStatus.SERVICE_UNAVAILABLE:
                raise
            return Joined(unknown=f"questions that joined since stay where they were decided: {refused.detail}")

    def effect_of_operation(self, namespace: str, proposed: ProposedOperation, most: int) -> OperationEffect:
        """The effect of an operation on the questions of its clusters, of the last `most` decisions too.

        Raises Refused where questions have to be scored, and the model is not there; KafkaUnavailable, KafkaRefused.
        """

        def scoring() -> tuple[_Locked, Rules]:
            return self._locked(namespace), rules_of(self._settings, self._encoder_of(namespace))

        return effect_of(self._settings, self._store, namespace, proposed, most, scoring)

    def _locked(self, namespace: str) -> _Locked:
        return _Locked(self._encoder_of(namespace), self._device)

    def _encoder_of(self, namespace: str) -> Encoder:
        if not self._loaded.is_set():
            raise loading("the model's files")
        if self._failure is not None:
            raise without_traceback(self._failure)
        whole = self._store.namespace_state(namespace)
        encoder = next((one for one in self._encoders if whole is not None and _is_of(one, whole)), None)
        if encoder is None:
            raise Refused(
                HTTPStatus.CONFLICT,
                f"{namespace} was built with another model than this server has",
                "set model.name and model.revision as its workers have them",
            )
        return encoder

    def nearest(self, namespace: str, cluster_id: int, limit: int) -> list[Neighbour]:
        """The clusters nearest to one, best first. Needs no model.

        Raises Refused while the centroids are being read, and what the store raises.
        """
        whole = self._store.namespace_state(namespace)
        with self._mirrors.of(namespace) as mirror:
            if whole is None or cluster_id not in mirror.row_of:
                return []
            return _nearest(mirror, rules_built_with(whole), cluster_id, limit)

    def merges(self, namespace: str, states: Mapping[int, ClusterState]) -> list[Suggestion]:
        """The merges of these clusters that people's decisions forbid, the largest first. Needs no model.

        Raises Refused while the centroids are being read, and what the store raises.
        """
        rules, ruled = self.rules(namespace), ruled_clusters(states)
        # In parts: nobody else has the mirror meanwhile.
        at_once = max(1, _MOST_PAIRS // max(1, len(states)))
        found: dict[tuple[int, ...], Suggestion] = {}
        for start in range(0, len(ruled), at_once):
            with self._mirrors.of(namespace) as mirror:
                part = find_suggestions(mirror, states, rules, _MOST_SUGGESTIONS, ruled[start : start + at_once])
            found.update((tuple(state.cluster_id for state in one.clusters), one) for one in part)
        return largest_first(found.values(), _MOST_SUGGESTIONS)

    def plan_of(self, namespace: str, path: Path, given: Iterable[GivenIntent]) -> ImportPlan:
        """The plan of an import of intents; nothing is changed. `path` is the file that errors name.

        Raises Refused while the model is being loaded, QuestionFileError for an example, OperationRefused for too many.
        """
        encoder = self._encoder_of(namespace)
        known = embedded(self._settings, path, given, self._locked(namespace), encoder.dimension)
        rules, keep_texts = rules_of(self._settings, encoder), self._settings.clusters.keep_texts
        return plan_import(self._store, namespace, rules, known, keep_texts=keep_texts)

    def require_ready(self, namespace: str) -> None:
        """Raises Refused while the model or centroids of a namespace are being loaded, and for one of another model."""
        self._encoder_of(namespace)
        self.require_centroids(namespace)

    def require_centroids(self, namespace: str) -> None:
        """Raises Refused while the centroids of a namespace are being read, and what the store raises."""
        with self._mirrors.of(namespace):
            pass

    def mixed_clusters(self, namespace: str, states: Iterable[ClusterState]) -> list[MixedCluster]:
        """Clusters that look like two, the largest first; questions are read again, which takes seconds.

        Raises Refused while the model or centroids are being loaded; KafkaUnavailable, KafkaRefused.
        """
        return find_mixed_clusters(
            self._settings,
            self._store,
            namespace,
            states,
            self.rules(namespace),
            self._locked(namespace),
            lambda: self._mirrors.of(namespace),
        )

    def rules(self, namespace: str) -> Rules:
        """The rules that a namespace clusters by, from the store and these settings. Needs no model."""
        whole = self._store.namespace_state(namespace)
        if whole is None:
            raise Refused(
                HTTPStatus.NOT_FOUND,
                f"there is no namespace {namespace}",
                "it was deleted a moment ago; begin at the list",
            )
        return rules_in_use(whole, self._settings, {})

    def effect(self, namespace: str, states: Collection[ClusterState], values: Values) -> Effect:
        """The effect of rules on the clusters. Needs no model. Raises Refused while the centroids are being read."""
        now = self.rules(namespace)
        with self._mirrors.of(namespace) as mirror:
            then = now.in_force(NamespaceRules.of(mirror.rules.values() | values))
            return effect_on(mirror, states, now, then, _MOST_PAIRS)

    def _load(self) -> None:
        try:
            former = self._settings.model.former_settings
            self._judge = load_judge(self._settings.judge, self._settings.model.device)
            self.take(load_encoder(self._settings.model), *([] if former is None else [load_encoder(former)]))
        except Exception as error:
            self._failure = read_failure(error, "the model")
            logger.warning("the model is not loaded: no question can be assigned", extra={"reason": str(self._failure)})
        finally:
            self._loaded.set()


@dataclass(frozen=True, slots=True)
class _Locked:
    """An encoder that one thread at a time uses."""

    encoder: Encoder
    device: threading.Lock

    def encode(self, texts: Sequence[str]) -> Matrix:
        with self.device:
            return self.encoder.encode(texts)


def _nearest(mirror: Mirror, rules: Rules, cluster_id: int, limit: int) -> list[Neighbour]:
    vector_sum = mirror.vector_sum(cluster_id)
    length = float(mirror.dot_self[mirror.row_of[cluster_id]]) ** 0.5
    found = nearest_clusters(mirror, rules, vector_sum / max(length, 1e-9), limit + 1)
    return [one for one in found if one.cluster_id != cluster_id][:limit]


def _is_of(encoder: Encoder, whole: NamespaceState) -> bool:
    mine = (encoder.name, encoder.revision, encoder.dimension)
    return mine == (whole.model, whole.model_revision, whole.dimension)
