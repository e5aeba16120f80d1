"""The cluster topic as recovery reads it: two workers publish a state in either order, and the newest one counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest

from questream.broker.connect import open_reader
from questream.domain import ClusterState, NamespaceState, Operation, Ruling
from questream.errors import ClusterTopicDamaged
from questream.records import encode_cluster_state, encode_namespace_state, encode_operation
from questream.recovery.cluster_topic import ClusterTopic, Published
from questream.recovery.home import HOME_HEADER, Home
from questream.store.ledger import other_stream
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
CLUSTER = ClusterState(3, "shop", "updated", 1, 1, np.ones(2, np.float32), None, "Why?", 10, 20, "a-model", 1)
FOUR = replace(CLUSTER, cluster_id=4)


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


@pytest.mark.parametrize("key", [b"", b"shop/no cluster", b"shop"], ids=repr)
def test_a_record_without_a_key_of_ours_is_passed_over(stream: Stream, cluster_topic: ClusterTopic, key: bytes) -> None:
    _send(stream, Message(b"{}", key))
    publish_clusters(stream, 5)
    published = cluster_topic.published()
    assert published["shop"].revisions == {3: 5}
    # Nor is it the state of a namespace without a name, that cannot be read.
    assert published.get("", Published()) == Published()
    assert cluster_topic.newest()["shop"].revisions == {3: 5}
    assert cluster_topic.states("shop", [3]).keys() == {3}
    assert [state.revision for state in cluster_topic.newest_states("shop", {3: 5})] == [5]


def test_states_are_those_of_the_namespace_and_clusters_that_are_asked_for(
    stream: Stream, cluster_topic: ClusterTopic
) -> None:
    publish_clusters(stream, 5)
    _publish(stream, (encode_cluster_state(one) for one in (replace(CLUSTER, namespace="other", revision=9), FOUR)))
    _send(stream, Message(None, b"shop/c3"))
    assert {i: one.revision for i, one in cluster_topic.states("shop", [3]).items()} == {3: 5}
    assert [(one.cluster_id, one.revision) for one in cluster_topic.newest_states("shop", {3: 5})] == [(3, 5)]


def test_what_is_retired_is_so_until_a_later_state(stream: Stream, cluster_topic: ClusterTopic) -> None:
    publish_clusters(stream, 7, 5)
    _send(stream, Message(None, b"shop/c3"))
    retired = cluster_topic.published()["shop"]
    assert (retired.revisions, retired.retired, retired.outdated) == ({}, {3}, set())
    publish_clusters(stream, 8)
    again = cluster_topic.published()["shop"]
    assert (again.revisions, again.retired) == ({3: 8}, set())


def test_a_newest_record_that_is_no_state_is_named_to_those_who_need_it(
    stream: Stream, cluster_topic: ClusterTopic
) -> None:
    publish_clusters(stream, 5)
    _publish(stream, iter([encode_cluster_state(FOUR)]))
    _send(stream, Message(b"{", b"shop/c3"))
    assert cluster_topic.states("shop", [4]).keys() == {4}
    assert [one.cluster_id for one in cluster_topic.newest_states("shop", {4: 1})] == [4]
    with pytest.raises(ClusterTopicDamaged, match=r"the state of c3 of 'shop' cannot be read \(.*offset 2\)"):
        cluster_topic.states("shop", [3])
    with pytest.raises(ClusterTopicDamaged, match="the state of c3 of 'shop' cannot be read"):
        list(cluster_topic.newest_states("shop", {3: 5}))
    publish_clusters(stream, 6)
    assert cluster_topic.published()["shop"].unreadable == {}
    assert cluster_topic.states("shop", [3])[3].revision == 6


def test_the_newest_home_counts_wherever_it_stands(stream: Stream, cluster_topic: ClusterTopic) -> None:
    homes = [Home(1, "first", "here"), Home(2, "second", "there", "first"), Home(1, "first", "here"), None]
    assert cluster_topic.homes() == {}
    for home in homes:
        headers = [] if home is None else [("other", b"9 x y"), (HOME_HEADER, str(home).encode())]
        key, value = encode_cluster_state(CLUSTER)
        _send(stream, Message(value, key, headers))
    assert cluster_topic.published()["shop"].home == homes[1]
    assert cluster_topic.newest()["shop"].home == homes[1]
    assert cluster_topic.homes() == {"shop": homes[1]}


def test_the_keys_of_a_namespace_are_those_whose_last_record_is_no_tombstone(
    stream: Stream, cluster_topic: ClusterTopic
) -> None:
    publish_clusters(stream, 5)
    _publish(stream, (encode_cluster_state(one) for one in (replace(CLUSTER, namespace="other"), FOUR)))
    _send(stream, Message(None, b"shop/c4"))
    assert cluster_topic.keys_of("shop") == {b"shop/c3"}


def test_a_namespace_that_was_deleted_is_named_and_known_no_more(stream: Stream, cluster_topic: ClusterTopic) -> None:
    publish_namespaces(stream, (1, 9))
    publish_clusters(stream, 5)
    assert cluster_topic.namespaces() == {"shop"}
    _send(stream, Message(None, b"shop"))
    assert (cluster_topic.namespaces(), cluster_topic.named()) == (set(), {"shop"})
    # It begins anew.
    publish_namespaces(stream, (1, 0))
    assert cluster_topic.namespaces() == {"shop"}


def test_operations_belong_to_a_namespace_that_has_states(stream: Stream, cluster_topic: ClusterTopic) -> None:
    publish_clusters(stream, 5)
    operation = Operation("op-1", 1, "pin", "ann", "", 5, {3: Ruling()}, {3: Ruling(pinned=True)})
    records = [encode_operation(name, stream.topics.cluster_topic, operation) for name in ("shop", "other")]
    messages = [Message(value, key) for key, value in records]
    send(stream.bootstrap_servers, stream.topics.operation_topic, messages)
    published = cluster_topic.published()
    assert published.keys() == {"shop"}
    assert [one.id for one in published["shop"].operations.ordered()] == ["op-1"]


def test_how_far_the_topic_has_been_read_is_told_while_it_is(stream: Stream, cluster_topic: ClusterTopic) -> None:
    publish_clusters(stream, 5, 6)
    assert cluster_topic.reading is None
    states = cluster_topic.newest_states("shop", {3: 5})
    next(states)
    assert cluster_topic.reading == (1, 2)
    assert [one.revision for one in states] == [6]
    assert cluster_topic.reading is None


def test_a_stream_keeps_the_name_that_published_states_know_it_by(stream: Stream, cluster_topic: ClusterTopic) -> None:
    """Its store was emptied since, and would call it by the topic's name, as any first stream."""
    settings = stream.settings()
    with open_reader(settings, group_id=settings.kafka.group_id) as reader:
        former = other_stream(stream.topics.input_topic, reader.stream_identity(stream.topics.input_topic))
    assert cluster_topic.committed({former, "of another topic"}).keys() == {(former, 0)}
    # A store that knows the stream keeps its name, whatever else was published.
    assert cluster_topic.committed({"of another topic"}).keys() == {(former, 0)}


def test_a_stream_that_nobody_knows_has_the_topics_name(stream: Stream, cluster_topic: ClusterTopic) -> None:
    assert cluster_topic.committed({"of another topic"}) == {(stream.topics.input_topic, 0): 0}


def _publish(stream: Stream, records: Iterator[tuple[bytes, bytes | None]]) -> None:
    _send(stream, *(Message(value, key) for key, value in records))


def _send(stream: Stream, *messages: Message) -> None:
    send(stream.bootstrap_servers, stream.topics.cluster_topic, messages)
