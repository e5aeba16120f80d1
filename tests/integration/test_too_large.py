"""What no topic takes as it is: a dead letter that refers to it, and the partition goes on."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaProducer

from tests.kit.command import questream
from tests.kit.servers import KafkaServer, Topics
from tests.kit.stream import (
    MAX_REQUEST_BYTES,
    Message,
    Reader,
    Stream,
    WorkerProcess,
    live_sizes,
    metric_values,
    question,
    running_worker,
    wait_until,
)
from tests.kit.vectors import hash_encoder

MIB = 1024 * 1024
HUGE = 3 * MIB


@pytest.fixture(params=["exactly-once", "at-least-once"])
def stream(request: pytest.FixtureRequest, kafka: KafkaServer, topics: Callable[..., Topics], redis_url: str) -> Stream:
    options = {"delivery": request.param, "kafka.compression": "none"}
    return Stream(kafka.bootstrap_servers, topics(), redis_url, options)


def send_compressed(stream: Stream, messages: list[Message]) -> None:
    """As a producer sends it whose records are a few thousand bytes on the wire."""
    producer = KafkaProducer(
        bootstrap_servers=stream.bootstrap_servers,
        compression_type="gzip",
        max_request_size=MAX_REQUEST_BYTES,
        batch_size=1,
    )
    for message in messages:
        headers = list(message.headers)
        producer.send(stream.topics.input_topic, message.value, message.key, headers, message.partition).get(30)
    producer.close(30)


HUGE_RECORDS = {
    "value of a dead letter": Message(b'{"text": "' + b"x" * HUGE, b"k1"),
    "value that is not UTF-8": Message(b"\xff" * HUGE, b"k2", [("traceparent", b"00-1-2-01")]),
    "key of a dead letter": Message(b"{", b"k" * HUGE),
    "header of a dead letter": Message(b"{", b"k4", [("big", b"h" * HUGE), ("small", b"s")]),
    "key of a decision": Message(b'{"id": "a", "text": "where is my card?"}', b"k" * HUGE),
    "header of a decision": Message(b'{"id": "b", "text": "where is my card?"}', b"k6", [("big", b"h" * HUGE)]),
    "headers of a decision": Message(b'{"id": "c", "text": "why?"}', b"k7", [("h", b"h" * MIB)] * 3),
}


def test_what_no_topic_takes_is_a_dead_letter_by_reference(stream: Stream) -> None:
    huge = list(HUGE_RECORDS.values())
    stream.send([question(1, "where is my card?")])
    send_compressed(stream, huge)
    stream.send([question(2, "why was my payment declined?")])
    with running_worker(stream.settings(), hash_encoder()) as worker, stream.decisions() as decisions:
        wait_until(lambda: stream.committed() == {0: len(huge) + 2}, "the partition goes on")
        with stream.dead_letters() as dead:
            dead.until(len(huge))
            letters = {int(dict(letter.headers)["questream-offset"]): letter for letter in dead.rest()}
        wait_until(lambda: count_is_right(stream, worker.metrics_port), "three are counted")
        # At least once: what was published beside a record that was refused is published again.
        assert {decision["question_id"] for decision in decisions.values()} == {"q1", "q2"}
    assert sorted(letters) == list(range(1, len(huge) + 1))
    for message, offset in zip(huge, sorted(letters), strict=True):
        assert_refers(letters[offset], message)
    reasons = [dict(letters[offset].headers)["questream-reason"] for offset in sorted(letters)]
    assert reasons == [b"not_json", b"not_utf8", b"not_json", b"not_json", *[b"too_large_to_publish"] * 3]


def count_is_right(stream: Stream, port: int) -> bool:
    """What a member that is expelled could not commit is published again, and counted again."""
    count = metric_values(port).get('questream_dead_lettered_total{reason="too_large_to_publish"}', 0)
    return count >= 3 if stream.options["delivery"] == "at-least-once" else count == 3


def assert_refers(letter: Any, message: Message) -> None:
    reference = json.loads(dict(letter.headers)["questream-reference"])
    key, value = message.key or b"", message.value or b""
    assert reference == {
        "key_bytes": len(key),
        "value_bytes": len(value),
        "header_bytes": sum(len(name) + len(header or b"") for name, header in message.headers),
        "sha256": sha256(value).hexdigest(),
    }
    assert letter.value is None
    assert letter.key == (key if len(key) < 1024 else None)
    small = [(name, header) for name, header in message.headers if len(header or b"") < 1024]
    assert [header for header in letter.headers if not header[0].startswith("questream-")] == small


def test_a_key_that_takes_long_to_hash_does_not_end_the_worker(stream: Stream, tmp_path: Path) -> None:
    """kafka-python's producer needs longer for it than a call may take."""
    stream.send([question(1, "where is my card?")])
    key = b"k" * (48 * MIB)
    send_compressed(
        stream, [Message(b"{", key, partition=0), Message(b'{"id": "a", "text": "why?"}', key, partition=0)]
    )
    stream.send([question(2, "why was my payment declined?")])
    with WorkerProcess(tmp_path, stream.overrides()), stream.decisions() as decisions:
        wait_until(lambda: stream.committed() == {0: 4}, "the partition goes on")
        assert {decision["question_id"] for decision in decisions.values()} == {"q1", "q2"}
    # Nor does its cluster count it.
    assert sum(live_sizes(stream.store()).values()) == 2
    with stream.dead_letters() as dead:
        reasons = [dict(letter.headers)["questream-reason"] for letter in dead.rest()]
    assert reasons == [b"not_json", b"too_large_to_publish"]
    # Nor does it end a replay, which goes back to the partition that it came from.
    flags = [f"--{key}={value}" for key, value in stream.overrides(kafka__compression="gzip").items()]
    assert questream("dead-letters", "replay", "--json", *flags).json["sent"] == 2


def test_incompressible_records_do_not_pass_either(stream: Stream) -> None:
    """Many in one batch: what was refused once is not tried again."""
    stream.options["kafka.compression"] = "lz4"
    stream.send([question(1, "where is my card?")])
    # Each is a record that the input topic takes, and whose dead letter has the seven headers more.
    limit = 1_048_588
    sizes = [limit - 120 - n for n in range(10)]
    big = random.Random(2).randbytes(limit)
    stream.send(Message(b"\xff" + big[: size - 1]) for size in sizes)
    stream.send([question(2, "why was my payment declined?")])
    with running_worker(stream.settings(), hash_encoder()), stream.decisions() as decisions:
        wait_until(lambda: stream.committed() == {0: 12}, "the partition goes on")
        assert {decision["question_id"] for decision in decisions.values()} == {"q1", "q2"}
    with stream.dead_letters() as dead:
        offsets = {int(dict(letter.headers)["questream-offset"]) for letter in dead.rest()}
        assert offsets == set(range(1, 11))


def test_a_dead_letter_by_reference_is_listed_and_replayed(stream: Stream) -> None:
    huge = Message(b"\xff" * HUGE, b"k1", [("traceparent", b"00-1-2-01")])
    send_compressed(stream, [huge])
    with running_worker(stream.settings(), hash_encoder()):
        wait_until(lambda: stream.committed() == {0: 1}, "it is dead-lettered")
    flags = [f"--{key}={value}" for key, value in stream.overrides(kafka__compression="gzip").items()]
    digest = sha256(huge.value or b"").hexdigest()
    (row,) = questream("dead-letters", "list", "--json", *flags).json_lines
    assert (row["reason"], row["bytes"], row["reference"]["sha256"]) == (
        "not_utf8",
        HUGE,
        digest,
    )
    told = questream("dead-letters", "replay", "--json", *flags).json
    assert (told["sent"], told["gone"]) == (1, 0)
    with Reader(stream.bootstrap_servers, stream.topics.input_topic) as reader:
        first, second = reader.until(2)
    assert (first.key, first.value, first.headers) == (second.key, second.value, second.headers)
    assert questream("dead-letters", "replay", "--json", *flags).json["sent"] == 0
