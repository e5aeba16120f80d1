"""The config of a namespace by settings and model: its rules of clustering, and its model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from questream.clustering.levels import LevelRules
from questream.clustering.rules import Rules
from questream.preparing import version_of
from questream.store.protocol import Identity, StreamTopics

_SHARED_OF_CLUSTERS = {
    *("merge_threshold", "centroid_members", "mean_questions", "keep_texts", "shared", "max_clusters", "mode"),
    *("retention_seconds", "singleton_retention_seconds", "alias_retention_seconds"),
}

if TYPE_CHECKING:
    from questream.encoder import Encoder
    from questream.settings import Settings


@dataclass(frozen=True, slots=True)
class NamespaceConfig:
    """A model that namespaces may be built with, and how questions are clustered by it."""

    identity: Identity
    rules: Rules


def rules_of(settings: Settings, encoder: Encoder) -> Rules:
    """The rules of clustering: the settings, or the model's preset where they leave the threshold open."""
    clusters = settings.clusters
    threshold, similarity, linkage = clusters.effective_threshold, clusters.similarity, clusters.linkage
    preset = encoder.preset
    if preset is not None and clusters.threshold is None:
        threshold, similarity = preset.threshold, preset.similarity
        linkage = linkage if "linkage" in clusters.model_fields_set else preset.linkage
    merge_threshold = clusters.merge_threshold if clusters.merge_threshold is not None else threshold
    return Rules(
        threshold=threshold,
        merge_threshold=merge_threshold,
        similarity=similarity,
        linkage=linkage,
        centroid_members=clusters.centroid_members,
        mean_questions=clusters.mean_questions,
        judge_features=settings.judge.features,
        judge_margin=0.0 if settings.judge.model is None else settings.judge.margin,
        mode=clusters.mode,
        routing_precision=settings.routing.precision,
    )


def level_rules_of(settings: Settings) -> LevelRules:
    """The rules of intents and topics."""
    return LevelRules(resolutions=(settings.levels.intent_resolution, settings.levels.topic_resolution))


def identity_of(encoder: Encoder, rules: Rules, prepared_by: str = "") -> Identity:
    """The config of a namespace whose texts are prepared by `prepared_by`."""
    return Identity(
        encoder.name,
        encoder.revision,
        encoder.dimension,
        rules.similarity,
        rules.linkage,
        rules.threshold,
        prepared_by,
    )


def shared_settings(settings: Settings, rules: Rules) -> dict[str, Any]:
    """The settings that all workers of a namespace must share, by key: all change decisions or retention."""
    of_rules = {
        "clusters.threshold": rules.threshold,
        "clusters.similarity": rules.similarity,
        "clusters.linkage": rules.linkage,
    }
    return of_rules | settings_beside_rules(settings)


def settings_beside_rules(settings: Settings) -> dict[str, Any]:
    """As `shared_settings`, without those that the model's preset may change."""
    clusters = settings.clusters.model_dump(mode="json", include=_SHARED_OF_CLUSTERS)
    return {
        "delivery": settings.delivery,
        **{f"clusters.{name}": value for name, value in clusters.items()},
        "judge.features": settings.judge.features,
        # Its folder may lie elsewhere on each machine.
        "judge.model": settings.judge.model and settings.judge.model.rstrip("/").rpartition("/")[2],
        "judge.margin": settings.judge.margin,
        "judge.min_probability": settings.judge.min_probability,
        **{f"input.{name}": value for name, value in settings.input.model_dump(mode="json").items()},
        "prepared_by": version_of(settings.input),
        "routing.precision": settings.routing.precision,
        "levels.intent_resolution": settings.levels.intent_resolution,
        "levels.topic_resolution": settings.levels.topic_resolution,
        "namespaces.max": settings.namespaces.max,
        "namespaces.allow": sorted(settings.namespaces.allow),
        "model.max_tokens": settings.model.max_tokens,
        "model.max_unknown_share": settings.model.max_unknown_share,
    }


def topics_of(settings: Settings) -> StreamTopics:
    """The topics of this stream in the store; streams that share namespaces have the cluster topic in common."""
    kafka = settings.kafka
    return StreamTopics("" if settings.clusters.shared else kafka.input_topic, kafka.cluster_topic)


def namespace_config(settings: Settings, encoder: Encoder) -> NamespaceConfig:
    """The model as namespaces are built with it by these settings."""
    rules = rules_of(settings, encoder)
    return NamespaceConfig(identity_of(encoder, rules, version_of(settings.input)), rules)
