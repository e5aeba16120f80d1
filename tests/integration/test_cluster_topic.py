"""The cluster topic as recovery reads it: two workers publish a state in either order, and the newest one counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from questream.domain import ClusterState, NamespaceState
from questream.records import encode_cluster_state, encode_namespace_state
from questream.recovery.cluster_topic import ClusterTopic
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Message, Stream, send

NAMESPACE = NamespaceState(
    namespace="shop",
    model="a-model",
    model_revision="1",
    similarity="cosine",
    linkage="average",
    threshold=0.55,
    next_cluster=4,
    mean_questions=0,
    mean_sum=np.zeros(2, np.float32),
    seq=1,
)
CLUSTER = ClusterState(
    3, "shop", "updated", 1, 1, np.ones(2, np.float32), None, "Why?", None, None, 10, 20, "a-model", 1
)


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    return Stream(kafka.bootstrap_servers, topics(), redis_url)


@pytest.fixture
def cluster_topic(stream: Stream) -> Iterator[ClusterTopic]:
    with closing(ClusterTopic(stream.settings(), stream.store().stream)) as topic:
        yield topic


def publish_clusters(stream: Stream, *revisions: int) -> None:
    states = (encode_cluster_state(replace(CLUSTER, revision=n, size=n)) for n in revisions)
    _publish(stream, states)


def publish_namespaces(stream: Stream, *marks: tuple[int, int]) -> None:
    """States of the namespace by generation and the questions that its mean has learnt, which its revision grows by."""
    states = (encode_namespace_state(replace(NAMESPACE, generation=g, mean_questions=q)) for g, q in marks)
    _publish(stream, states)


@pytest.mark.parametrize(
    ("revisions", "outdated"), [((5, 7), set()), ((7, 5), {3}), ((7, 5, 6), {3}), ((7, 5, 7), set())], ids=str
)
def test_the_newest_state_of_a_cluster_counts_wherever_it_stands(
    stream: Stream, cluster_topic: ClusterTopic, revisions: tuple[int, ...], outdated: set[int]
) -> None:
    publish_clusters(stream, *revisions)
    found = cluster_topic.published()["shop"]
    assert (found.revisions, found.outdated) == ({3: 7}, outdated)
    assert {i: (state.revision, state.size) for i, state in cluster_topic.states("shop", [3]).items()} == {3: (7, 7)}
    assert {state.revision for state in cluster_topic.newest_states("shop", found.revisions)} == {7}


@pytest.mark.parametrize(
    ("marks", "outdated"), [(((1, 9), (2, 4)), set()), (((2, 4), (1, 9)), {0}), (((2, 4), (2, 3)), {0})], ids=str
)
def test_the_newest_state_of_a_namespace_counts_wherever_it_stands(
    stream: Stream, cluster_topic: ClusterTopic, marks: tuple[tuple[int, int], ...], outdated: set[int]
) -> None:
    """A later move to another model goes before any revision of the model before it."""
    publish_namespaces(stream, *marks)
    found = cluster_topic.published()["shop"]
    assert found.whole is not None
    assert ((found.whole.generation, found.whole.mean_questions), found.outdated) == ((2, 4), outdated)


def _publish(stream: Stream, records: Iterator[tuple[bytes, bytes | None]]) -> None:
    send(stream.bootstrap_servers, stream.topics.cluster_topic, [Message(value, key) for key, value in records])
