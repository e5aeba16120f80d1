"""What settings and model make of a namespace: how it clusters, and what it is built with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from questream.clusterer import Build
from questream.clustering.rules import Rules
from questream.store.protocol import Identity, StreamTopics

if TYPE_CHECKING:
    from questream.encoder import Encoder
    from questream.settings import Settings


def rules_of(settings: Settings, encoder: Encoder) -> Rules:
    """How questions are clustered: the settings, or the model's preset where they leave the threshold open."""
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
    )


def identity_of(encoder: Encoder, rules: Rules) -> Identity:
    """What a namespace is built with."""
    return Identity(encoder.name, encoder.revision, encoder.dimension, rules.similarity, rules.linkage, rules.threshold)


def topics_of(settings: Settings) -> StreamTopics:
    """What this stream is known by in the store; streams that share namespaces have the cluster topic in common."""
    kafka = settings.kafka
    return StreamTopics("" if settings.clusters.shared else kafka.input_topic, kafka.cluster_topic)


def build_of(settings: Settings, encoder: Encoder) -> Build:
    """The model as namespaces are built with it by these settings."""
    rules = rules_of(settings, encoder)
    return Build(identity_of(encoder, rules), rules)
