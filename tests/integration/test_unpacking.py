"""Compressed batches that unpack to more than `kafka.max_unpacked_bytes`: dead letters, and the partitions go on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from questream.broker.connect import open_reader
from questream.broker.port import Partition
from questream.lab.calibration.sample import newest_of_topic
from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import Message, Stream, WorkerProcess, question, running_worker, wait_for_metrics, wait_until
from tests.kit.vectors import hash_encoder

MIB = 1024 * 1024
CODECS = ("gzip", "snappy", "lz4", "zstd")
LIMIT = 2 * MIB


def make_stream(kafka: KafkaServer, topics: Topics, redis_url: str, **options: Any) -> Stream:
    return Stream(kafka.bootstrap_servers, topics, redis_url, {"kafka.max_unpacked_bytes": LIMIT, **options})


def send_batches(
    stream: Stream, codec: str, partition: int, batches: Sequence[Sequence[bytes]], topic: str | None = None
) -> None:
    """Each batch as one on the wire, into the input topic if no other is named."""
    most = 1 << 28
    producer = KafkaProducer(
        bootstrap_servers=stream.bootstrap_servers,
        compression_type=codec,
        max_request_size=most,
        batch_size=most,
        linger_ms=60_000,
    )
    for values in batches:
        for value in values:
            producer.send(topic or stream.topics.input_topic, value, b"key", partition=partition)
        producer.flush(60)
    producer.close(30)


def asked(number: int) -> bytes:
    return question(number, "where is my card?").value or b""


@pytest.mark.parametrize("delivery", ["exactly-once", "at-least-once"])
def test_a_batch_that_unpacks_to_too_much_is_dead_letters_by_reference(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, delivery: str
) -> None:
    stream = make_stream(kafka, topics(4), redis_url, delivery=delivery)
    for partition, codec in enumerate(CODECS):
        big = [b'{"text": "' + b"x" * MIB + b'"}'] * 3
        send_batches(stream, codec, partition, [[asked(10 * partition)], big, [asked(10 * partition + 1)], [b"{"]])
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as decisions:
        wait_until(lambda: stream.committed() == dict.fromkeys(range(4), 6), "all partitions go on")
        wait_for_metrics(worker.metrics_port, {'questream_dead_lettered_total{reason="too_large_to_unpack"}': 12})
        assert {decision["question_id"] for decision in decisions.values()} == {
            f"q{10 * partition + n}" for partition in range(4) for n in range(2)
        }
    with stream.dead_letters() as dead:
        letters = [dict(letter.headers) | {"value": letter.value} for letter in dead.rest()]
    by_reference = [letter for letter in letters if letter["questream-reason"] == b"too_large_to_unpack"]
    assert sorted((letter["questream-partition"], letter["questream-offset"]) for letter in by_reference) == [
        (b"%d" % partition, b"%d" % offset) for partition in range(4) for offset in (1, 2, 3)
    ]
    for letter in by_reference:
        assert letter["value"] is None
        assert set(json.loads(letter["questream-reference"]).values()) == {None}
    assert len(letters) == len(by_reference) + 4


def test_such_dead_letters_are_listed_and_replayed_with_a_larger_limit(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = make_stream(kafka, topics(), redis_url)
    values = [b'{"id": "a%d", "text": "%s"}' % (n, b"why? " * 200_000) for n in range(3)]
    send_batches(stream, "gzip", 0, [values])
    with running_worker(stream.settings(), hash_encoder()):
        wait_until(lambda: stream.committed() == {0: 3}, "it is dead-lettered")
    flags = [f"--{key}={value}" for key, value in stream.overrides().items()]
    rows = questream("dead-letters", "list", "--json", *flags).json_lines
    assert [(row["reason"], row["bytes"]) for row in rows] == [("too_large_to_unpack", None)] * 3
    assert "too_large_to_unpack" in questream("dead-letters", "list", *flags).out
    told = questream("dead-letters", "replay", "--json", *flags).json
    assert (told["sent"], told["gone"], told["too_large"]) == (0, 0, 3)
    # One such batch hides no decision and no question from the other readers of the topic.
    larger = [f"--{key}={value}" for key, value in stream.overrides(kafka__max_unpacked_bytes=8 * MIB).items()]
    told = questream("dead-letters", "replay", "--json", *larger).json
    assert (told["sent"], told["gone"], told["too_large"]) == (3, 0, 0)
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as decisions:
        assert sorted(decision["question_id"] for decision in decisions.values(3)) == ["a0", "a1", "a2"]


def test_a_few_bytes_on_the_wire_do_not_fill_a_worker(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str, tmp_path: Path
) -> None:
    stream = make_stream(kafka, topics(3), redis_url)
    for partition in range(3):
        stream.send([Message(asked(partition), partition=partition)])
    with WorkerProcess(tmp_path, stream.overrides()) as worker:
        with stream.decisions() as decisions:
            decisions.until(3)
        before = worker.peak_resident_bytes
        for partition, codec in enumerate(("gzip", "lz4", "zstd")):
            send_batches(stream, codec, partition, [[b"x" * (48 * MIB)], [asked(10 + partition)]])
        with stream.decisions() as decisions:
            decisions.until(6)
        grown_mib = (worker.peak_resident_bytes - before) / MIB
    # 144 MiB unpacked; each of the batches alone would cost nine times its size.
    assert grown_mib < 60, f"{grown_mib:.0f} MiB"


def test_a_poll_hands_on_no_more_bytes_than_a_batch_may_have(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    stream = make_stream(kafka, topics(2), redis_url, batch_bytes=MIB)
    for partition in range(2):
        send_batches(stream, "gzip", partition, [[b"x" * (300 * 1024)] * 6] * 3)
    partitions = [Partition(stream.topics.input_topic, partition) for partition in range(2)]
    sizes: list[int] = []
    with open_reader(stream.settings()) as consumer:
        consumer.assign(partitions)
        while sum(sizes) < 36:
            polled = consumer.poll(1.0, 256)
            sizes.append(sum(map(len, polled.values())))
            assert sum(len(message.value or b"") for found in polled.values() for message in found) < MIB + 300 * 1024
        assert max(sizes) == 4
        assert {consumer.position(partition) for partition in partitions} == {18}


def test_readers_pass_such_a_batch_over(kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> None:
    stream = make_stream(kafka, topics(), redis_url)
    send_batches(stream, "zstd", 0, [[asked(1)], [b"x" * (3 * MIB)], [asked(2)]])
    assert newest_of_topic(stream.settings(), 9) == ["where is my card?"] * 2
    with running_worker(stream.settings(), hash_encoder()):
        wait_until(lambda: stream.committed() == {0: 3}, "all is decided or dead-lettered")
    flags = [f"--{key}={value}" for key, value in stream.overrides().items()]
    told = questream("tail", "--from-beginning", "--text", "--json", "--max", "2", *flags).json_lines
    assert [decision["text"] for decision in told] == ["where is my card?"] * 2


def test_none_is_passed_over_in_what_questream_writes_itself(
    kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str
) -> None:
    """A state or a dead letter that is not read would be one that is lost."""
    stream = make_stream(kafka, topics(), redis_url)
    flags = [f"--{key}={value}" for key, value in stream.overrides().items()]
    for topic, command in ((stream.topics.cluster_topic, "verify"), (stream.topics.dead_letter_topic, "dead-letters")):
        send_batches(stream, "lz4", 0, [[b"x" * (3 * MIB)]], topic)
        ran = questream(command, *(["list"] if command == "dead-letters" else []), *flags)
        assert ran.code != 0
        assert f"topic {topic}, partition 0, offset 0" in ran.err
        assert "kafka.max_unpacked_bytes" in ran.err
