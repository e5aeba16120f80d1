"""Where a worker reads on: partitions that are added, records that retention removed, marks of transactions."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from kafka import KafkaAdminClient, KafkaProducer, TopicPartition

from questream.broker.kafka_python.consumer import RecordConsumer
from questream.deciding.namespaces import Namespaces
from questream.store.protocol import Ledger
from questream.stream import intake
from tests.kit.servers import KafkaServer, Topics
from tests.kit.servers.topics import make_topic_anew
from tests.kit.stream import (
    WAIT_SECONDS,
    Message,
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    metric_values,
    question,
    running_worker,
    wait_for_metrics,
    wait_until,
)
from tests.kit.vectors import hash_encoder


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    """A stream of one partition on the shared servers, whose worker hears of new partitions within a second."""
    options = {"kafka.options": {"metadata_max_age_ms": 1000}}
    return Stream(kafka.bootstrap_servers, topics(), redis_url, options)


@pytest.fixture(autouse=True)
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker looks at its lag twice a second."""
    monkeypatch.setattr(intake, "_LAG_SECONDS", 0.5)


@pytest.fixture(params=["earliest", "latest"])
def reset(request: pytest.FixtureRequest, stream: Stream) -> str:
    stream.options["kafka.auto_offset_reset"] = request.param
    return str(request.param)


def admin_of(stream: Stream) -> KafkaAdminClient:
    return KafkaAdminClient(bootstrap_servers=stream.bootstrap_servers)


def test_a_partition_that_is_added_is_read_from_its_beginning(stream: Stream, reset: str) -> None:
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        wait_until(lambda: reset == "earliest" or stream.committed() == {0: 0}, "the group stands at the end")
        stream.send([question(0, "where is my card?")])
        reader.until(1)
        admin = admin_of(stream)
        admin.create_partitions({stream.topics.input_topic: 2})
        admin.close()
        # Before the worker can know of it.
        wait_until(lambda: can_send(stream, question(1, "why was I charged?", partition=1)), "the partition is there")
        stream.send([question(i, f"question {i}?", partition=1) for i in (2, 3)])
        assert_one_decision_each(reader.values(4), ["q0", "q1", "q2", "q3"])


def test_a_question_in_hand_while_the_group_rebalances_is_read_again(
    stream: Stream, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The client keeps its position, behind the question, in a partition that stays with its worker.
    is_in_hand, is_assigned, is_free = threading.Event(), threading.Event(), threading.Event()
    recorded, assigned = Namespaces.recorded, intake._Assignment.assigned

    def slowly(self: Namespaces, namespace: str, topic: str, partition: int) -> Ledger:
        if namespace == "slow":
            is_in_hand.set()
            assert is_free.wait(WAIT_SECONDS)
        return recorded(self, namespace, topic, partition)

    def noting(self: intake._Assignment) -> None:
        assigned(self)
        if is_in_hand.is_set():
            is_assigned.set()

    monkeypatch.setattr(Namespaces, "recorded", slowly)
    monkeypatch.setattr(intake._Assignment, "assigned", noting)
    settings = stream.settings(input__namespace_field="namespace")
    with running_worker(settings, hash_encoder()), stream.decisions() as reader:
        stream.send([question(0, "where is my card?")])
        reader.until(1)
        wait_until(lambda: stream.committed() == {0: 1}, "the worker is idle")
        value = {"id": "q1", "text": "why was I charged?", "namespace": "slow"}
        stream.send([Message(json.dumps(value).encode(), b"q1")])
        assert is_in_hand.wait(WAIT_SECONDS)
        admin = admin_of(stream)
        admin.create_partitions({stream.topics.input_topic: 2})
        admin.close()
        assert is_assigned.wait(WAIT_SECONDS)
        is_free.set()
        assert_one_decision_each(reader.values(2), ["q0", "q1"])


def can_send(stream: Stream, message: Message) -> bool:
    try:
        stream.send([message])
    except Exception:  # the broker's new partition has no leader yet
        return False
    return True


def test_what_retention_removed_is_told_and_the_rest_is_read(stream: Stream, reset: str, tmp_path: Path) -> None:
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as reader:
        wait_until(lambda: reset == "earliest" or stream.committed() == {0: 0}, "the group stands at the end")
        stream.send([question(0, "where is my card?")])
        reader.until(1)
        wait_until(lambda: stream.committed() == {0: 1}, "the offset is committed")
    stream.send([question(i, f"question {i}?") for i in range(1, 10)])
    admin = admin_of(stream)
    admin.delete_records({TopicPartition(stream.topics.input_topic, 0): 6})
    admin.close()
    missed = f'questream_missed_offsets_total{{partition="0",topic="{stream.topics.input_topic}"}}'
    with WorkerProcess(tmp_path, stream.overrides()) as worker, stream.decisions() as reader:
        assert_one_decision_each(reader.values(5), ["q0", "q6", "q7", "q8", "q9"])
        assert metric_values(worker.port)[missed] == 5
        told = worker.log.read_text()
        assert "records were removed before they were read" in told
        assert '"first_offset": 1' in told or '"first_offset":1' in told or "first_offset=1" in told


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_the_committed_offset_passes_the_marks_of_transactions(stream: Stream, delivery: str) -> None:
    def transact(text: str, commit: bool) -> None:
        producer = KafkaProducer(bootstrap_servers=stream.bootstrap_servers, transactional_id=stream.group_id)
        producer.init_transactions()
        producer.begin_transaction()
        producer.send(stream.topics.input_topic, question(text, text).value)
        producer.flush()
        producer.commit_transaction() if commit else producer.abort_transaction()
        producer.close()

    lag = f'questream_consumer_lag{{partition="0",topic="{stream.topics.input_topic}"}}'
    with running_worker(stream.settings(delivery=delivery), hash_encoder()) as worker:
        transact("where is my card?", commit=True)
        transact("never", commit=False)
        end = stream.end(0)
        wait_until(lambda: stream.committed() == {0: end}, "the group stands at the end of the log")
        wait_for_metrics(worker.metrics_port, {lag: 0})


def test_one_absurd_timestamp_is_not_most_of_a_latency_sum(stream: Stream) -> None:
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as reader:
        stream.send([question(0, "where is my card?", timestamp_ms=1)])
        reader.until(1)
        name = "questream_end_to_end_seconds"
        wait_for_metrics(worker.metrics_port, {f"{name}_count": 1})
        assert metric_values(worker.metrics_port)[f"{name}_sum"] <= 3600


def test_a_log_that_ends_below_what_was_read_is_told(stream: Stream) -> None:
    stream.send(question(i, f"question {i}?") for i in range(10))
    at = TopicPartition(stream.topics.input_topic, 0)
    consumer = RecordConsumer(bootstrap_servers=stream.bootstrap_servers, enable_auto_commit=False)
    consumer.assign([at])
    consumer.seek_to_beginning(at)
    wait_until(lambda: bool(consumer.poll(100)) and consumer.position(at) == 10, "all of it is read")
    # Else a fetch beyond the end could be first to find out.
    consumer.pause(at)
    make_topic_anew(stream.bootstrap_servers, stream.topics.input_topic, 1)
    # What kafka-python does by itself where the metadata tell of another leader.
    assert consumer._subscription.request_position_validation(at)
    found: dict[TopicPartition, int] = {}

    def is_found() -> bool:
        consumer.poll(100)
        found.update(consumer.take_out_of_range())
        return bool(consumer.position(at) != 10)

    wait_until(is_found, "the consumer goes back")
    # It may have gone back between the two looks.
    found.update(consumer.take_out_of_range())
    consumer.close(autocommit=False)
    assert found == {at: 10}
