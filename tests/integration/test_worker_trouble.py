"""What a worker says and does when Kafka, Redis or a call of its own stands still."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from questream.errors import ExitCode, KafkaRefused, policy_of
from questream.settings import load_settings
from questream.stream import intake
from questream.stream.worker import Worker
from tests.kit.servers import KafkaServer, Topics, create_topics
from tests.kit.servers.kafka import PASSWORD
from tests.kit.stream import (
    Stream,
    WorkerProcess,
    assert_one_decision_each,
    metric_values,
    probe,
    question,
    running_worker,
    wait_for_metrics,
    wait_until,
)
from tests.kit.vectors import hash_encoder

STALL_SECONDS = 2.0


@pytest.fixture
def stream(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    """A stream of one partition on the shared servers."""
    return Stream(kafka.bootstrap_servers, topics(), redis_url)


@pytest.fixture
def quick_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker looks at its lag twice a second, and gives a consumer up that stands still for two.

    Not by its call deadline, within which a loaded machine has to finish a transaction.
    """
    watch = intake._ProgressWatch
    monkeypatch.setattr(intake, "_LAG_SECONDS", 0.5)
    monkeypatch.setattr(intake, "_ProgressWatch", lambda _: watch(STALL_SECONDS))


@contextmanager
def open_transaction(stream: Stream) -> Iterator[Callable[[str], Any]]:
    """Yields what sends a question to the input topic in a transaction; the transaction is aborted at the end."""
    producer = KafkaProducer(bootstrap_servers=stream.bootstrap_servers, transactional_id=f"{stream.group_id}-input")
    producer.init_transactions()
    producer.begin_transaction()
    try:
        yield lambda text: producer.send(stream.topics.input_topic, question(text, text).value).get(timeout=10)
        producer.abort_transaction()
    finally:
        producer.close(timeout=5)


def test_a_worker_is_not_ready_while_the_broker_does_not_answer(
    kafka_factory: Callable[..., KafkaServer], redis_url: str, quick_watch: None
) -> None:
    server = kafka_factory()
    stream = Stream(server.bootstrap_servers, create_topics(server.bootstrap_servers), redis_url)
    stream.send([question(1, "where is my card?")])
    with running_worker(stream.settings(), hash_encoder()) as worker:
        # Its start is behind it.
        wait_until(lambda: stream.committed() == {0: 1}, "the offset is committed")
        assert probe(worker.metrics_port, "readyz") == (200, "ok")
        server.pause()
        wait_until(lambda: probe(worker.metrics_port, "readyz")[0] == 503, "not ready")
        assert probe(worker.metrics_port, "livez") == (200, "ok")
        assert metric_values(worker.metrics_port)["questream_ready"] == 0
        server.resume()
        wait_until(lambda: probe(worker.metrics_port, "readyz")[0] == 200, "ready again")


def test_a_worker_whose_batch_stands_still_is_not_alive(stream: Stream, tmp_path: Path) -> None:
    stream.options["kafka.max_poll_interval_seconds"] = 2
    stream.send([question(1, "where is my card?")])
    with WorkerProcess(tmp_path, stream.overrides(), fault="commit:after:1:HANG") as worker:
        assert probe(worker.port, "livez") == (200, "ok")
        wait_until(lambda: probe(worker.port, "livez")[0] == 503, "not alive")
        assert "a batch has been in work" in probe(worker.port, "livez")[1]


def test_a_worker_that_polls_no_more_is_not_alive(stream: Stream, tmp_path: Path) -> None:
    stream.options |= {"kafka.max_poll_interval_seconds": 2, "delivery": "at-least-once"}
    stream.send([question(1, "where is my card?")])
    with WorkerProcess(tmp_path, stream.overrides(), fault="commit-offsets:before:1:HANG") as worker:
        wait_until(lambda: probe(worker.port, "livez")[0] == 503, "not alive")
        assert "has not polled" in probe(worker.port, "livez")[1]


def test_a_consumer_that_stands_still_before_waiting_records_is_built_anew(stream: Stream, quick_watch: None) -> None:
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as reader:
        stream.send([question(1, "where is my card?")])
        reader.until(1)
        # As after some lost connections: the membership lives, fetching does not.
        consumer: Any = worker.condition._intake._consumer  # type: ignore[union-attr]  # there is one while it runs
        consumer._client._fetcher.fetch_records = lambda *_, **__: ({}, True)
        stream.send([question(2, "where is my new card?")])
        assert_one_decision_each(reader.values(2), ["q1", "q2"])
        assert metric_values(worker.metrics_port)["questream_kafka_sessions_total"] > 1


def test_an_open_transaction_in_the_input_is_waited_for_and_an_aborted_one_is_not_read(
    stream: Stream, quick_watch: None
) -> None:
    of_partition = f'{{partition="0",topic="{stream.topics.input_topic}"}}'
    lag, held_back = f"questream_consumer_lag{of_partition}", f"questream_consumer_held_back{of_partition}"
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as reader:
        with open_transaction(stream) as send:
            send("never")
            stream.send([question(1, "behind the open transaction")])
            wait_for_metrics(worker.metrics_port, {lag: 2, held_back: 2})
            sessions = metric_values(worker.metrics_port)["questream_kafka_sessions_total"]
            # Longer than a consumer that stands still is borne.
            with pytest.raises(AssertionError, match="0 of 1 records"):
                reader.until(1, seconds=2 * STALL_SECONDS)
            assert metric_values(worker.metrics_port)["questream_kafka_sessions_total"] == sessions
        assert_one_decision_each(reader.values(1), ["q1"])
        wait_for_metrics(worker.metrics_port, {lag: 0, held_back: 0})


def over_sasl(kafka: KafkaServer, stream: Stream, password: str) -> dict[str, Any]:
    return stream.overrides() | {
        "kafka.bootstrap_servers": kafka.sasl_bootstrap_servers,
        "kafka.options": {
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "PLAIN",
            "sasl_plain_username": "owner",
        },
        "kafka.sasl_plain_password": password,
    }


def test_a_wrong_password_ends_the_worker_and_names_the_setting(
    kafka: KafkaServer, stream: Stream, tmp_path: Path
) -> None:
    right = load_settings(Path(os.devnull), over_sasl(kafka, stream, PASSWORD))
    stream.send([question(1, "where is my card?")])
    with running_worker(right, hash_encoder()), stream.decisions() as reader:
        reader.until(1)
    wrong = load_settings(Path(os.devnull), over_sasl(kafka, stream, "not-the-password"))
    started = time.monotonic()
    with pytest.raises(KafkaRefused, match=r"refused the login.*kafka\.sasl_plain_password") as caught:
        Worker(wrong, hash_encoder()).run()
    # Not after the call deadline, and not after a second try.
    assert time.monotonic() - started < 30
    assert policy_of(caught.value).exit_code == ExitCode.REFUSED
    assert "not-the-password" not in str(caught.value)
