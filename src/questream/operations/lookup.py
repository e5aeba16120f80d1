"""The decision that a question would get now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from questream.clustering.confidence import model_mark
from questream.clustering.levels import LevelRules
from questream.clustering.mirror import Mirror
from questream.clustering.nearest import NEIGHBOURS, Neighbour, assigned, first_alike, nearest_clusters
from questream.clustering.rules import Rules
from questream.clustering.second_look.features import features
from questream.clustering.stored_levels import Within, inherited
from questream.deciding.close_calls import Judge, with_verdicts
from questream.deciding.paths import LevelsNow, clusters_within, new_cluster_within
from questream.domain import ClusterState, Mode, NamespaceState, Naming, Outcome
from questream.encoder import Encoder
from questream.errors import QuestreamError
from questream.operations.binding import KnownQuestion
from questream.store.ledger import routed
from questream.store.protocol import Store


@dataclass(frozen=True, slots=True)
class Candidate:
    """A cluster near a question, and how near; `reason` says why it would be passed over, if it would.

    `within` says which intent and topic it is in, None where no worker has found that yet.
    """

    state: ClusterState
    similarity: float
    reason: str | None = None
    within: Within | None = None

    @property
    def naming(self) -> Naming:
        """Label and route as a decision has them: its own, else those of its intent, else of its topic."""
        own = self.state.label, self.state.route
        return own if self.within is None else inherited(own, self.within.inherited)


@dataclass(frozen=True, slots=True)
class Answer:
    """The decision that a question would get: the nearest clusters, best first, and the one to join, None if none.

    By the `mode` of the namespace it opens a cluster then, or is unmatched. `confidence`, `label`, `route` and
    `suggested_route` are those that a decision would have; `within` has the intent and topic of its cluster.
    """

    candidates: list[Candidate]
    joins: Candidate | None
    truncated: bool
    unknown_share: float = 0.0
    mode: Mode = "open"
    confidence: float | None = None
    label: str | None = None
    route: str | None = None
    suggested_route: str | None = None
    within: Within | None = None

    @property
    def outcome(self) -> Outcome:
        """The outcome that its decision would have."""
        if self.joins is not None:
            return "joined"
        return "unmatched" if self.mode == "known-only" else "created"


def ask(
    store: Store, namespace: str, encoder: Encoder, rules: Rules, text: str, judge: Judge | None = None, limit: int = 6
) -> Answer:
    """The decision that `text` would get now. Nothing is learned, counted or opened.

    A `judge` is asked about close calls. Raises QuestreamError if the namespace is not there or was built with another
    model, BadRecord if a worker would dead-letter the text.
    """
    require_same_model(store, namespace, encoder)
    mirror, levels = store.load(namespace), LevelsNow.of(store.levels(namespace))
    return ask_mirror(store, namespace, mirror, levels, encoder, rules, text, judge, limit)


def would_join(mirror: Mirror, rules: Rules, question: KnownQuestion) -> tuple[int, ...]:
    """The clusters that would take a question, the best first; none of them where its text is not kept.

    Without the text there is no second look, so that nobody knows which would pass it over.
    """
    if question.text is None:
        return ()
    rules = rules.in_force(mirror.rules)
    neighbours = nearest_clusters(mirror, rules, question.vector, NEIGHBOURS + 1, features(question.text))
    return tuple(one.cluster_id for one in neighbours if one.is_near(rules) and one.reason is None)


def with_next_best(mirror: Mirror, rules: Rules, questions: Sequence[KnownQuestion]) -> list[KnownQuestion]:
    """The questions, each with the clusters that would take it, and with which others it would open one.

    Without texts none opens one, nor where clusters open by imports alone.
    """
    in_force = rules.in_force(mirror.rules)
    first = first_alike(mirror, in_force, np.stack([one.vector for one in questions])) if questions else []
    return [
        replace(
            one,
            would_join=would_join(mirror, rules, one),
            opens=None if one.text is None or in_force.mode == "known-only" else group,
        )
        for one, group in zip(questions, first, strict=True)
    ]


def require_namespace(store: Store, namespace: str) -> NamespaceState:
    """The state of the namespace; raises QuestreamError if it is not there."""
    whole = store.namespace_state(namespace)
    if whole is None:
        raise QuestreamError(
            f"there is no namespace {namespace!r}", "`questream namespaces list` shows those there are"
        )
    return whole


def require_same_model(store: Store, namespace: str, encoder: Encoder) -> None:
    """Raises QuestreamError if the namespace is not there or was built with another model."""
    whole = require_namespace(store, namespace)
    if (whole.model, whole.model_revision, whole.dimension) != (encoder.name, encoder.revision, encoder.dimension):
        raise QuestreamError(
            f"namespace {namespace!r} was built with {whole.model!r} revision {whole.model_revision!r}, not"
            f" {encoder.name!r} revision {encoder.revision!r}",
            "set model.name and model.revision",
        )


def ask_mirror(
    store: Store,
    namespace: str,
    mirror: Mirror,
    levels: LevelsNow,
    encoder: Encoder,
    rules: Rules,
    text: str,
    judge: Judge | None = None,
    limit: int = 6,
) -> Answer:
    """As `ask`, with mirror and levels of the namespace that somebody keeps; its clusters are of the encoder's model.

    What people set for the namespace is in force, not what `rules` have in its place.
    """
    rules = rules.in_force(mirror.rules)
    (tokens,) = encoder.tokenise([text])
    (vector,) = encoder.encode_tokens([tokens])
    neighbours = nearest_clusters(mirror, rules, vector, max(limit, NEIGHBOURS), features(text))
    states = {state.cluster_id: state for state in store.states(namespace, [one.cluster_id for one in neighbours])}
    if judge is not None:
        texts = {cluster_id: state.representative or "" for cluster_id, state in states.items()}
        neighbours = with_verdicts(neighbours, rules, judge, text, texts)
    candidates = _candidates(neighbours, states, clusters_within(levels, mirror, states, LevelRules()))
    cluster = assigned(neighbours, rules).cluster
    joins = next((one for one in candidates if cluster and one.state.cluster_id == cluster.cluster_id), None)
    mark = model_mark(encoder.name, encoder.revision)
    confidence = None if joins is None else rules.confidence_of(joins.similarity, mark)
    if joins is not None:
        where, (label, given) = joins.within, joins.naming
    else:
        where = None if rules.mode == "known-only" else new_cluster_within(levels, mirror, vector[None], LevelRules())
        label, given = (None, None) if where is None else where.inherited
    route, suggested = routed(given, confidence, rules.routing_precision)
    return Answer(
        candidates[:limit],
        joins,
        tokens.truncated,
        tokens.unknown_share,
        rules.mode,
        confidence,
        label,
        route,
        suggested,
        where,
    )


def _candidates(
    neighbours: Sequence[Neighbour], states: Mapping[int, ClusterState], within: Mapping[int, Within]
) -> list[Candidate]:
    """The neighbours that are still there."""
    there = [one for one in neighbours if one.cluster_id in states]
    return [Candidate(states[one.cluster_id], one.similarity, one.reason, within.get(one.cluster_id)) for one in there]
