"""A client asks the brokers for its own topics: a large cluster has a hundred thousand partitions of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from kafka.net.manager import KafkaConnectionManager
from kafka.protocol.metadata import MetadataRequest

from questream.broker.kafka_python.connect import open_reader
from questream.errors import KafkaUnavailable
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Stream, question, running_worker
from tests.kit.vectors import hash_encoder


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    return Stream(kafka.bootstrap_servers, topics(), redis_url)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[set[str] | None]:
    """The topics of each request for metadata of this process; None stands for all of the cluster."""
    requests: list[set[str] | None] = []
    send = KafkaConnectionManager.send

    def noted(manager: Any, request: Any, *rest: Any, **options: Any) -> Any:
        if isinstance(request, MetadataRequest):
            topics = request.topics
            requests.append(None if topics is None else {topic.name for topic in topics})
        return send(manager, request, *rest, **options)

    monkeypatch.setattr(KafkaConnectionManager, "send", noted)
    return requests


def test_a_reader_asks_for_the_topics_that_it_is_asked_of(asked: list[set[str] | None], stream: Stream) -> None:
    topics = stream.topics
    asked.clear()
    with open_reader(stream.settings()) as reader:
        assert len(reader.partitions(topics.cluster_topic)) == 1
        reader.assign(reader.partitions(topics.input_topic))
        reader.stream_identity(topics.input_topic)
        assert reader.partitions("no-such-topic") == []
        with pytest.raises(KafkaUnavailable):
            reader.stream_identity("no-such-topic")
    own = {topics.cluster_topic, topics.input_topic, "no-such-topic"}
    assert asked
    assert all(names is not None and names <= own for names in asked), asked


def test_a_topic_that_is_missing_is_not_asked_for_on_and_on(
    asked: list[set[str] | None], stream: Stream, caplog: pytest.LogCaptureFixture
) -> None:
    with open_reader(stream.settings()) as reader:
        assert reader.partitions("no-such-topic") == []
        seen = len(asked)
        reader.assign(reader.partitions(stream.topics.input_topic))
        reader.poll(1.0)
    assert not any(names and "no-such-topic" in names for names in asked[seen:])
    assert "no-such-topic" not in caplog.text


def test_a_worker_asks_for_its_own_topics(asked: list[set[str] | None], stream: Stream) -> None:
    with running_worker(stream.settings(), hash_encoder()):
        stream.send([question(0, "where is my card?")])
        with stream.decisions() as reader:
            reader.until(1)
    assert None not in asked
