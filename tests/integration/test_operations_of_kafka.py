"""What operators do to Kafka: brokers restarted one by one, limits, clocks, topics that are deleted."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource

from questream.broker.connect import open_admin, open_reader
from questream.broker.port import Partition
from questream.errors import KafkaRefused
from questream.stream.starting import check_topics
from questream.stream.worker import Worker
from questream.watch.watcher import Watcher
from tests.conftest import built
from tests.kit.servers import KafkaCluster, KafkaServer, Topics, create_topics
from tests.kit.servers.kafka.cluster import Broker
from tests.kit.stream import (
    Message,
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    metric_values,
    question,
    wait_until,
)
from tests.kit.vectors import hash_encoder


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    """A stream of one partition on the shared servers."""
    return Stream(kafka.bootstrap_servers, topics(), redis_url)


@pytest.fixture(scope="module")
def quick_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A broker whose quotas look at the last 2 s, not at the last 11: a small batch is already too large."""
    with built(lambda: KafkaServer(tmp_path_factory.mktemp("quick-kafka"), {"quota.window.num": "2"})) as server:
        yield server


def test_brokers_that_are_restarted_one_by_one_end_no_worker(redis_url: str, tmp_path: Path) -> None:
    with built(lambda: KafkaCluster(tmp_path / "kafka")) as cluster:
        stream = Stream(cluster.bootstrap_servers, create_topics(cluster.bootstrap_servers, 3), redis_url)
        # Longer than a broker is away; a lost request would wait for it.
        overrides = stream.overrides(kafka__call_deadline_seconds=40, kafka__transaction_timeout_seconds=20)
        sent = 0
        with (
            WorkerProcess(tmp_path, overrides) as one,
            WorkerProcess(tmp_path, overrides) as other,
            stream.decisions() as reader,
        ):

            def ask(questions: int) -> None:
                nonlocal sent
                Stream(cluster.bootstrap_servers, stream.topics, redis_url).send(
                    [question(sent + i, f"question {(sent + i) % 7}?") for i in range(questions)]
                )
                sent += questions

            def restart(broker: Broker, change: Callable[[], None]) -> None:
                broker.stop()
                # While it is away, and its coordinators move.
                for _ in range(3):
                    ask(5)
                    time.sleep(0.5)
                change()
                broker.start()
                cluster.wait_until_in_sync()
                ask(5)
                assert one.running, one.log.read_text()
                assert other.running, other.log.read_text()

            ask(30)
            reader.until(sent)
            for broker in cluster.brokers:
                restart(broker, lambda: None)
            for broker in cluster.brokers:
                restart(broker, broker.move)
            assert_one_decision_each(reader.values(sent), [f"q{i}" for i in range(sent)])


def test_a_time_that_the_broker_does_not_allow_names_the_setting(
    kafka_factory: Callable[..., KafkaServer], redis_url: str
) -> None:
    limits = {"transaction.max.timeout.ms": "20000", "group.max.session.timeout.ms": "10000"}
    server = kafka_factory(properties=limits)
    stream = Stream(server.bootstrap_servers, create_topics(server.bootstrap_servers), redis_url)
    allowed: dict[str, Any] = {"kafka__transaction_timeout_seconds": 20, "kafka__session_timeout_seconds": 10}
    with pytest.raises(KafkaRefused, match=r"kafka\.transaction_timeout_seconds.*transaction\.max\.timeout\.ms"):
        Worker(stream.settings(**allowed | {"kafka__transaction_timeout_seconds": 30}), hash_encoder()).run()
    with pytest.raises(KafkaRefused, match=r"kafka\.session_timeout_seconds"):
        Worker(stream.settings(**allowed | {"kafka__session_timeout_seconds": 30}), hash_encoder()).run()


def configure(stream: Stream, topic: str, configs: dict[str, str]) -> None:
    client = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
    client.alter_configs([ConfigResource("TOPIC", topic, configs)])
    client.close()
    with open_admin(stream.settings()) as admin:
        wait_until(lambda: configs.items() <= admin.find_topics([topic])[topic].configs.items(), "it is set")


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
@pytest.mark.parametrize("role", ["cluster_topic", "dead_letter_topic"])
def test_a_topic_that_takes_too_little_is_named_with_its_setting(stream: Stream, role: str, client: str) -> None:
    name = getattr(stream.topics, role)
    configure(stream, name, {"max.message.bytes": "100"})
    stream.send([question(1, "where is my card?") if role == "cluster_topic" else Message(b"{", b"k")])
    with pytest.raises(
        KafkaRefused, match=rf"topic {name} takes no record of this size; raise its max\.message\.bytes"
    ):
        Worker(stream.settings(kafka__client=client), hash_encoder()).run()


@pytest.mark.parametrize("role", ["output", "cluster", "dead_letter", "operation", "correction", "event"])
def test_a_topic_that_does_not_take_the_end_of_a_transaction_is_refused_at_the_start(stream: Stream, role: str) -> None:
    name = getattr(stream.topics, f"{role}_topic")
    if role == "event":
        with open_admin(stream.settings()) as admin:
            admin.create_topic(name, 1, 1, {})
            admin.wait_for_topics([name])
    configure(stream, name, {"max.message.bytes": "77"})
    with pytest.raises(KafkaRefused, match=rf"topic {name} takes no record: its max\.message\.bytes is 77; raise it"):
        Watcher(stream.settings()).run() if role == "event" else check_topics(stream.settings())


def test_times_that_the_broker_refuses_are_told_as_a_clock_that_is_off(stream: Stream) -> None:
    # As it is for a worker whose clock is hours away from the broker's.
    configure(stream, stream.topics.output_topic, {"message.timestamp.before.max.ms": "1"})
    stream.send([question(1, "where is my card?")])
    with pytest.raises(KafkaRefused, match="synchronise the clocks"):
        Worker(stream.settings(), hash_encoder()).run()


@pytest.mark.parametrize("role", ["output_topic", "cluster_topic", "input_topic"])
def test_a_topic_that_is_deleted_is_named_with_its_remedy(stream: Stream, role: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {"kafka.options": {"metadata_max_age_ms": 1000}, "kafka.call_deadline_seconds": 6}
    stream.send([question(1, "where is my card?")])
    with WorkerProcess(tmp_path, stream.overrides() | options) as worker:
        wait_until(lambda: stream.committed() == {0: 1}, "the offset is committed")
        name = getattr(stream.topics, role)
        admin = KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)
        admin.delete_topics([name])
        admin.close()
        if role != "input_topic":
            stream.send([question(2, "why was I charged twice?")])
        assert worker.wait(90) > 0
        assert f"topic {name} does not exist; create it with: questream topics create" in worker.log.read_text()


def test_a_worker_of_the_same_name_ends_what_a_crash_left_open(stream: Stream, tmp_path: Path) -> None:
    # The broker itself would have readers wait for longer than this test does.
    overrides = stream.overrides(kafka__transaction_timeout_seconds=120)
    stream.send([question(1, "where is my card?")])
    with WorkerProcess(tmp_path, overrides, fault="commit-transaction:before:1:KILL") as worker:
        assert worker.wait() < 0
        worker.start()
        with stream.decisions() as reader:
            assert_one_decision_each(reader.values(1), ["q1"])


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_workers_of_one_name_are_told_to_have_one_each(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, client: str, tmp_path: Path
) -> None:
    stream = Stream(kafka.bootstrap_servers, topics(2), redis_url)
    workers = [WorkerProcess(tmp_path, stream.overrides(kafka__client=client)) for _ in range(2)]
    workers[1].overrides["kafka.worker_id"] = workers[0].overrides["kafka.worker_id"]
    sent = 0

    def is_told() -> bool:
        nonlocal sent
        stream.send([replace(question(sent + at, "where is my card?"), partition=at) for at in range(2)])
        sent += 2
        return any("give each worker a kafka.worker_id of its own" in one.log.read_text() for one in workers)

    with workers[0], workers[1]:
        wait_until(is_told, "the setting is named")


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_quota_below_what_a_batch_needs_slows_a_worker_down_and_does_not_end_it(
    quick_kafka: KafkaServer, redis_url: str, tmp_path: Path, delivery: str
) -> None:
    stream = Stream(quick_kafka.bootstrap_servers, create_topics(quick_kafka.bootstrap_servers), redis_url)
    overrides = stream.overrides(
        kafka__call_deadline_seconds=8, kafka__transaction_timeout_seconds=30, delivery=delivery, batch_questions=64
    )
    worker = WorkerProcess(tmp_path, overrides)
    quick_kafka.limit_client(worker.name, producer_byte_rate=2000)
    stream.send(question(i, f"question {i} of {i % 5}") for i in range(70))
    with worker, stream.decisions() as reader:
        assert_one_decision_each(reader.values(70, 120), [f"q{i}" for i in range(70)])
        assert worker.running
        metrics = metric_values(worker.port)
        # Longer than any call may take that nothing holds back.
        assert metrics["questream_held_by_quota_seconds_total"] > 8
        assert metrics["questream_publication_limit"] < 64
        assert "producer_byte_rate" in worker.log.read_text()


@pytest.mark.parametrize(
    ("quota", "value", "held"),
    [("consumer_byte_rate", 4000, "FetchResponse"), ("request_percentage", 1, "EndTxnResponse")],
)
def test_a_quota_on_fetches_or_requests_slows_a_worker_down_and_does_not_end_it(
    quick_kafka: KafkaServer, redis_url: str, tmp_path: Path, quota: str, value: int, held: str
) -> None:
    stream = Stream(quick_kafka.bootstrap_servers, create_topics(quick_kafka.bootstrap_servers), redis_url)
    worker = WorkerProcess(tmp_path, stream.overrides(kafka__call_deadline_seconds=8, batch_questions=4))
    quick_kafka.limit_client(worker.name, **{quota: value})
    # In batches of their own: no broker hands out a batch that is larger than its quota lets pass in all its windows.
    for number in range(16):
        stream.send([question(number, f"question {number % 5} {'x' * 2000}")])
    with worker, stream.decisions() as reader:
        assert_one_decision_each(reader.values(16, 120), [f"q{number}" for number in range(16)])
        assert worker.running
        assert metric_values(worker.port)["questream_kafka_sessions_total"] == 1, worker.log.read_text()
        assert f"{held} throttled by broker" in worker.log.read_text()


def test_calls_that_a_quota_holds_back_wait_and_succeed(
    quick_kafka: KafkaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = f"held-back-{uuid.uuid4().hex[:6]}"
    monkeypatch.setattr("questream.broker.kafka_python.connect._CLIENT_ID", client)
    # Any request takes more: the broker holds the client back for a second after each.
    quick_kafka.limit_client(client, request_percentage=0.01)
    topics = create_topics(quick_kafka.bootstrap_servers)
    settings = Stream(quick_kafka.bootstrap_servers, topics, "redis://127.0.0.1:1").settings()
    partition = Partition(topics.input_topic, 0)
    with open_reader(settings) as reader, open_admin(settings) as admin:
        reader.assign([partition])
        began = time.monotonic()
        cluster_id = reader.stream_identity(topics.input_topic).partition("/")[0]
        assert reader.stream_identity(topics.input_topic).startswith(cluster_id)
        assert reader.end_offsets([partition]) == {partition: 0}
        assert admin.cluster_id() == cluster_id
        assert admin.find_topics([topics.input_topic]).keys() == {topics.input_topic}
        assert admin.end_offsets([partition], "read_committed") == {partition: 0}
        # Eight requests, and each but two firsts waits.
        assert time.monotonic() - began > 4
