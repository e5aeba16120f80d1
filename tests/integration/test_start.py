"""What `questream run` refuses at its start, before it loads a model: each of these names one that there is not."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, NewTopic

from questream.errors import ExitCode
from tests.conftest import built
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics, create_topics

NO_MODEL = "--model.name=/no/such/model"


def flags(kafka: KafkaServer, topics: Topics, redis_url: str) -> list[str]:
    return [
        f"--kafka.bootstrap_servers={kafka.bootstrap_servers}",
        *(f"--kafka.{name}={topic}" for name, topic in topics.settings().items()),
        f"--redis.url={redis_url}",
        "--metrics.host=127.0.0.1",
        "--metrics.port=auto",
        NO_MODEL,
    ]


@pytest.fixture(scope="module")
def auto_creating(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker that makes every topic that somebody asks for."""
    folder = tmp_path_factory.mktemp("auto-creating")
    with built(lambda: KafkaServer(folder, {"auto.create.topics.enable": "true"})) as server:
        yield server


def test_a_missing_topic_is_refused_and_not_created(auto_creating: KafkaServer, redis_url: str) -> None:
    topics = Topics("no-questions", "no-decisions", "no-clusters", "no-dead-letters")
    run = questream("run", *flags(auto_creating, topics, redis_url))
    assert run.code == ExitCode.REFUSED, run.err
    assert "topic no-questions, no-decisions, no-clusters, no-dead-letters does not exist" in run.err
    assert "questream topics create" in run.err
    admin = KafkaAdminClient(bootstrap_servers=auto_creating.bootstrap_servers)
    assert not set(admin.list_topics()) & set(topics.settings().values())
    admin.close()


def test_a_cluster_topic_as_the_broker_made_it_is_refused(auto_creating: KafkaServer, redis_url: str) -> None:
    topics = create_topics(auto_creating.bootstrap_servers)
    admin = KafkaAdminClient(bootstrap_servers=auto_creating.bootstrap_servers)
    admin.create_topics([NewTopic(f"made-{topics.cluster_topic}", 1, -1)], wait_for_metadata=True)
    admin.close()
    made = Topics(topics.input_topic, topics.output_topic, f"made-{topics.cluster_topic}", topics.dead_letter_topic)
    run = questream("run", *flags(auto_creating, made, redis_url))
    assert run.code == ExitCode.REFUSED, run.err
    assert f"cleanup.policy of the cluster topic {made.cluster_topic} is delete" in run.err


def test_too_short_a_compaction_lag_is_said_aloud(kafka: KafkaServer, redis_url: str) -> None:
    topics = create_topics(kafka.bootstrap_servers)
    admin = KafkaAdminClient(bootstrap_servers=kafka.bootstrap_servers)
    admin.alter_configs(
        [ConfigResource("TOPIC", topics.cluster_topic, {"cleanup.policy": "compact", "min.compaction.lag.ms": "0"})]
    )
    admin.close()
    run = questream("run", *flags(kafka, topics, redis_url))
    assert run.code == ExitCode.MODEL, run.err
    assert "min.compaction.lag.ms is 0" in run.err


def test_a_port_in_use_is_told_before_the_model_is_loaded(kafka: KafkaServer, redis_url: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        run = questream("run", *flags(kafka, Topics("a", "b", "c", "d"), redis_url), f"--metrics.port={port}")
    assert run.code == ExitCode.USAGE, run.err
    assert "metrics.port = auto takes a free one" in run.err
