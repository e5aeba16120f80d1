"""Suggestions of a running stream: found in its present store, by the rules of its workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, get_args

from questream.clustering.rules import Linkage, Rules, Similarity
from questream.domain import ClusterState, Dismissible, NamespaceState, format_cluster_id
from questream.errors import QuestreamError
from questream.operations.lookup import require_namespace
from questream.operations.suggesting import Suggestion, find_suggestions, find_unnamed, pairs_compared
from questream.settings import Settings
from questream.store.redis.store import RedisStore
from questream.stream.settings_in_use import settings_of
from questream.tools.lookup import encoder_in
from questream.tools.splitting import MixedCluster, find_mixed_clusters

# About a minute of a processor.
MOST_PAIRS = 200_000_000


def suggestions(store: RedisStore, namespace: str, settings: Settings, most: int) -> list[Suggestion]:
    """The merges of a namespace that wait for people, the largest first. Nothing is stored; it needs no model.

    Raises QuestreamError for a namespace that was never opened, or of too many ruled clusters.
    """
    whole = require_namespace(store, namespace)
    states = {state.cluster_id: state for state in store.summaries(namespace)}
    if not pairs_compared(states):
        return []
    if pairs_compared(states) > MOST_PAIRS:
        raise QuestreamError(
            f"{pairs_compared(states):,} pairs of ruled clusters with all others are more than the"
            f" {MOST_PAIRS:,} that can be compared at once",
            "let unused clusters retire (`clusters.retention_seconds`, `clusters.max_clusters`)",
        )
    notes = store.noted_settings(namespace)
    noted = settings_of(notes[0][2]) if notes else {}
    return find_suggestions(store.load(namespace), states, rules_in_use(whole, settings, noted), most)


def unnamed(store: RedisStore, namespace: str, most: int) -> list[ClusterState]:
    """Large clusters of a namespace without a label, the largest first, as `find_unnamed`."""
    return find_unnamed(store.summaries(namespace), store.levels(namespace).labelled())[:most]


def mixed_clusters(store: RedisStore, namespace: str, settings: Settings, most: int) -> list[MixedCluster]:
    """Clusters of a namespace that look like two, the largest first: 40 are looked at, by the model and Kafka.

    Raises QuestreamError for a namespace that is not there or has another model; ModelError, KafkaUnavailable,
    KafkaRefused.
    """
    encoder, whole = encoder_in(settings, store, namespace), store.namespace_state(namespace)
    mirror = store.load(namespace)
    if whole is None:
        return []
    notes = store.noted_settings(namespace)
    rules = rules_in_use(whole, settings, settings_of(notes[0][2]) if notes else {})
    states = store.summaries(namespace)
    return find_mixed_clusters(settings, store, namespace, states, rules, encoder, lambda: nullcontext(mirror))[:most]


def rules_built_with(whole: NamespaceState) -> Rules:
    """The rules that a namespace was built with, as far as its state has them."""
    linkages: dict[str, Linkage] = {name: name for name in get_args(Linkage)}
    similarities: dict[str, Similarity] = {name: name for name in get_args(Similarity)}
    similarity, linkage = similarities.get(whole.similarity, "centred"), linkages.get(whole.linkage, "adaptive")
    return Rules(whole.threshold, whole.threshold, similarity=similarity, linkage=linkage)


def rules_in_use(whole: NamespaceState, settings: Settings, noted: Mapping[str, Any]) -> Rules:
    """The rules of a namespace's workers: as they `noted` them, else those of these settings.

    Threshold and linkage are those that people set for the namespace, else, as the similarity, those of the last worker
    to open it: a model's preset may have set them.
    """
    clusters = settings.clusters

    def value(key: str, default: Any) -> Any:
        known = noted.get(key)
        return known if type(known) is type(default) else default

    merge_threshold = noted.get("clusters.merge_threshold", clusters.merge_threshold)
    in_use = replace(
        rules_built_with(whole),
        merge_threshold=merge_threshold if isinstance(merge_threshold, float) else whole.threshold,
        centroid_members=value("clusters.centroid_members", clusters.centroid_members),
        mean_questions=value("clusters.mean_questions", clusters.mean_questions),
        judge_features=value("judge.features", settings.judge.features),
        routing_precision=noted.get("routing.precision", settings.routing.precision),
    )
    return in_use.in_force(whole.rules)


def as_document(suggestion: Suggestion) -> dict[str, Any]:
    """A suggestion as a JSON document."""
    return {
        "namespace": suggestion.clusters[0].namespace,
        "suggestion": "merge",
        "forbidden_by": list(suggestion.forbidden_by),
        "size": suggestion.size,
        "clusters": [_document(state) for state in suggestion.clusters],
    }


def document_of_one(suggestion: Dismissible, state: ClusterState, parts: Sequence[list[str]] = ()) -> dict[str, Any]:
    """A suggestion about one cluster as a JSON document: to name it, or to split it into parts with these texts."""
    return {
        "namespace": state.namespace,
        "suggestion": suggestion,
        "forbidden_by": [],
        "size": state.size,
        "clusters": [_document(state)],
        **({"parts": list(parts)} if parts else {}),
    }


def _document(state: ClusterState) -> dict[str, Any]:
    return {
        "cluster_id": format_cluster_id(state.cluster_id),
        "size": state.size,
        "label": state.label,
        "route": state.route,
        "pinned": state.ruling.pinned,
        "representative": state.representative,
    }
